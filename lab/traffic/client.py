"""All the traffic of one client node: a population of connections and a stream of requests under one timer."""

import asyncio
from collections.abc import Callable

from lab.traffic.ledger import Ledger
from lab.traffic.plan import Plan
from lab.traffic.population import TICK, Population
from lab.traffic.requester import Requester


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
            requester = Requester(source, requests, self.ledger) if requests else None
            try:
                await self._tick_forever(population, requester, on_ready)
            finally:
                for part in (population, requester):
                    if part:
                        part.close()

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
