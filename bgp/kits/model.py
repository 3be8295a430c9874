"""What a router kit is made of: one router, the sessions of its edges, and what may come in by each (core: no I/O).

Every guard of a kit is decided here, once, for all makes of router; the renderers only word it. Times are whole
seconds unless a name says otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from bgp.attributes import GRACEFUL_SHUTDOWN, NO_EXPORT
from bgp.route import Address, Prefix

DISCARD: Final = {4: "192.0.2.1", 6: "100::1"}
"""Next hops that a blackholed VIP is given in FRR: TEST-NET-1 (RFC 5737) and the discard prefix (RFC 6666)."""


class KitError(ValueError):
    """A kit that must not be rendered; `problems` has every reason, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True, order=True)
class Bfd:
    """Timers of the router's side (RFC 5880), in milliseconds; a node is dead after `multiplier` lost packets."""

    receive_ms: int = 50
    transmit_ms: int = 50
    multiplier: int = 3


@dataclass(frozen=True, slots=True)
class Session:
    """One edge as the router sees it: `address` is the edge's, `router` the address that the edge speaks to.

    `next_hop6` is the edge's address for IPv6 VIPs where the session runs over IPv4, `next_hop4` the other way round.
    `md5`: the key itself, None while it is not to be shown. `gtsm` bounds the hops that a packet may have come (RFC
    5082): `multihop`, or one. `bfd_auth`: the edge's BFD asks for a key, which no kit has. `edge_passive`: the edge
    waits for the call on its `port`, so the router has to make it. `interface` is the router's, which link-local
    addresses need.
    """

    edge: str
    address: Address
    router: Address
    asn: int
    vips: tuple[Prefix, ...]
    next_hop6: IPv6Address | None = None
    next_hop4: IPv4Address | None = None
    has_md5: bool = False
    md5: str | None = field(default=None, repr=False)
    gtsm: bool = True
    multihop: int | None = None
    bfd: Bfd | None = None
    bfd_auth: bool = False
    edge_passive: bool = False
    port: int = 179
    interface: str | None = None
    weight: int | None = None

    def prefixes(self, version: int) -> tuple[Prefix, ...]:
        """The VIPs of one family."""
        return tuple(vip for vip in self.vips if vip.version == version)

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that this session carries."""
        return tuple(version for version in (4, 6) if self.prefixes(version))

    def next_hop(self, version: int) -> Address:
        """What the next hop of this edge's routes has to be; IPv4 over an IPv6 session takes the peer (RFC 8950)."""
        if version == 6 and self.address.version == 4 and self.next_hop6 is not None:
            return self.next_hop6
        if version == 4 and self.address.version == 6 and self.next_hop4 is not None:
            return self.next_hop4
        return self.address

    @property
    def extended_next_hop(self) -> bool:
        """Whether IPv4 VIPs come with an IPv6 next hop (RFC 8950)."""
        return 4 in self.families and self.next_hop(4).version == 6

    @property
    def placeholder(self) -> str:
        """What stands in the file for a key that is not to be shown."""
        return f"MD5-KEY-OF-{self.edge}"


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator chooses.

    `aggregates` are originated by the router, whatever edges do. `site_scope` adds NO_EXPORT to what edges announce.
    `blackhole_edges` may ask for a VIP of theirs to be discarded. `slack` announcements beyond the VIPs are borne;
    `restart_minutes` is how long an edge stays cut off after more. `communities` of edges are kept.
    `trust_bandwidth`: the link bandwidths that edges claim are their weights.
    """

    aggregates: tuple[Prefix, ...] = ()
    site_scope: bool = True
    blackhole_edges: frozenset[str] = frozenset()
    slack: int = 8
    warning_percent: int = 80
    restart_minutes: int = 1
    max_paths: int = 16
    graceful_restart: bool = False
    roles: bool = True
    trust_bandwidth: bool = False
    communities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KitInput:
    """A router and the edges that announce to it. `router_id` is named where it is told, or where it has to be.

    Raises KitError with all that is wrong.
    """

    router: str
    asn: int
    sessions: tuple[Session, ...]
    router_id: IPv4Address | None = None
    hold_time: int = 9
    options: Options = Options()

    def __post_init__(self) -> None:
        problems = [*_problems(self)]
        if problems:
            raise KitError(problems)

    @property
    def identifier(self) -> IPv4Address:
        """The BGP identifier where a file must name one: as told, or the first IPv4 address that an edge speaks to."""
        own = [session.router for session in self.sessions if isinstance(session.router, IPv4Address)]
        if self.router_id is None and not own:
            raise KitError([f"router {self.router} has no IPv4 address here: expected its router id to be told"])
        return self.router_id or own[0]

    @property
    def asns(self) -> tuple[int, ...]:
        """The edges' ASNs, each once, ascending."""
        return tuple(sorted({session.asn for session in self.sessions}))

    @property
    def families(self) -> tuple[int, ...]:
        """The IP versions that any session carries."""
        return tuple(sorted({version for session in self.sessions for version in session.families}))

    @property
    def keepalive(self) -> int:
        """A third of the hold_time (RFC 4271 10)."""
        return max(1, self.hold_time // 3)

    @property
    def kept_communities(self) -> tuple[str, ...]:
        """Of an edge's communities those that stay; BLACKHOLE only where it is acted upon, which is before this."""
        return (GRACEFUL_SHUTDOWN, NO_EXPORT, *self.options.communities)

    def limit(self, session: Session, version: int) -> int:
        """How many prefixes of a family an edge may announce before it is cut off."""
        return len(session.prefixes(version)) + self.options.slack

    def carrying(self, version: int) -> tuple[Session, ...]:
        """The sessions that carry a family."""
        return tuple(session for session in self.sessions if version in session.families)

    def aggregates(self, version: int) -> tuple[Prefix, ...]:
        """The covering prefixes of one family."""
        return tuple(prefix for prefix in self.options.aggregates if prefix.version == version)

    def blackholes(self, session: Session) -> bool:
        """Whether the edge may ask for its VIPs to be discarded (RFC 7999)."""
        return session.edge in self.options.blackhole_edges


def is_private(asn: int) -> bool:
    """Whether an ASN is for private use (RFC 6996)."""
    return 64512 <= asn <= 65534 or 4200000000 <= asn <= 4294967294


def _problems(kit: KitInput) -> Iterator[str]:
    if not kit.sessions:
        yield f"router {kit.router} has no edges: expected at least one"
    yield from _session_problems(kit)
    yield from _option_problems(kit)


def _session_problems(kit: KitInput) -> Iterator[str]:
    names = [session.edge for session in kit.sessions]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"edge {name}: {names.count(name)} sessions have this name: expected one session for each edge"
    owners: dict[object, str] = {}
    for one in kit.sessions:
        place = one.interface, one.address
        if place in owners:
            yield (
                f"edge {one.edge}: address {one.address} is also that of edge {owners[place]}: "
                "expected one session for each edge"
            )
        owners.setdefault(place, one.edge)
        if one.asn == kit.asn:
            yield f"edge {one.edge}: asn {one.asn} is the router's own: expected another, edges speak eBGP"
        if not one.vips:
            yield f"edge {one.edge} has no VIP: expected at least one"
        if one.address.version == 4 and one.prefixes(6) and one.next_hop6 is None:
            yield f"edge {one.edge}: {one.prefixes(6)[0]} needs a next hop: expected local_address6 for this router"
        if one.address.is_link_local and one.interface is None:
            yield f"edge {one.edge}: {one.address} is link-local: expected the router's interface as well"
        if kit.options.graceful_restart and one.bfd is None:
            yield (
                f"edge {one.edge} has no BFD: graceful restart without it would keep a dead edge's routes for the "
                "whole restart time; expected bfd for this router, or no graceful restart"
            )


def _option_problems(kit: KitInput) -> Iterator[str]:
    vips = sorted({vip for session in kit.sessions for vip in session.vips}, key=str)
    for aggregate in kit.options.aggregates:
        if aggregate.prefixlen == 0:
            yield f"aggregate {aggregate} is the default route: expected a prefix that covers VIPs"
        elif not any(_covers(aggregate, vip) for vip in vips):
            yield f"aggregate {aggregate} covers no VIP: expected one that covers any of {', '.join(map(str, vips))}"
    unknown = sorted(kit.options.blackhole_edges - {session.edge for session in kit.sessions})
    for name in unknown:
        yield f"edge {name} may not blackhole: expected one of {', '.join(s.edge for s in kit.sessions)}"
    bounds = (("slack", 0, 10000), ("warning_percent", 1, 100), ("restart_minutes", 1, 65535), ("max_paths", 1, 64))
    for name, low, high in bounds:
        value = getattr(kit.options, name)
        if not low <= value <= high:
            yield f"{name} is {value}: expected {low} to {high}"
    for one in kit.sessions:
        if one.weight is not None and not 1 <= one.weight <= 256:
            yield f"edge {one.edge}: weight is {one.weight}: expected 1 to 256"
    if any(s.weight is not None for s in kit.sessions) and any(s.weight is None for s in kit.sessions):
        without = ", ".join(s.edge for s in kit.sessions if s.weight is None)
        yield f"edges {without} have no weight: expected one for every edge, or for none"


def _covers(aggregate: Prefix, vip: Prefix) -> bool:
    same = aggregate.version == vip.version and aggregate.prefixlen < vip.prefixlen
    return same and int(vip.network_address) >> (vip.max_prefixlen - aggregate.prefixlen) == (
        int(aggregate.network_address) >> (vip.max_prefixlen - aggregate.prefixlen)
    )
