"""Long-lived connections that ping: one protocol object a connection, and one timer for all of them.

A tick pings the connections whose turn it is and looks at the oldest ping still unanswered. A task exists only while a
connection opens.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from lab.traffic.connect import connect, reason_of
from lab.traffic.facts import Reason
from lab.traffic.flow import flow_of_sockets
from lab.traffic.ledger import Ledger, Slot
from lab.traffic.plan import Connections

TICK = 0.01  # seconds
OPENINGS_PER_TICK = 10
MAX_LINE = 1024

Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Pinger(asyncio.Protocol):
    """One established connection of a slot: lines in and out, and its end, once."""

    def __init__(self, slot: Slot, owner: "Population") -> None:
        self.slot = slot
        self.over = False
        self._owner = owner
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self.over:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by the event loop."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._line(line)
        if len(self._buffer) > MAX_LINE:
            self.end(Reason.WRONG_ANSWER)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self.end(Reason.EOF if exc is None else reason_of(exc))

    def send(self, line: str) -> None:
        """Send one line, given without its newline."""
        if self._transport is not None:
            self._transport.write(f"{line}\n".encode("ascii"))

    def end(self, reason: Reason | None) -> None:
        """The connection is over, by `reason`, or because its owner wants no more of it (None). Once."""
        if self.over:
            return
        self.over = True
        if self._transport is not None:
            self._transport.abort()
        if reason is not None:
            self._owner.ended(self, reason)

    def _line(self, line: bytes) -> None:
        if self.over:
            return
        reason = self._owner.ledger.answered(self.slot, line.decode("ascii", "replace"), self._owner.now())
        if reason is not None:
            self.end(reason)


class Population:
    """`count` long-lived connections, kept full, each pinged once an interval, spread evenly over it."""

    def __init__(self, source: str, plan: Connections, ledger: Ledger, spawn: Spawn) -> None:
        self.ledger = ledger
        self.now = asyncio.get_running_loop().time
        self._source, self._plan, self._spawn = source, plan, spawn
        self._turns = max(1, round(plan.interval / TICK))
        self._slots = [ledger.slot() for _ in range(plan.count)]
        self._index = {id(slot): index for index, slot in enumerate(self._slots)}
        self._pingers: list[Pinger | None] = [None] * plan.count
        self._unopened = deque(range(plan.count))
        self._asked: deque[tuple[float, Pinger, int]] = deque()  # in order of time, so the oldest is the first
        self._wheel: list[list[int]] = [[] for _ in range(self._turns)]
        for index in range(plan.count):
            self._wheel[index * self._turns // plan.count].append(index)

    def ready(self) -> bool:
        """Whether every connection is established and answered."""
        return all(slot.flow is not None and slot.backend for slot in self._slots)

    def tick(self, turn: int, now: float) -> None:
        """What is due at turn `turn` (they count from 0, `TICK` seconds apart): openings, time limits, pings."""
        for _ in range(min(OPENINGS_PER_TICK, len(self._unopened))):
            self._spawn(self._open(self._unopened.popleft()))
        while self._asked and self._asked[0][0] + self._plan.timeout <= now:
            _, late, number = self._asked.popleft()
            if not late.over and late.slot.asked is not None and late.slot.number == number:
                late.end(Reason.TIMEOUT)
        for index in self._wheel[turn % self._turns]:
            pinger = self._pingers[index]
            if pinger is not None and pinger.slot.asked is None:
                self._ping(pinger)

    def ended(self, pinger: Pinger, reason: Reason) -> None:
        """A connection broke: write it down and let a new one take its place."""
        index = self._index[id(pinger.slot)]
        self.ledger.broke(pinger.slot, reason, self.now())
        self._pingers[index] = None
        self._unopened.append(index)

    def close(self) -> None:
        """Close every connection without counting it broken."""
        for pinger in self._pingers:
            if pinger is not None:
                pinger.end(None)

    def _ping(self, pinger: Pinger) -> None:
        now = self.now()
        line = self.ledger.asked(pinger.slot, now)
        self._asked.append((now, pinger, pinger.slot.number))
        pinger.send(line)

    async def _open(self, index: int) -> None:
        slot, loop = self._slots[index], asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._plan.timeout):
                sock = await connect(self._source, self._plan.address)
        except (OSError, TimeoutError) as error:
            self.ledger.open_failed(slot, reason_of(error), self.now())
            loop.call_later(self._plan.retry, self._unopened.append, index)
            return
        self.ledger.opened(slot, flow_of_sockets(sock.getsockname(), self._plan.address))
        pinger = Pinger(slot, self)
        await loop.create_connection(lambda: pinger, sock=sock)
        if not pinger.over:
            self._pingers[index] = pinger
            self._ping(pinger)
