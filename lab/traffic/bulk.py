"""Transfers of much content, up and down, each on a connection of its own; their progress is watched each tick."""

import fcntl
import socket
import struct
import termios

from lab.traffic.connect import check_connected, reason_of, way
from lab.traffic.evidence import Reason
from lab.traffic.http_reply import Head, Reply, read_head, read_reply
from lab.traffic.ledger import Ledger, Transfer
from lab.traffic.reactor import READ, WRITE, Reactor
from lab.traffic.streams import Bulk

_CHUNK = 1 << 18
_ZEROS = memoryview(bytes(_CHUNK))
_GOOD = (200, 206)


class Transfers:
    """The transfers of a stream: `streams` at a time, each followed by the next when that is due."""

    def __init__(self, reactor: Reactor, plan: Bulk, ledger: Ledger) -> None:
        self.reactor, self.ledger, self.plan = reactor, ledger, plan
        self.room = bytearray(_CHUNK)  # what is received is counted and looked at no more
        self._way = way(plan.source, plan.address)
        self._under_way: list[_Transfer | None] = [None] * plan.streams
        now = reactor.now()
        self._next = [now + plan.interval * index / plan.streams for index in range(plan.streams)]

    def ready(self) -> bool:
        """Nothing is held open."""
        return True

    def tick(self, _: int, now: float) -> None:
        """Look at the progress of those under way, and start those that are due."""
        for index, transfer in enumerate(self._under_way):
            if transfer is not None and not transfer.over:
                transfer.look(now)
            elif self._next[index] <= now:
                self._next[index] = max(self._next[index] + self.plan.interval, now)
                self._under_way[index] = self._start(now)

    def close(self) -> None:
        """Close every connection without counting its transfer as failed."""
        for transfer in self._under_way:
            if transfer is not None:
                transfer.close()

    def _start(self, now: float) -> "_Transfer | None":
        record = self.ledger.transferring(now)
        try:
            sock, record.flow = self._way.tcp()
        except OSError as error:
            self.ledger.transfer_failed(record, reason_of(error), now)
            return None
        return _Transfer(self, sock, record)


class _Transfer:
    """One transfer from its SYN to its last octet, or to the last of the reply."""

    def __init__(self, owner: Transfers, sock: socket.socket, record: Transfer) -> None:
        self.over = False
        self._owner, self._sock, self._record = owner, sock, record
        self._up = owner.plan.direction == "up"
        self._unsent = owner.plan.bytes if self._up else 0
        self._moved = 0  # octets of content that arrived, or that the other side acknowledged
        self._reply = b""
        self._length: int | None = None  # of the content that comes down, once its head is there
        owner.reactor.watch(sock.fileno(), WRITE, self._connected)

    def look(self, now: float) -> None:
        """Count what was acknowledged of an upload; end a transfer that makes no progress."""
        if self._up and self._moved < self._owner.plan.bytes:
            acknowledged = self._owner.plan.bytes - self._unsent - _unacknowledged(self._sock)
            if acknowledged > self._moved:
                self._owner.ledger.progressed(self._record, acknowledged - self._moved, now)
                self._moved = acknowledged
        if now - self._record.moved >= self._owner.plan.timeout:
            self._end(Reason.TIMEOUT)

    def close(self) -> None:
        """Close the connection and write nothing down."""
        if not self.over:
            self.over = True
            self._owner.reactor.forget(self._sock.fileno())
            self._sock.close()

    def _end(self, reason: Reason | None) -> None:
        if self.over:
            return
        now = self._owner.reactor.now()
        if reason is None:
            if self._up and self._moved < self._owner.plan.bytes:  # the reply says that all of it arrived
                self._owner.ledger.progressed(self._record, self._owner.plan.bytes - self._moved, now)
            self._owner.ledger.transferred(self._record, now)
        else:
            self._owner.ledger.transfer_failed(self._record, reason, now)
        self.close()

    def _connected(self, _: int) -> None:
        """The handshake is over, one way or the other."""
        try:
            check_connected(self._sock)
            self._sock.send(self._owner.plan.message)
        except OSError as error:
            self._end(reason_of(error))
            return
        if self._up:
            self._owner.reactor.change(self._sock.fileno(), READ | WRITE, self._upload)
        else:
            self._owner.reactor.change(self._sock.fileno(), READ, self._download)

    def _upload(self, events: int) -> None:
        try:
            if events & WRITE and self._unsent:
                self._unsent -= self._sock.send(_ZEROS[: min(_CHUNK, self._unsent)])
                if not self._unsent:
                    self._owner.reactor.change(self._sock.fileno(), READ, self._upload)
            if events & ~WRITE:
                self._read_reply()
        except BlockingIOError:
            return
        except OSError as error:
            self._end(reason_of(error))

    def _read_reply(self) -> None:
        """The reply to an upload: how many octets there were."""
        more = self._sock.recv(_CHUNK)
        self._reply += more
        outcome = read_reply(self._reply) if more else Reason.EOF
        if isinstance(outcome, Reply):
            self._record.backend = outcome.fields.get(self._owner.plan.backend_field, "")
            whole = outcome.body.strip() == str(self._owner.plan.bytes).encode()
            self._end(None if whole and not self._unsent else Reason.WRONG_ANSWER)
        elif outcome is not None:
            self._end(outcome)

    def _download(self, _: int) -> None:
        try:
            count = self._sock.recv_into(self._owner.room)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(reason_of(error))
            return
        if not count:
            self._end(Reason.EOF)
            return
        if self._length is None:
            self._reply += self._owner.room[:count]
            found = read_head(self._reply)
            if not isinstance(found, Head):
                if found is not None:
                    self._end(found)
                return
            if found.status not in _GOOD:
                self._end(Reason.BAD_STATUS)
                return
            self._record.backend = found.fields.get(self._owner.plan.backend_field, "")
            self._length, count = found.length, len(self._reply) - found.octets
        self._came(count)

    def _came(self, count: int) -> None:
        """So many octets of content came down."""
        assert self._length is not None
        self._moved += count
        self._owner.ledger.progressed(self._record, count, self._owner.reactor.now())
        if self._moved > self._length or self._length != self._owner.plan.bytes:
            self._end(Reason.WRONG_ANSWER)
        elif self._moved == self._length:
            self._end(None)


def _unacknowledged(sock: socket.socket) -> int:
    """Octets in the socket's buffer that the other side has not acknowledged, those not sent yet included."""
    answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    return int(struct.unpack("i", answer)[0])
