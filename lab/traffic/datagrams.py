"""UDP flows: one small object a flow, and one timer for all of them.

A flow sends whether or not it is answered, as a client of a game or a call does, and counts as established with its
first answer. `QuicFlows` of `lab.traffic.quic` are the same with other octets.
"""

import socket
from collections import deque
from functools import partial

from lab.traffic.connect import reason_of, way
from lab.traffic.evidence import Reason
from lab.traffic.flow import Flow
from lab.traffic.ledger import Ledger, Slot
from lab.traffic.reactor import READ, TICK, Reactor
from lab.traffic.streams import Datagrams, Quic
from lab.traffic.wheel import Wheel

OPENINGS_PER_TICK = 10
_LOOKS = 10  # turns in which every flow's time limit is looked at once
_RETRY = 0.25  # seconds until a socket that this host refused is asked for again
_RECEIVE = 2048


class UdpFlow:
    """One flow of a slot. `due`: since when it is without an answer. `error`: what ICMP or this host said since."""

    __slots__ = ("due", "error", "five", "index", "since", "slot", "sock")

    def __init__(self, slot: Slot, index: int, sock: socket.socket, five: Flow, now: float) -> None:
        self.slot, self.index, self.sock, self.five, self.since = slot, index, sock, five, now
        self.due: float | None = None
        self.error: Reason | None = None


class DatagramFlows:
    """The flows of a stream, kept full, each with a datagram once an interval, spread evenly over it."""

    def __init__(self, reactor: Reactor, plan: Datagrams | Quic, ledger: Ledger) -> None:
        self.reactor, self.ledger = reactor, ledger
        self.way = way(plan.source, plan.address)
        self._plan, self._roaming = plan, isinstance(plan, Datagrams) and plan.roaming
        self._slots = [ledger.slot() for _ in range(plan.count)]
        self._flows: list[UdpFlow | None] = [None] * plan.count
        self._unopened = deque(range(plan.count))
        self._later: deque[tuple[float, int]] = deque()  # what is tried again, and when; in order of time
        self._wheel = Wheel(plan.count, plan.interval, TICK)

    def ready(self) -> bool:
        """Whether every flow is answered."""
        return all(slot.flow is not None for slot in self._slots)

    def tick(self, turn: int, now: float) -> None:
        """Openings, time limits, datagrams."""
        while self._later and self._later[0][0] <= now:
            self._unopened.append(self._later.popleft()[1])
        for _ in range(min(OPENINGS_PER_TICK, len(self._unopened))):
            self._open(self._unopened.popleft(), now)
        limit = now - self._plan.timeout
        for flow in self._flows[turn % _LOOKS :: _LOOKS]:
            if flow is not None and flow.due is not None and flow.due <= limit:
                self._end(flow, flow.error or Reason.TIMEOUT, now)
        for index in self._wheel.due(turn):
            flow = self._flows[index]
            if flow is not None:
                self._send(flow, now)

    def close(self) -> None:
        """Close every flow without counting it broken."""
        for flow in self._flows:
            if flow is not None:
                self.release(flow)

    def question(self, flow: UdpFlow, text: bytes) -> bytes:
        """The octets that ask `text`."""
        return text

    def answer(self, flow: UdpFlow, data: bytes) -> tuple[str, bytes] | None:
        """The backend's name and the text that came back; None where the octets are no answer."""
        backend, _, text = data.decode("ascii", "replace").rstrip("\r\n").partition(" ")
        return backend, text.encode()

    def listen(self, flow: UdpFlow, sock: socket.socket) -> None:
        """Take what arrives at a socket as the flow's."""
        self.reactor.watch(sock.fileno(), READ, partial(self._readable, flow, sock))

    def release(self, flow: UdpFlow) -> None:
        """Close what a flow holds."""
        self.reactor.forget(flow.sock.fileno())
        flow.sock.close()

    def make(self, index: int, now: float) -> UdpFlow:
        """A new flow of a slot. Raises OSError."""
        return UdpFlow(self._slots[index], index, *self.way.udp(), now)

    def _open(self, index: int, now: float) -> None:
        try:
            flow = self.make(index, now)
        except OSError as error:
            self.ledger.open_failed(self._slots[index], reason_of(error), now)
            self._later.append((now + _RETRY, index))
            return
        self._flows[index] = flow
        self.listen(flow, flow.sock)
        self._send(flow, now)

    def _send(self, flow: UdpFlow, now: float) -> None:
        number = self.ledger.sent(flow.slot, now)
        if flow.due is None:
            flow.due = now
        octets = self.question(flow, b"ping %d" % number)
        try:
            flow.sock.send(octets)
        except (
            OSError
        ) as error:  # perhaps what ICMP said of an earlier one, which the call then tells instead of sending
            flow.error = reason_of(error)
            try:
                flow.sock.send(octets)
            except OSError as again:
                flow.error = reason_of(again)

    def _readable(self, flow: UdpFlow, sock: socket.socket, _: int) -> None:
        try:
            data = sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError as error:
            flow.error = reason_of(error)
            return
        now = self.reactor.now()
        found = self.answer(flow, data)
        number = _number(found[1]) if found else None
        if found is None or number is None:
            self._end(flow, Reason.WRONG_ANSWER, now)
            return
        if flow.slot.flow is None:
            self.ledger.opened(flow.slot, flow.five)
        reason = self.ledger.received(flow.slot, found[0], number, now, self._roaming)
        if reason is not None:
            self._end(flow, reason, now)
            return
        flow.error = None
        flow.due = None if number == flow.slot.datagrams.number else now

    def _end(self, flow: UdpFlow, reason: Reason, now: float) -> None:
        self.release(flow)
        self._flows[flow.index] = None
        if flow.slot.flow is None:
            self.ledger.open_failed(flow.slot, reason, now, flow.five)
        else:
            self.ledger.broke(flow.slot, reason, now)
        self._unopened.append(flow.index)


def _number(text: bytes) -> int | None:
    word, _, digits = text.partition(b" ")
    return int(digits) if word == b"ping" and digits.isdigit() and len(digits) < 20 else None
