"""All sessions of a node without I/O: which packet is whose, what the gate means for each, and what leaves when.

The shell hands in datagrams and heartbeats, takes packets out, and sleeps until `next_deadline`.
"""

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from bgp.bfd.auth import Signer
from bgp.bfd.config import Address, BfdConfig, BfdPeer
from bgp.bfd.gate import Gate, Source
from bgp.bfd.packet import ControlPacket, Diag, PacketError, Refusal, State, decode, diag_word
from bgp.bfd.session import Event, Phase, Session, Transition
from bgp.bfd.status import BfdState, Change, GapCount, SessionStatus

TTL: Final = 255
_KEPT: Final = 64
"""Changes that are told again with every state."""
_DOWNS: Final = 5
_NOBODY: Final = Source("nobody", 1.0, 1)


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP payload that came in on a BFD port; `interface` is where."""

    data: bytes
    source: Address
    interface: str
    ttl: int
    multihop: bool


class Link:
    """One peer: its session, its keys, its counters."""

    def __init__(self, peer: BfdPeer, discriminator: int, sequence: int, now: float) -> None:
        self.peer = peer
        self.session = Session(peer.timers, discriminator, now)
        self.signer = Signer(peer.auth, sequence)
        self.packets_in = self.packets_out = self.send_errors = 0
        self.refused: Counter[Refusal] = Counter()
        self.downs: deque[Change] = deque(maxlen=_DOWNS)
        self.gap_count = GapCount()
        self._sent: tuple[float, int] | None = None

    def takes(self, datagram: Datagram) -> bool:
        """Whether a datagram that names no session can be this peer's."""
        peer = self.peer
        same = peer.address == datagram.source and peer.multihop == datagram.multihop
        return same and peer.interface in (None, datagram.interface)

    def count_sent(self, now: float) -> None:
        """One packet left; pauses are counted while Up at an interval that has not changed."""
        self.packets_out += 1
        interval = self.session.tx_interval
        if self._sent is not None and self._sent[1] == interval and self.session.phase is Phase.UP:
            self.gap_count.add(now - self._sent[0])
        self._sent = (now, interval) if self.session.phase is Phase.UP else None

    def status(self) -> SessionStatus:
        """For the daemon."""
        session = self.session
        return SessionStatus(
            name=self.peer.name,
            peer=str(self.peer.address),
            state=session.phase.value,
            since=session.since,
            diag=diag_word(session.diag),
            remote_state=session.remote_state.name.lower().replace("_", " "),
            remote_diag=diag_word(session.remote_diag),
            local_discriminator=session.discriminator,
            remote_discriminator=session.remote_discriminator,
            tx_interval=session.tx_interval / 1e6,
            detection_time=session.detection_time,
            packets_in=self.packets_in,
            packets_out=self.packets_out,
            send_errors=self.send_errors,
            refused={refusal.name.lower(): count for refusal, count in self.refused.items()},
            downs=tuple(self.downs),
            gaps=self.gap_count.gaps(),
        )


