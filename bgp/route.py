"""What a node may say about a prefix: the frozen Route, and its one text form as plain data.

A route is valid once it exists: everything that later becomes text for ExaBGP is checked here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Literal

GRACEFUL_SHUTDOWN = "65535:0"
"""RFC 8326. Only ever in numbers: ExaBGP takes the word `shutdown` in a command as an order to stop."""

Prefix = IPv4Network | IPv6Network
NextHops = tuple[tuple[IPv4Address, IPv6Address], ...]
"""(peer, next_hop towards it), ascending by peer."""

_COMMUNITY = re.compile(r"(0|[1-9][0-9]{0,4}):(0|[1-9][0-9]{0,4})")
_MED_MAX = 2**32 - 1


class RouteError(ValueError):
    """A route that must not be announced; the text names the field, the value and what was expected."""


@dataclass(frozen=True, slots=True)
class Route:
    """One announcement to every peer. `communities` are `asn:value` (RFC 1997), kept sorted; med None means no MED.

    `next_hop` "self" is this node's address of the session. The session runs over IPv4, so an IPv6 prefix needs one
    named for each peer before it can be sent: `Speaker` puts it in.
    """

    prefix: Prefix
    next_hop: Literal["self"] | NextHops = "self"
    med: int | None = None
    communities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.next_hop != "self":
            self._check_next_hops(self.next_hop)
        if self.med is not None and (type(self.med) is not int or not 0 <= self.med <= _MED_MAX):
            raise RouteError(f"{self.prefix}: med is {self.med!r}, expected a number from 0 to {_MED_MAX}")
        for community in self.communities:
            if not _valid_community(community):
                raise RouteError(f"{self.prefix}: community is {community!r}, expected asn:value, each 0 to 65535")
        object.__setattr__(self, "communities", tuple(sorted(set(self.communities), key=_numbers)))

    def _check_next_hops(self, hops: object) -> None:
        if self.prefix.version != 6:
            raise RouteError(f"{self.prefix}: next_hop is {hops!r}, expected 'self'")
        if not isinstance(hops, tuple) or not hops or not all(_valid_hop(hop) for hop in hops):
            expected = "'self' or (peer's IPv4 address, next hop's IPv6 address) pairs"
            raise RouteError(f"{self.prefix}: next_hop is {hops!r}, expected {expected}")
        if len({peer for peer, _ in hops}) != len(hops):
            raise RouteError(f"{self.prefix}: next_hop names a peer twice")
        object.__setattr__(self, "next_hop", tuple(sorted(hops)))


def _valid_hop(hop: object) -> bool:
    return isinstance(hop, tuple) and len(hop) == 2 and type(hop[0]) is IPv4Address and type(hop[1]) is IPv6Address


def _valid_community(text: object) -> bool:
    return isinstance(text, str) and _COMMUNITY.fullmatch(text) is not None and max(_numbers(text)) <= 65535


def _numbers(community: str) -> tuple[int, int]:
    asn, value = community.split(":")
    return int(asn), int(value)


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
    return {"next_hop": hops, "med": route.med, "communities": list(route.communities)}


def from_plain(prefix: Prefix, plain: object) -> Route:
    """Undo `to_plain`. Raises RouteError for unknown keys and wrong types."""
    if not isinstance(plain, Mapping) or set(plain) != {"next_hop", "med", "communities"}:
        raise RouteError(f"{prefix}: route is {plain!r}, expected next_hop, med and communities")
    communities = plain["communities"]
    if not isinstance(communities, list):
        raise RouteError(f"{prefix}: communities are {communities!r}, expected a list")
    return Route(prefix, _next_hop(prefix, plain["next_hop"]), plain["med"], tuple(communities))


def _next_hop(prefix: Prefix, plain: object) -> Literal["self"] | NextHops:
    if plain == "self":
        return "self"
    try:
        if not isinstance(plain, Mapping):
            raise AddressValueError
        return tuple((IPv4Address(peer), IPv6Address(hop)) for peer, hop in plain.items())
    except AddressValueError:
        raise RouteError(f"{prefix}: next_hop is {plain!r}, expected 'self' or peers with their next hops") from None
