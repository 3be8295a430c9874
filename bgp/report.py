"""What the speaker tells its owner: a snapshot for status, and one event for every change, old -> new with a reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bgp.rib import UNKNOWN, Held
from bgp.route import Address, Prefix, Route
from bgp.speaker_config import SpeakerConfig
from bgp.supervisor import Phase
from bgp.wire import PeerView, State


@dataclass(frozen=True, slots=True)
class Event:
    """One change. `subject` is `exabgp`, `peer NAME` or `prefix P`; `old` and `new` are words for people and logs."""

    subject: str
    old: str
    new: str
    reason: str


@dataclass(frozen=True, slots=True)
class PrefixStatus:
    """`wanted` is what the daemon declared, `sent` and `acked` how far the relay and ExaBGP have come."""

    wanted: Route | None
    sent: Held
    acked: Held
    refusals: int

    @property
    def applied(self) -> bool:
        """ExaBGP holds what is wanted; whether a router does, only the router knows."""
        return self.acked == self.wanted == self.sent


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One session; `since` is CLOCK_MONOTONIC seconds, `reason` is empty while up or never up."""

    name: str
    address: Address
    asn: int
    up: bool
    since: float
    reason: str


@dataclass(frozen=True, slots=True)
class SpeakerState:
    """All that the daemon knows of its announcer at one moment; `since` and `heard` are CLOCK_MONOTONIC seconds."""

    phase: Phase
    reason: str
    since: float
    deaths: int
    exabgp_pid: int | None
    relay_pid: int | None
    heard: float | None
    converged: bool
    prefixes: Mapping[Prefix, PrefixStatus]
    peers: tuple[PeerStatus, ...]


def snapshot(
    config: SpeakerConfig,
    state: State | None,
    wanted: Mapping[Prefix, Route | None],
    sent: Mapping[Prefix, Route | None],
    since: float,
) -> tuple[dict[Prefix, PrefixStatus], tuple[PeerStatus, ...]]:
    """Every prefix and every peer: a relay's `state` in the words of what was declared.

    `sent` is `wanted` as it was sent, with next hops; `since` is when a peer that nobody has told of went down.
    """
    views = state.prefixes if state else {}
    prefixes = {}
    for prefix, route in wanted.items():
        view = views.get(prefix)
        out, acked, refusals = (view.sent, view.acked, view.refusals) if view else (UNKNOWN, UNKNOWN, 0)
        as_sent = sent.get(prefix)
        status = PrefixStatus(route, route if out == as_sent else out, route if acked == as_sent else acked, refusals)
        prefixes[prefix] = status
    return prefixes, sessions(config, state, since)


def sessions(config: SpeakerConfig, state: State | None, since: float) -> tuple[PeerStatus, ...]:
    """Every peer, as in `snapshot`."""
    peers = state.peers if state else {}
    found = []
    for peer in config.peers:
        seen = peers.get(peer.address)
        live = (seen.up, seen.since, seen.reason) if seen else (False, since, "")
        found.append(PeerStatus(peer.name, peer.address, peer.asn, *live))
    return tuple(found)


def word(held: Held) -> str:
    """A short word for what is held for a prefix."""
    if held is UNKNOWN:
        return "unknown"
    if held is None:
        return "withdrawn"
    details = ["announced"]
    if held.med is not None:
        details.append(f"med {held.med}")
    if held.communities:
        details.append(f"community {' '.join(held.communities)}")
    if held.as_path:
        details.append(f"as path {' '.join(map(str, held.as_path))}")
    if others := held.large_communities + held.extended_communities:
        details.append(f"communities {' '.join(others)}")
    if held.overrides:
        details.append(f"otherwise to {', '.join(str(peer) for peer, _ in held.overrides)}")
    return ", ".join(details)


def changes(old: State | None, new: State, names: Mapping[Address, str]) -> Iterator[Event]:
    """The events between two states of a relay; `old` is None for the first state of a relay."""
    for address, peer in new.peers.items():
        before = old.peers.get(address) if old else None
        if before is None or before.up != peer.up:
            yield Event(
                f"peer {names.get(address, address)}", _session(before), _session(peer), peer.reason or "session"
            )
    if old is not None and new.prefixes is old.prefixes:
        return
    for prefix, view in new.prefixes.items():
        was = old.prefixes[prefix].acked if old and prefix in old.prefixes else UNKNOWN
        if view.acked != was:
            reason = "as declared" if view.acked == view.desired else f"on the way to {word(view.desired)}"
            yield Event(f"prefix {prefix}", word(was), word(view.acked), reason)


def _session(peer: PeerView | None) -> str:
    if peer is None:
        return "unknown"
    return "up" if peer.up else "down"
