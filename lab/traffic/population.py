"""Long-lived connections that ping: one small object a connection, and one timer for all of them.

A tick pings the connections whose turn it is and looks at the oldest ping still unanswered.
"""

import socket
from collections import deque

from lab.traffic.connect import check_connected, reason_of, way
from lab.traffic.evidence import Reason
from lab.traffic.flow import Flow
from lab.traffic.ledger import Ledger, Slot
from lab.traffic.reactor import READ, TICK, WRITE, Reactor
from lab.traffic.streams import Connections
from lab.traffic.wheel import Wheel

OPENINGS_PER_TICK = 10
MAX_LINE = 1024
_RECEIVE = 4096


class Population:
    """The connections of a stream, kept full, each pinged once an interval, spread evenly over it."""

    def __init__(self, reactor: Reactor, plan: Connections, ledger: Ledger) -> None:
        self.ledger, self.reactor = ledger, reactor
        self._way, self._plan = way(plan.source, plan.address), plan
        self._pingers: list[Pinger | None] = [None] * plan.count
        self._slots = [ledger.slot() for _ in range(plan.count)]
        self._unopened = deque(range(plan.count))
        self._later: deque[tuple[float, int]] = deque()  # what is tried again, and when; in order of time
        self._opening: deque[tuple[float, Pinger]] = deque()  # in order of time, so the oldest is the first
        self._asked: deque[tuple[float, Pinger, int]] = deque()  # likewise
        self._wheel = Wheel(plan.count, plan.interval, TICK)

    def ready(self) -> bool:
        """Whether every connection is established and answered."""
        return all(slot.flow is not None and slot.backend for slot in self._slots)

    def tick(self, turn: int, now: float) -> None:
        """Openings, time limits, pings."""
        while self._later and self._later[0][0] <= now:
            self._unopened.append(self._later.popleft()[1])
        for _ in range(min(OPENINGS_PER_TICK, len(self._unopened))):
            self._open(self._unopened.popleft(), now)
        limit = now - self._plan.timeout
        while self._opening and (self._opening[0][1].opened or self._opening[0][0] <= limit):
            slow = self._opening.popleft()[1]
            if not slow.opened:
                slow.end(Reason.TIMEOUT)
        while self._asked and self._asked[0][0] <= limit:
            _, late, number = self._asked.popleft()
            if not late.over and late.slot.asked is not None and late.slot.number == number:
                late.end(Reason.TIMEOUT)
        for index in self._wheel.due(turn):
            pinger = self._pingers[index]
            if pinger is not None and pinger.opened and pinger.slot.asked is None:
                self.ping(pinger)

    def ping(self, pinger: "Pinger") -> None:
        """Send a connection's next ping."""
        now = self.reactor.now()
        line = self.ledger.asked(pinger.slot, now)
        self._asked.append((now, pinger, pinger.slot.number))
        pinger.send(line)

    def ended(self, pinger: "Pinger", reason: Reason) -> None:
        """A connection broke, or was not established: write it down and let a new one take its place."""
        now = self.reactor.now()
        self._pingers[pinger.index] = None
        if pinger.opened:
            self.ledger.broke(pinger.slot, reason, now)
            self._unopened.append(pinger.index)
        else:
            self.ledger.open_failed(pinger.slot, reason, now, pinger.flow)
            self._later.append((now + self._plan.retry, pinger.index))

    def close(self) -> None:
        """Close every connection without counting it broken."""
        for pinger in self._pingers:
            if pinger is not None:
                pinger.end(None)

    def _open(self, index: int, now: float) -> None:
        try:
            sock, flow = self._way.tcp()
        except OSError as error:
            self.ledger.open_failed(self._slots[index], reason_of(error), now)
            self._later.append((now + self._plan.retry, index))
            return
        pinger = Pinger(self._slots[index], index, sock, flow, self)
        self._pingers[index] = pinger
        self._opening.append((now, pinger))


class Pinger:
    """One connection of a slot, from its SYN on: lines in and out, and its end, once."""

    __slots__ = ("_buffer", "_owner", "_sock", "flow", "index", "opened", "over", "slot")

    def __init__(self, slot: Slot, index: int, sock: socket.socket, flow: Flow, owner: Population) -> None:
        self.slot, self.index, self.flow = slot, index, flow
        self.opened = self.over = False
        self._owner, self._sock = owner, sock
        self._buffer = b""
        owner.reactor.watch(sock.fileno(), WRITE, self._connected)

    def send(self, line: str) -> None:
        """Send one line, given without its newline."""
        octets = f"{line}\n".encode("ascii")
        try:
            if self._sock.send(octets) != len(octets):
                self.end(Reason.LOCAL)  # a buffer with no more than one short line in it was full
        except BlockingIOError:
            self.end(Reason.LOCAL)
        except OSError as error:
            self.end(reason_of(error))

    def end(self, reason: Reason | None) -> None:
        """The connection is over, by `reason`, or because its owner wants no more of it (None). Once."""
        if self.over:
            return
        self.over = True
        self._owner.reactor.forget(self._sock.fileno())
        self._sock.close()
        if reason is not None:
            self._owner.ended(self, reason)

    def _connected(self, _: int) -> None:
        """The handshake is over, one way or the other."""
        try:
            check_connected(self._sock)
        except OSError as error:
            self.end(reason_of(error))
            return
        self.opened = True
        self._owner.ledger.opened(self.slot, self.flow)
        self._owner.reactor.change(self._sock.fileno(), READ, self._readable)
        self._owner.ping(self)

    def _readable(self, _: int) -> None:
        try:
            data = self._sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(reason_of(error))
            return
        if not data:
            self.end(Reason.EOF)
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        now = self._owner.reactor.now()
        for line in lines:
            if not self.over:
                reason = self._owner.ledger.answered(self.slot, line.decode("ascii", "replace"), now)
                if reason is not None:
                    self.end(reason)
        if len(self._buffer) > MAX_LINE:
            self.end(Reason.WRONG_ANSWER)
