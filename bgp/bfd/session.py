"""One BFD session without I/O: the state machine of RFC 5880 6.8 as a table, and its timers.

`now` is monotonic seconds, intervals are integer microseconds, `jitter` is a number from 0 up to 1. The packets that
come in here are decoded, authenticated and demultiplexed already.
"""

import enum
import math
from dataclasses import dataclass
from typing import Final

from bgp.bfd.packet import ControlPacket, Diag, State

SLOW: Final = 1_000_000
"""Microseconds between packets of a session that is not Up, at least (RFC 5880 6.8.3)."""
_US: Final = 1e-6


class Phase(enum.Enum):
    """The session's state. HELD is Down on the wire, and stays there until the gate opens."""

    ADMIN_DOWN = "admin down"
    HELD = "held down"
    DOWN = "down"
    INIT = "init"
    UP = "up"


class Event(enum.Enum):
    """What may happen: a packet with a state in it, silence, or an order."""

    RX_ADMIN_DOWN = "the peer says AdminDown"
    RX_DOWN = "the peer says Down"
    RX_INIT = "the peer says Init"
    RX_UP = "the peer says Up"
    EXPIRED = "nothing was received for the detection time"
    DISABLE = "taken down by the operator"
    ENABLE = "no longer taken down by the operator"
    CLOSE = "the gate closed"
    OPEN = "the gate is open"


WIRE: Final = {
    Phase.ADMIN_DOWN: State.ADMIN_DOWN,
    Phase.HELD: State.DOWN,
    Phase.DOWN: State.DOWN,
    Phase.INIT: State.INIT,
    Phase.UP: State.UP,
}
RECEIVED: Final = {
    State.ADMIN_DOWN: Event.RX_ADMIN_DOWN,
    State.DOWN: Event.RX_DOWN,
    State.INIT: Event.RX_INIT,
    State.UP: Event.RX_UP,
}

TABLE: Final[dict[tuple[Phase, Event], tuple[Phase, Diag | None]]] = {
    (Phase.DOWN, Event.RX_DOWN): (Phase.INIT, Diag.NONE),
    (Phase.DOWN, Event.RX_INIT): (Phase.UP, Diag.NONE),
    (Phase.INIT, Event.RX_INIT): (Phase.UP, Diag.NONE),
    (Phase.INIT, Event.RX_UP): (Phase.UP, Diag.NONE),
    (Phase.INIT, Event.RX_ADMIN_DOWN): (Phase.DOWN, Diag.NEIGHBOR_DOWN),
    (Phase.UP, Event.RX_ADMIN_DOWN): (Phase.DOWN, Diag.NEIGHBOR_DOWN),
    (Phase.UP, Event.RX_DOWN): (Phase.DOWN, Diag.NEIGHBOR_DOWN),
    (Phase.INIT, Event.EXPIRED): (Phase.DOWN, Diag.DETECTION_EXPIRED),
    (Phase.UP, Event.EXPIRED): (Phase.DOWN, Diag.DETECTION_EXPIRED),
    (Phase.HELD, Event.OPEN): (Phase.DOWN, None),
    (Phase.ADMIN_DOWN, Event.ENABLE): (Phase.HELD, None),
    **{(phase, Event.CLOSE): (Phase.HELD, None) for phase in (Phase.DOWN, Phase.INIT, Phase.UP)},
    **{(phase, Event.DISABLE): (Phase.ADMIN_DOWN, Diag.ADMIN_DOWN) for phase in Phase if phase is not Phase.ADMIN_DOWN},
}
"""The whole machine; every pair that is not here changes nothing. A diag of None comes with the event."""


@dataclass(frozen=True, slots=True)
class Timers:
    """What we ask for: `tx` and `rx` in microseconds, and how many packets in a row the peer may miss."""

    tx: int
    rx: int
    multiplier: int


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of phase. `failure`: the peer or the path failed; an order, ours or the peer's, is none (RFC 5882)."""

    old: Phase
    new: Phase
    diag: Diag
    reason: str
    failure: bool


