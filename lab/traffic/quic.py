"""UDP flows like QUIC's: they carry the connection id that their server chose, and keep it when their port changes."""

import secrets
import socket
from collections import deque

from lab.traffic import quic_wire
from lab.traffic.connect import reason_of
from lab.traffic.datagrams import DatagramFlows, UdpFlow
from lab.traffic.flow import Flow
from lab.traffic.ledger import Ledger, Slot
from lab.traffic.reactor import Reactor
from lab.traffic.streams import Quic

_LINGER = 1.0  # seconds that a socket left behind still takes the answers on their way to it


class QuicFlow(UdpFlow):
    """One flow: its own first choice of a connection id, the server's, and when it goes on from another port."""

    __slots__ = ("choice", "connection", "left", "move_at")

    def __init__(self, slot: Slot, index: int, sock: socket.socket, five: Flow, now: float) -> None:
        super().__init__(slot, index, sock, five, now)
        self.choice = secrets.token_bytes(quic_wire.ID_LENGTH)
        self.connection = b""
        self.left: deque[tuple[float, socket.socket]] = deque()
        self.move_at = 0.0


class QuicFlows(DatagramFlows):
    """The flows of a stream of kind quic. Not all change their ports at once: each has its time within `migrate`."""

    def __init__(self, reactor: Reactor, plan: Quic, ledger: Ledger) -> None:
        super().__init__(reactor, plan, ledger)
        self._migrate, self._count = plan.migrate, plan.count
        self._open_flows: dict[int, QuicFlow] = {}

    def tick(self, turn: int, now: float) -> None:
        """Openings, time limits, datagrams, and the changes of ports, which open sockets too."""
        super().tick(turn, now)
        for flow in self._open_flows.values():
            while flow.left and flow.left[0][0] <= now:
                self._drop(flow.left.popleft()[1])
            if flow.connection and self._migrate and flow.move_at <= now:
                self._move(flow, now)

    def make(self, index: int, now: float) -> UdpFlow:
        """A new flow of a slot. Raises OSError."""
        flow = QuicFlow(self._slots[index], index, *self.way.udp(), now)
        flow.move_at = now + self._migrate * (1 + index / self._count)
        self._open_flows[index] = flow
        return flow

    def release(self, flow: UdpFlow) -> None:
        """Close what a flow holds."""
        assert isinstance(flow, QuicFlow)
        super().release(flow)
        while flow.left:
            self._drop(flow.left.popleft()[1])
        self._open_flows.pop(flow.index, None)

    def question(self, flow: UdpFlow, text: bytes) -> bytes:
        """The octets that ask `text`."""
        assert isinstance(flow, QuicFlow)
        return quic_wire.later(flow.connection, text) if flow.connection else quic_wire.first(flow.choice, text)

    def answer(self, flow: UdpFlow, data: bytes) -> tuple[str, bytes] | None:
        """The backend's name and the text that came back; None where the octets are no answer."""
        assert isinstance(flow, QuicFlow)
        found = quic_wire.read_answer(data)
        if found is None:
            return None
        flow.connection = flow.connection or found.connection
        return found.backend, found.payload

    def _move(self, flow: QuicFlow, now: float) -> None:
        """Go on from another port."""
        flow.move_at = now + self._migrate
        try:
            sock, five = self.way.udp()
        except OSError as error:
            flow.error = reason_of(error)
            return
        flow.left.append((now + _LINGER, flow.sock))
        flow.sock, flow.five = sock, five
        self.listen(flow, sock)
        self.ledger.moved(flow.slot, five)

    def _drop(self, sock: socket.socket) -> None:
        self.reactor.forget(sock.fileno())
        sock.close()
