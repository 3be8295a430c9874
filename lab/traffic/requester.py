"""Short requests at an even rate, each on a connection of its own."""

import errno
import socket
from collections import deque

from lab.traffic.connect import check_connected, reason_of, way
from lab.traffic.evidence import Reason
from lab.traffic.http_reply import Reply, read_reply
from lab.traffic.ledger import Ledger, Request
from lab.traffic.reactor import READ, WRITE, Reactor
from lab.traffic.streams import Requests

_LATEST_START = 1.0  # seconds after its time; a request later than that is left out, and `stall` tells of it
_RECEIVE = 65536


class Requester:
    """Starts requests when they are due, ends those that take too long, and writes down both."""

    def __init__(self, reactor: Reactor, plan: Requests, ledger: Ledger) -> None:
        self.reactor, self.ledger = reactor, ledger
        self.message = plan.message
        self._plan, self._way = plan, way(plan.source, plan.address)
        self._next = reactor.now()
        self._started: deque[tuple[float, _Exchange]] = deque()  # in order of time, so the oldest is the first

    def ready(self) -> bool:
        """Nothing is held open."""
        return True

    def tick(self, _: int, now: float) -> None:
        """Start every request that is due and give up those whose time is over."""
        self._next = max(self._next, now - _LATEST_START)
        while self._next <= now:
            self._next += 1.0 / self._plan.rate
            self._start(self.reactor.now())
        while self._started and (self._started[0][1].over or self._started[0][0] + self._plan.timeout <= now):
            self._started.popleft()[1].end(Reason.TIMEOUT)

    def close(self) -> None:
        """Close every connection without counting its request as failed."""
        for _, exchange in self._started:
            exchange.close()

    def end(self, request: Request, outcome: Reply | Reason) -> None:
        """Write down how a request ended."""
        if isinstance(outcome, Reply):
            self.ledger.replied(request, outcome.fields.get(self._plan.backend_field, ""), self.reactor.now())
        else:
            self.ledger.failed(request, outcome, self.reactor.now())

    def _start(self, now: float) -> None:
        try:
            sock, flow = self._way.tcp()
        except OSError as error:
            self.end(self.ledger.requested(now), reason_of(error))
        else:
            self._started.append((now, _Exchange(self, sock, self.ledger.requested(now, flow))))


class _Exchange:
    """One request from its SYN to the last byte of its reply."""

    __slots__ = ("_data", "_owner", "_request", "_sock", "over")

    def __init__(self, owner: Requester, sock: socket.socket, request: Request) -> None:
        self.over = False
        self._owner, self._sock, self._request = owner, sock, request
        self._data = b""
        owner.reactor.watch(sock.fileno(), WRITE, self._connected)

    def end(self, outcome: Reply | Reason) -> None:
        """Write down how the request ended, once, and close its connection."""
        if not self.over:
            self._owner.end(self._request, outcome)
            self.close()

    def close(self) -> None:
        """Close the connection and write nothing down."""
        if not self.over:
            self.over = True
            self._owner.reactor.forget(self._sock.fileno())
            self._sock.close()

    def _connected(self, _: int) -> None:
        """The handshake is over, one way or the other."""
        try:
            check_connected(self._sock)
            if self._sock.send(self._owner.message) != len(self._owner.message):
                raise OSError(errno.ENOBUFS, "an empty socket did not take a whole request")
        except OSError as error:
            self.end(reason_of(error))
        else:
            self._owner.reactor.change(self._sock.fileno(), READ, self._readable)

    def _readable(self, _: int) -> None:
        try:
            more = self._sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            self.end(reason_of(error))
            return
        self._data += more
        outcome = read_reply(self._data) if more else Reason.EOF
        if outcome is not None:
            self.end(outcome)
