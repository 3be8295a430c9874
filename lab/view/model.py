"""What the live page is told: samples of a lab, as values. No I/O; times in seconds of CLOCK_MONOTONIC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counters:
    """An interface as the kernel counts it: packets and bytes since it was made."""

    up: bool
    rx_packets: int
    tx_packets: int
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class NodeSample:
    """A node: the runtime's word for its state, and its interfaces by name (none where it cannot be asked)."""

    state: str
    interfaces: Mapping[str, Counters] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Session:
    """One BGP session of a node. `prefixes`: accepted from the peer (an edge: announced to it); None: not told."""

    peer: str
    state: str
    up: bool
    prefixes: int | None = None
    age: float | None = None


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """A fault that somebody injected; `since` is the journal's word for when, as it stands there."""

    name: str
    kind: str
    text: str
    since: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A router's kernel changed its next hops for a prefix."""

    time: float
    router: str
    prefix: str
    hops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything that was looked at in one round. `problems`: what could not be looked at, in sentences."""

    time: float
    nodes: Mapping[str, NodeSample]
    faults: Sequence[ActiveFault] = ()
    problems: Sequence[str] = ()