class Engine:
    """`dice()` gives a number from 0 up to 1: jitter, discriminators and first sequence numbers come from it."""

    def __init__(self, dice: Callable[[], float], now: float) -> None:
        self._dice = dice
        self._links: dict[str, Link] = {}
        self._gate = Gate((_NOBODY,), 0.0, now)  # closed until somebody says who must beat
        self._settle = 0.0
        self._admin_down = False
        self._serial = 0
        self._changes: deque[Change] = deque(maxlen=_KEPT)
        self._farewells: list[tuple[BfdPeer, bytes]] = []
        self._strangers: Counter[Refusal] = Counter()
        self.news = True
        """Set with every change; the shell clears it when it has told the daemon."""

    @property
    def peers(self) -> tuple[BfdPeer, ...]:
        """Those that are spoken to now."""
        return tuple(link.peer for link in self._links.values())

    def want(self, config: BfdConfig, admin_down: bool, now: float) -> None:
        """Replace the whole configuration; the sessions of unchanged peers go on, new timers are negotiated."""
        if (config.gate, config.settle) != (self._gate.sources, self._settle):
            self._replace_gate(config, now)
        wanted = {peer.name: peer for peer in config.peers}
        for name, link in list(self._links.items()):
            new = wanted.get(name)
            if new is None or new.path != link.peer.path or new.auth != link.peer.auth:
                self._dismiss(link, now)
            elif new != link.peer:
                link.peer = new
                link.session.retime(new.timers)
        for name, peer in wanted.items():
            if name not in self._links:
                self._links[name] = Link(peer, self._discriminator(), int(self._dice() * (1 << 32)), now)
        self._admin_down = admin_down
        self._administer(now)
        self.news = True

    def hold(self, until: float, now: float) -> None:
        """A planned restart of the daemon: see Gate.hold."""
        self._gate.hold(until, now)

    def receive(self, datagram: Datagram, now: float) -> Refusal | None:
        """Take a datagram, or say why not; every refusal is counted."""
        link: Link | None = None
        try:
            if not datagram.multihop and datagram.ttl != TTL:
                raise PacketError(Refusal.TTL)  # RFC 5881 5, RFC 5082
            packet = decode(datagram.data)
            link = self._owner(packet, datagram)
            link.signer.check(datagram.data, packet, now, 2 * link.session.detection_time)
        except PacketError as error:
            counts = self._strangers if link is None else link.refused
            counts[error.refusal] += 1
            return error.refusal
        link.packets_in += 1
        self._note(link, link.session.receive(packet, now), now)
        return None

    def turn(self, beats: Mapping[str, float], now: float) -> None:
        """Judge the heartbeats and the silence; call after all input was handled."""
        change = self._gate.look(beats, now)
        if change is not None:
            self.news = True
            event = Event.OPEN if change.opened else Event.CLOSE
            for link in self._links.values():
                self._note(link, link.session.handle(event, now, change.reason, change.diag), now)
        for link in self._links.values():
            self._note(link, link.session.expire(now), now)

    def output(self, now: float) -> Iterator[tuple[BfdPeer, bytes]]:
        """The packets that must leave now, with whom they are for."""
        farewells, self._farewells = self._farewells, []
        yield from farewells
        for link in self._links.values():
            while link.session.next_deadline() <= now and (packet := link.session.due(now, self._dice())):
                link.count_sent(now)
                yield link.peer, link.signer.sign(packet)

    def say_again(self) -> None:
        """Every session's packet leaves once more with the next output."""
        for link in self._links.values():
            link.session.retime(link.peer.timers)

    def not_sent(self, peer: BfdPeer) -> None:
        """A packet for this peer could not leave."""
        if peer.name in self._links:
            self._links[peer.name].send_errors += 1

    def next_deadline(self) -> float:
        """When to call `turn` and `output` again; monotonic seconds."""
        sessions = (link.session.next_deadline() for link in self._links.values())
        return -math.inf if self._farewells else min([self._gate.next_deadline(), *sessions])

    def state(self, seq: int, held_until: float, remarks: tuple[str, ...]) -> BfdState:
        """For the daemon."""
        return BfdState(
            seq=seq,
            gate_open=self._gate.open,
            gate_reason=self._gate.reason,
            held_until=held_until,
            sessions=tuple(link.status() for link in self._links.values()),
            changes=tuple(self._changes),
            refused={refusal.name.lower(): count for refusal, count in self._strangers.items()},
            remarks=remarks,
        )

    def _owner(self, packet: ControlPacket, datagram: Datagram) -> Link:
        """RFC 5880 6.3: by our discriminator, or by the addresses while the peer does not know it."""
        if packet.your == 0:
            found = next((link for link in self._links.values() if link.takes(datagram)), None)
            if found is None:
                raise PacketError(Refusal.UNKNOWN_PEER)
            return found
        known = next((link for link in self._links.values() if link.session.discriminator == packet.your), None)
        if known is None:
            raise PacketError(Refusal.UNKNOWN_SESSION)
        if not known.takes(datagram):
            raise PacketError(Refusal.WRONG_PEER)
        return known

    def _replace_gate(self, config: BfdConfig, now: float) -> None:
        """An open one stays open and is judged anew by the next look; one that guarded nothing is no proof of life."""
        before, self._settle = self._gate, config.settle
        self._gate = Gate(config.gate, config.settle, now)
        self._gate.open, self._gate.reason = before.open and bool(before.sources), before.reason
        if not self._gate.open:
            for link in self._links.values():
                self._note(link, link.session.handle(Event.CLOSE, now, "the gate is a new one", Diag.PATH_DOWN), now)

    def _administer(self, now: float) -> None:
        for link in self._links.values():
            event = Event.DISABLE if self._admin_down else Event.ENABLE
            self._note(link, link.session.handle(event, now), now)
            if self._gate.open and not self._admin_down:
                self._note(link, link.session.handle(Event.OPEN, now, self._gate.reason), now)

    def _dismiss(self, link: Link, now: float) -> None:
        """A peer that is spoken to no more hears AdminDown, so that it does not take the silence for a failure."""
        self._note(link, link.session.handle(Event.DISABLE, now, "no longer configured"), now)
        packet = link.session.due(now, 0.0)
        while packet is not None:
            assert packet.state is State.ADMIN_DOWN
            self._farewells.append((link.peer, link.signer.sign(packet)))
            packet = link.session.due(now, 0.0)
        del self._links[link.peer.name]

    def _discriminator(self) -> int:
        taken = {link.session.discriminator for link in self._links.values()}
        while True:
            number = 1 + int(self._dice() * ((1 << 32) - 1))
            if number not in taken:
                return number

    def _note(self, link: Link, transition: Transition | None, now: float) -> None:
        if transition is None:
            return
        self._serial += 1
        old, new, word = transition.old, transition.new, diag_word(transition.diag)
        name, reason, failure = link.peer.name, transition.reason, transition.failure
        change = Change(self._serial, name, now, old.value, new.value, word, reason, failure)
        self._changes.append(change)
        if old is Phase.UP:
            link.downs.append(change)
        self.news = True