class Session:
    """The machine and its timers. Reads: `phase`, `since`, `diag`, the `remote_*` values."""

    def __init__(self, timers: Timers, discriminator: int, now: float) -> None:
        self.timers = timers
        self.discriminator = discriminator
        self.phase = Phase.HELD
        self.since = now
        self.diag = Diag.NONE
        self.remote_state = State.DOWN
        self.remote_diag = 0
        self.remote_discriminator = 0
        self.remote_multiplier = 0
        self.remote_demand = False
        self._remote_tx = 0
        self._remote_rx = 1
        self._tx, self._rx = self._wanted()
        self._tx_used, self._rx_used = self._tx, self._rx
        self._polling = self._poll_again = self._final = False
        self._urgent = True
        self._sent_at = -math.inf
        self._tx_at = now
        self._detect_at: float | None = None

    @property
    def tx_interval(self) -> int:
        """Microseconds between our packets before jitter; 0 when the peer wants none (RFC 5880 6.8.7)."""
        return max(self._tx_used, self._remote_rx) if self._remote_rx else 0

    @property
    def detection_time(self) -> float:
        """Seconds of silence after which the peer is gone (RFC 5880 6.8.4); 0 before its first packet."""
        return self.remote_multiplier * max(self._rx_used, self._remote_tx) * _US

    @property
    def polling(self) -> bool:
        """Whether a poll sequence is under way (RFC 5880 6.5)."""
        return self._polling

    def handle(self, event: Event, now: float, reason: str = "", diag: Diag = Diag.NONE) -> Transition | None:
        """The one door: the change of phase if there was one. `diag` counts where the table names none."""
        step = TABLE.get((self.phase, event))
        if step is None:
            return None
        old, (new, own) = self.phase, step
        self.phase, self.since = new, now
        self.diag = diag if own is None else own
        self._urgent = True
        self._renegotiate()
        failure = old is Phase.UP and event in (Event.EXPIRED, Event.RX_DOWN, Event.CLOSE)
        return Transition(old, new, self.diag, reason or event.value, failure)

    def receive(self, packet: ControlPacket, now: float) -> Transition | None:
        """A packet of this session (RFC 5880 6.8.6, from "Set bfd.RemoteDiscr" on)."""
        self.remote_discriminator = packet.my
        self.remote_state, self.remote_diag = packet.state, packet.diag
        self.remote_demand = packet.demand
        self.remote_multiplier = packet.detect_mult
        self._remote_tx = packet.desired_tx
        self._hear_rx(packet.required_rx)
        if packet.final and self._polling:
            self._poll_ended()
        self._detect_at = now + self.detection_time
        if self.phase is Phase.ADMIN_DOWN:
            return None
        transition = self.handle(RECEIVED[packet.state], now)
        self._final = self._final or packet.poll
        return transition

    def expire(self, now: float) -> Transition | None:
        """Call at the deadline, after all input was handled: the peer's silence is judged here."""
        if self._detect_at is None or now < self._detect_at:
            return None
        silence = self.detection_time
        self._detect_at = None
        self.remote_discriminator = 0
        self.remote_state = State.DOWN
        self.remote_demand = False
        self._hear_rx(1)
        return self.handle(Event.EXPIRED, now, f"nothing was received for {silence * 1e3:.1f} ms")

    def retime(self, timers: Timers) -> None:
        """Ask for other intervals; while Up the peer is polled first (RFC 5880 6.8.3)."""
        self.timers = timers
        self._urgent = True
        self._renegotiate()

    def next_deadline(self) -> float:
        """When `expire` or `due` has something to do; monotonic seconds, infinity if never."""
        if self._urgent or self._final:
            return -math.inf
        send = self._tx_at if self._periodic() else math.inf
        return send if self._detect_at is None else min(send, self._detect_at)

    def due(self, now: float, jitter: float) -> ControlPacket | None:
        """The packet that must leave now; call again until it is None."""
        if self._final:
            self._final = False
            self._urgent = self._urgent and self._polling
            return self._packet(final=True)
        if not self._urgent and not (self._periodic() and now >= self._tx_at):
            return None
        self._urgent = False
        self._sent_at = now
        self._tx_at = now + self._pause(jitter)
        return self._packet(final=False)

    def _pause(self, jitter: float) -> float:
        """Seconds to the next packet: 75 to 100 % of the interval, 75 to 90 % with a multiplier of 1 (6.8.7)."""
        least, most = 0.75, 0.90 if self.timers.multiplier == 1 else 1.0
        return self.tx_interval * _US * (most - (most - least) * jitter)

    def _packet(self, final: bool) -> ControlPacket:
        return ControlPacket(
            state=WIRE[self.phase],
            my=self.discriminator,
            your=self.remote_discriminator,
            desired_tx=self._tx,
            required_rx=self._rx,
            detect_mult=self.timers.multiplier,
            diag=self.diag,
            poll=self._polling and not final,
            final=final,
        )

    def _periodic(self) -> bool:
        quiet = self.remote_demand and self.phase is Phase.UP and self.remote_state is State.UP and not self._polling
        return self._remote_rx != 0 and not quiet

    def _hear_rx(self, remote_rx: int) -> None:
        if remote_rx == self._remote_rx:
            return
        self._remote_rx = remote_rx
        self._hasten()

    def _hasten(self) -> None:
        """The interval may have become shorter: the next packet must not wait for the old one."""
        self._tx_at = min(self._tx_at, self._sent_at + self.tx_interval * _US) if self._remote_rx else self._tx_at

    def _wanted(self) -> tuple[int, int]:
        tx = self.timers.tx if self.phase is Phase.UP else max(SLOW, self.timers.tx)
        return tx, self.timers.rx

    def _renegotiate(self) -> None:
        """Offer what is wanted now. While Up, what slows us or hastens the peer waits for the poll's end (6.8.3)."""
        wanted = self._wanted()
        if self.phase is not Phase.UP:
            self._polling = self._poll_again = False
            self._tx, self._rx = self._tx_used, self._rx_used = wanted
        elif wanted != (self._tx, self._rx):
            self._poll_again = self._polling
            self._polling = True
            self._tx, self._rx = wanted
            self._tx_used, self._rx_used = min(self._tx_used, self._tx), max(self._rx_used, self._rx)
        self._hasten()

    def _poll_ended(self) -> None:
        self._polling, self._poll_again = self._poll_again, False
        if not self._polling:
            self._tx_used, self._rx_used = self._tx, self._rx
