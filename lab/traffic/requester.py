"""Short requests at an even rate, each on a connection of its own.

Callbacks on bare sockets, no task a request: a hundred of these a second and client must leave the cores to the lab.
"""

import asyncio
import errno
import socket
from collections import deque

from lab.traffic.connect import bind_source, reason_of, tcp_socket
from lab.traffic.facts import Reason
from lab.traffic.flow import flow_of_sockets
from lab.traffic.http_reply import Reply, read_reply
from lab.traffic.ledger import Ledger, Request
from lab.traffic.plan import Requests

_LATEST_START = 1.0  # seconds after its time; a request later than that is left out, and `stall` tells of it
_RECEIVE = 65536


class Requester:
    """Starts requests when they are due, ends those that take too long, and writes down both."""

    def __init__(self, source: str, plan: Requests, ledger: Ledger) -> None:
        self.loop = asyncio.get_running_loop()
        self.source, self.address, self.message = source, plan.address, plan.message
        self._plan, self.ledger = plan, ledger
        self._next = self.loop.time()
        self._started: deque[tuple[float, _Exchange]] = deque()  # in order of time, so the oldest is the first

    def tick(self, now: float) -> None:
        """Start every request that is due and give up those whose time is over."""
        self._next = max(self._next, now - _LATEST_START)
        while self._next <= now:
            self._next += 1.0 / self._plan.rate
            exchange = _Exchange(self)
            self._started.append((now, exchange))
            exchange.start()
        while self._started and (self._started[0][1].over or self._started[0][0] + self._plan.timeout <= now):
            self._started.popleft()[1].end(Reason.TIMEOUT)

    def close(self) -> None:
        """Close every connection without counting its request as failed."""
        for _, exchange in self._started:
            exchange.close()

    def end(self, request: Request, outcome: Reply | Reason) -> None:
        """Write down how a request ended."""
        if isinstance(outcome, Reply):
            self.ledger.replied(request, outcome.fields.get(self._plan.backend_field, ""), self.loop.time())
        else:
            self.ledger.failed(request, outcome, self.loop.time())


class _Exchange:
    """One request from its SYN to the last byte of its reply."""

    __slots__ = ("_data", "_owner", "_request", "_sock", "over")

    def __init__(self, owner: Requester) -> None:
        self.over = False
        self._owner = owner
        self._request = owner.ledger.requested(owner.loop.time())
        self._sock = tcp_socket(owner.source)
        self._data = b""

    def start(self) -> None:
        """Send the SYN."""
        try:
            bind_source(self._sock, self._owner.source)
            code = self._sock.connect_ex(self._owner.address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
        except OSError as error:
            self.end(reason_of(error))
        else:
            self._owner.loop.add_writer(self._sock, self._connected)

    def end(self, outcome: Reply | Reason) -> None:
        """Write down how the request ended, once, and close its connection."""
        if self.over:
            return
        if isinstance(outcome, Reason):
            self._request.flow = flow_of_sockets(self._sock.getsockname(), self._owner.address)
        self._owner.end(self._request, outcome)
        self.close()

    def close(self) -> None:
        """Close the connection and write nothing down."""
        if not self.over:
            self.over = True
            self._owner.loop.remove_writer(self._sock)
            self._owner.loop.remove_reader(self._sock)
            self._sock.close()

    def _connected(self) -> None:
        """The handshake is over, one way or the other."""
        self._owner.loop.remove_writer(self._sock)
        try:
            code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "connect")
            if self._sock.send(self._owner.message) != len(self._owner.message):
                raise OSError(errno.ENOBUFS, "an empty socket did not take a whole request")
        except OSError as error:
            self.end(reason_of(error))
        else:
            self._owner.loop.add_reader(self._sock, self._readable)

    def _readable(self) -> None:
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
