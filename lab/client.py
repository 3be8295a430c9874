"""All the traffic of one client node: a population of connections and a stream of requests under one timer."""

import asyncio
from collections.abc import Callable

from lab.connect import connect, reason_of
from lab.facts import Reason
from lab.flow import flow_of_sockets
from lab.http_reply import Reply, read_reply
from lab.ledger import Ledger, Request
from lab.load_plan import Plan, Requests
from lab.population import TICK, Population, Spawn

_LATEST_START = 1.0  # seconds after its time; a request later than that is left out, and `stall` tells of it


class Requester:
    """Short requests at an even rate, each on its own connection."""

    def __init__(self, source: str, plan: Requests, ledger: Ledger, spawn: Spawn) -> None:
        self._source, self._plan, self._ledger, self._spawn = source, plan, ledger, spawn
        self._now = asyncio.get_running_loop().time
        self._next = self._now()

    def tick(self, now: float) -> None:
        """Start every request that is due."""
        self._next = max(self._next, now - _LATEST_START)
        while self._next <= now:
            self._next += 1.0 / self._plan.rate
            self._spawn(self._request())

    async def _request(self) -> None:
        request = self._ledger.requested(self._now())
        outcome: Reply | Reason
        try:
            async with asyncio.timeout(self._plan.timeout):
                outcome = await self._exchange(request)
        except (OSError, TimeoutError) as error:
            outcome = reason_of(error)
        if isinstance(outcome, Reply):
            self._ledger.replied(request, outcome.fields.get(self._plan.backend_field, ""), self._now())
        else:
            self._ledger.failed(request, outcome, self._now())

    async def _exchange(self, request: Request) -> Reply | Reason:
        loop, data = asyncio.get_running_loop(), b""
        with await connect(self._source, self._plan.address) as sock:
            request.flow = flow_of_sockets(sock.getsockname(), self._plan.address)
            await loop.sock_sendall(sock, self._plan.message)
            while (outcome := read_reply(data)) is None:
                more = await loop.sock_recv(sock, 65536)
                if not more:
                    return Reason.EOF
                data += more
        return outcome


class Client:
    """The traffic of one plan. Times are those of the running event loop: CLOCK_MONOTONIC, in seconds."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._loop = asyncio.get_running_loop()
        self.ledger = Ledger(self._loop.time())

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Generate traffic until cancelled, then close every socket and count nothing of that.

        `on_ready` is called once, when the whole population is established and answered.
        """
        source, connections, requests = self._plan.source, self._plan.connections, self._plan.requests
        async with asyncio.TaskGroup() as group:
            population = Population(source, connections, self.ledger, group.create_task) if connections else None
            requester = Requester(source, requests, self.ledger, group.create_task) if requests else None
            try:
                await self._tick_forever(population, requester, on_ready)
            finally:
                if population:
                    population.close()

    async def _tick_forever(
        self, population: Population | None, requester: Requester | None, on_ready: Callable[[], None]
    ) -> None:
        start, turn, told = self._loop.time(), 0, False
        while True:
            now = self._loop.time()
            self.ledger.stalled(now - (start + turn * TICK))
            while start + turn * TICK <= now:
                if population:
                    population.tick(turn, now)
                turn += 1
            if requester:
                requester.tick(now)
            if not told and (population is None or population.ready()):
                told = True
                on_ready()
            await asyncio.sleep(start + turn * TICK - self._loop.time())
