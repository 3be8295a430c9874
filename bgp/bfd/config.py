"""What the node's BFD is told: peers, timers, keys, and the gate. Frozen values, checked all at once (core: no I/O)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from bgp.bfd.auth import BfdAuth
from bgp.bfd.gate import Source
from bgp.bfd.packet import DIGEST_LENGTH, PASSWORD_MAX, AuthType
from bgp.bfd.session import Timers

INTERVAL_MIN: Final = 0.005
INTERVAL_MAX: Final = 60.0
NAME_MAX: Final = 64

Address = IPv4Address | IPv6Address


class BfdConfigError(ValueError):
    """A configuration that cannot be run: every fault on a line of its own, with place, value and what was expected."""


@dataclass(frozen=True, slots=True)
class BfdPeer:
    """One session. `tx` and `rx` in seconds: how often we offer to send, and how often we are willing to be sent to.

    A link-local address needs its `interface`; with one given, packets leave and are taken there alone.
    """

    name: str
    address: Address
    local_address: Address
    interface: str | None = None
    tx: float = 0.05
    rx: float = 0.05
    multiplier: int = 3
    multihop: bool = False
    auth: BfdAuth | None = None

    @property
    def timers(self) -> Timers:
        """The same in what RFC 5880 counts in."""
        return Timers(round(self.tx * 1e6), round(self.rx * 1e6), self.multiplier)

    @property
    def path(self) -> tuple[Address, Address, str | None, bool]:
        """What cannot change without another session."""
        return self.address, self.local_address, self.interface, self.multihop


@dataclass(frozen=True, slots=True)
class BfdConfig:
    """All of one node. `settle`: seconds of fresh heartbeats before the gate opens (again).

    `user` runs the process when the daemon is root, None keeps the daemon's own; `priority` is that of SCHED_FIFO, 0
    leaves the scheduling as it is. `gate` lists who must beat; an empty one gates nothing.
    """

    peers: tuple[BfdPeer, ...]
    gate: tuple[Source, ...] = field(default=(Source("daemon", 0.025, 4), Source("forwarder", 0.025, 4)))
    settle: float = 0.2
    user: str | None = "nobody"
    priority: int = 10

    def __post_init__(self) -> None:
        faults = [*self._own_faults(), *(fault for peer in self.peers for fault in _peer_faults(peer))]
        if faults:
            raise BfdConfigError("\n".join(faults))

    def _own_faults(self) -> Iterator[str]:
        for kind, values in (("name", [p.name for p in self.peers]), ("address", [_where(p) for p in self.peers])):
            for value in sorted({value for value in values if values.count(value) > 1}):
                yield f"bfd: the {kind} {value} is that of {values.count(value)} peers, expected each once"
        names = [source.name for source in self.gate]
        if not set(names) <= {"daemon", "forwarder"} or len(set(names)) < len(names):
            yield f"bfd: the gate's sources are {names}, expected daemon and forwarder, each once at most"
        for source in self.gate:
            yield from _outside(f"bfd: gate {source.name}: interval", source.interval, 0.001, 10.0)
            yield from _outside(f"bfd: gate {source.name}: misses", source.misses, 2, 100)
        yield from _outside("bfd: settle", self.settle, 0.0, 60.0)
        yield from _outside("bfd: priority", self.priority, 0, 99)


def _where(peer: BfdPeer) -> str:
    return f"{peer.address}%{peer.interface}" if peer.interface and peer.address.is_link_local else str(peer.address)


def _outside(place: str, value: float, least: float, most: float) -> Iterator[str]:
    if isinstance(value, bool) or not math.isfinite(value) or not least <= value <= most:
        nearest = most if value > most else least
        yield f"{place} is {value}, expected {least:g} to {most:g}, the nearest is {nearest:g}"


def _peer_faults(peer: BfdPeer) -> Iterator[str]:
    place = f"bfd: peer {peer.name}"
    if not 1 <= len(peer.name) <= NAME_MAX or not peer.name.isprintable():
        yield f"{place}: its name has {len(peer.name)} characters, expected 1 to {NAME_MAX} printable ones"
    if peer.address.version != peer.local_address.version:
        yield f"{place}: local_address is {peer.local_address}, expected one of IPv{peer.address.version}"
    for kind, address in (("address", peer.address), ("local_address", peer.local_address)):
        if address.is_multicast or address.is_unspecified or getattr(address, "ipv4_mapped", None):
            yield f"{place}: {kind} is {address}, expected that of one host"
        if address.version == 6 and address.is_link_local and peer.interface is None:
            yield f"{place}: {kind} {address} is link-local, expected an interface with it"
    if peer.multihop and peer.address.is_link_local:
        yield f"{place}: address {peer.address} is link-local, expected no multihop"
    if peer.interface is not None and not (1 <= len(peer.interface) <= 15 and peer.interface.isprintable()):
        yield f"{place}: interface is {peer.interface!r}, expected 1 to 15 characters"
    yield from _outside(f"{place}: tx", peer.tx, INTERVAL_MIN, INTERVAL_MAX)
    yield from _outside(f"{place}: rx", peer.rx, INTERVAL_MIN, INTERVAL_MAX)
    yield from _outside(f"{place}: multiplier", peer.multiplier, 1, 255)
    if peer.auth is not None:
        yield from _outside(f"{place}: key_id", peer.auth.key_id, 0, 255)
        most = PASSWORD_MAX if peer.auth.type is AuthType.PASSWORD else DIGEST_LENGTH
        if not 1 <= len(peer.auth.secret) <= most:
            yield f"{place}: its secret has {len(peer.auth.secret)} bytes, expected 1 to {most}"


def to_plain(config: BfdConfig) -> dict[str, Any]:
    """The configuration as JSON has it, secrets included: for the process's socket alone."""
    return {
        "peers": [_plain_peer(peer) for peer in config.peers],
        "gate": [[source.name, source.interval, source.misses] for source in config.gate],
        "settle": config.settle,
    }


def from_plain(plain: dict[str, Any]) -> BfdConfig:
    """What `to_plain` wrote. Raises BfdConfigError, KeyError, TypeError or ValueError."""
    gate = tuple(Source(str(name), float(interval), int(misses)) for name, interval, misses in plain["gate"])
    return BfdConfig(tuple(_peer(one) for one in plain["peers"]), gate, float(plain["settle"]))


def _plain_peer(peer: BfdPeer) -> dict[str, Any]:
    auth = peer.auth
    return {
        "name": peer.name,
        "address": str(peer.address),
        "local_address": str(peer.local_address),
        "interface": peer.interface,
        "tx": peer.tx,
        "rx": peer.rx,
        "multiplier": peer.multiplier,
        "multihop": peer.multihop,
        "auth": None if auth is None else [auth.type.value, auth.key_id, auth.secret.hex()],
    }


def _peer(plain: dict[str, Any]) -> BfdPeer:
    kind = IPv6Address if ":" in plain["address"] else IPv4Address
    auth = plain["auth"]
    return BfdPeer(
        **{
            **plain,
            "address": kind(plain["address"]),
            "local_address": (IPv6Address if ":" in plain["local_address"] else IPv4Address)(plain["local_address"]),
            "auth": None if auth is None else BfdAuth(AuthType(auth[0]), int(auth[1]), bytes.fromhex(auth[2])),
        }
    )
