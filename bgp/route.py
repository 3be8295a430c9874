"""What a node may say about a prefix: the frozen Route, and its one text form as plain data.

A route is valid once it exists: everything that later becomes text for ExaBGP is checked here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Literal

from bgp.attributes import (
    BLACKHOLE,
    GRACEFUL_SHUTDOWN,
    NO_EXPORT,
    Attributes,
    RouteError,
    Said,
    attributes_from_plain,
    attributes_to_plain,
)

__all__ = [
    "BLACKHOLE", "GRACEFUL_SHUTDOWN", "NO_EXPORT", "Address", "Attributes", "NextHops", "Overrides", "Prefix", "Route",
    "RouteError", "from_plain", "parse_prefix", "to_plain",
]  # fmt: skip

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network
NextHops = tuple[tuple[Address, Address], ...]
"""(peer, next_hop towards it), ascending by peer, IPv4 first."""
Overrides = tuple[tuple[Address, Attributes], ...]
"""(peer, what it alone is told), ascending by peer, IPv4 first."""


@dataclass(frozen=True, slots=True)
class Route:
    """One announcement to every peer: `Attributes`, and `overrides` for peers that are told something else.

    `next_hop` "self" is this node's address of the session. Before a route is sent, `SpeakerConfig.resolved` names
    a next hop for each peer where that is not enough: for IPv6 prefixes, sessions over IPv6, and peers with overrides.
    """

    prefix: Prefix
    next_hop: Literal["self"] | NextHops = "self"
    med: int | None = None
    communities: tuple[str, ...] = ()
    as_path: tuple[int, ...] = ()
    large_communities: tuple[str, ...] = ()
    extended_communities: tuple[str, ...] = ()
    overrides: Overrides = ()

    def __post_init__(self) -> None:
        try:
            if self.next_hop != "self":
                self._check_next_hops(self.next_hop)
            lists = (self.as_path, self.large_communities, self.extended_communities)
            checked = Attributes(self.med, self.communities, *lists)
            object.__setattr__(self, "overrides", _by_peer(self.overrides, "overrides"))
        except RouteError as error:
            raise RouteError(f"{self.prefix}: {error}") from None
        for key in ("communities", "large_communities", "extended_communities"):
            object.__setattr__(self, key, getattr(checked, key))

    def told(self, peer: Address) -> Said:
        """What a peer is told."""
        return dict(self.overrides).get(peer, self)

    def _check_next_hops(self, hops: object) -> None:
        if not isinstance(hops, tuple) or not hops or not all(_is_pair(hop) for hop in hops):
            expected = "'self' or (peer's address, next hop's address) pairs"
            raise RouteError(f"next_hop is {hops!r}, expected {expected}")
        if not all(self._usable(peer, hop) for peer, hop in hops):
            family = "IPv6 next hops" if self.prefix.version == 6 else "IPv4 ones, or IPv6 ones towards IPv6 peers"
            raise RouteError(f"next_hop is {hops!r}, expected 'self' or pairs with {family}")
        object.__setattr__(self, "next_hop", _by_peer(hops, "next_hop"))

    def _usable(self, peer: Address, hop: Address) -> bool:
        """An IPv4 prefix may have an IPv6 next hop (RFC 8950), which is for sessions over IPv6."""
        return hop.version == self.prefix.version or (hop.version == 6 and peer.version == 6)


def _is_pair(hop: object) -> bool:
    kinds = (IPv4Address, IPv6Address)
    return isinstance(hop, tuple) and len(hop) == 2 and type(hop[0]) in kinds and type(hop[1]) in kinds


def _by_peer(pairs: tuple[tuple[Address, Any], ...], key: str) -> tuple[tuple[Address, Any], ...]:
    if len({peer for peer, _ in pairs}) != len(pairs):
        raise RouteError(f"{key} names a peer twice")
    return tuple(sorted(pairs, key=lambda pair: (pair[0].version, int(pair[0]))))


def parse_prefix(text: object) -> Prefix:
    """Read an IPv4 or IPv6 prefix, with its length and without host bits or a zone. Raises RouteError."""
    try:
        if not isinstance(text, str) or "/" not in text or "%" in text:
            raise ValueError
        return ip_network(text)
    except ValueError:
        expected = "an IPv4 or IPv6 prefix such as 203.0.113.10/32 or 2001:db8:1::10/128"
        raise RouteError(f"prefix is {text!r}, expected {expected}") from None


def to_plain(route: Route) -> dict[str, object]:
    """The attributes of a route as JSON-ready data; the prefix is the caller's key."""
    hop = route.next_hop
    hops = hop if hop == "self" else {str(peer): str(address) for peer, address in hop}
    plain: dict[str, object] = {"next_hop": hops, **attributes_to_plain(route)}
    if route.overrides:
        plain["overrides"] = {str(peer): attributes_to_plain(said) for peer, said in route.overrides}
    return plain


def from_plain(prefix: Prefix, plain: object) -> Route:
    """Undo `to_plain`. Raises RouteError for unknown keys and wrong types."""
    if not isinstance(plain, Mapping) or not {"next_hop", "med", "communities"} <= set(plain):
        raise RouteError(f"{prefix}: route is {plain!r}, expected next_hop, med and communities")
    try:
        said = attributes_from_plain({k: v for k, v in plain.items() if k not in ("next_hop", "overrides")})
        overrides = _overrides(plain.get("overrides", {}))
    except RouteError as error:
        raise RouteError(f"{prefix}: {error}") from None
    hops = _next_hop(prefix, plain["next_hop"])
    lists = (said.as_path, said.large_communities, said.extended_communities)
    return Route(prefix, hops, said.med, said.communities, *lists, overrides=overrides)


def _overrides(plain: object) -> Overrides:
    try:
        if not isinstance(plain, Mapping):
            raise ValueError
        return tuple((ip_address(peer), attributes_from_plain(said)) for peer, said in plain.items())
    except RouteError:
        raise
    except (ValueError, TypeError, AttributeError):
        raise RouteError(f"overrides are {plain!r}, expected peers with their attributes") from None


def _next_hop(prefix: Prefix, plain: object) -> Literal["self"] | NextHops:
    if plain == "self":
        return "self"
    try:
        if not isinstance(plain, Mapping):
            raise ValueError
        return tuple((ip_address(peer), ip_address(hop)) for peer, hop in plain.items())
    except ValueError:
        raise RouteError(f"{prefix}: next_hop is {plain!r}, expected 'self' or peers with their next hops") from None
