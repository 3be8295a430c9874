"""What a node may say about a prefix: the frozen Route, and its one text form as plain data.

A route is valid once it exists: everything that later becomes text for ExaBGP is checked here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from typing import Literal

GRACEFUL_SHUTDOWN = "65535:0"
"""RFC 8326. Only ever in numbers: ExaBGP takes the word `shutdown` in a command as an order to stop."""

_COMMUNITY = re.compile(r"(0|[1-9][0-9]{0,4}):(0|[1-9][0-9]{0,4})")
_MED_MAX = 2**32 - 1


class RouteError(ValueError):
    """A route that must not be announced; the text names the field, the value and what was expected."""


@dataclass(frozen=True, slots=True)
class Route:
    """One announcement to every peer. `communities` are `asn:value` (RFC 1997), kept sorted; med None means no MED."""

    prefix: IPv4Network
    next_hop: Literal["self"] = "self"
    med: int | None = None
    communities: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.next_hop != "self":
            raise RouteError(f"{self.prefix}: next_hop is {self.next_hop!r}, expected 'self'")
        if self.med is not None and (type(self.med) is not int or not 0 <= self.med <= _MED_MAX):
            raise RouteError(f"{self.prefix}: med is {self.med!r}, expected a number from 0 to {_MED_MAX}")
        for community in self.communities:
            if not _valid_community(community):
                raise RouteError(f"{self.prefix}: community is {community!r}, expected asn:value, each 0 to 65535")
        object.__setattr__(self, "communities", tuple(sorted(set(self.communities), key=_numbers)))


def _valid_community(text: object) -> bool:
    return isinstance(text, str) and _COMMUNITY.fullmatch(text) is not None and max(_numbers(text)) <= 65535


def _numbers(community: str) -> tuple[int, int]:
    asn, value = community.split(":")
    return int(asn), int(value)


def parse_prefix(text: object) -> IPv4Network:
    """Read `a.b.c.d/n` without host bits. Raises RouteError."""
    try:
        if not isinstance(text, str) or "/" not in text:
            raise ValueError
        return IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError):
        raise RouteError(f"prefix is {text!r}, expected an IPv4 prefix such as 203.0.113.10/32") from None


def to_plain(route: Route) -> dict[str, object]:
    """The attributes of a route as JSON-ready data; the prefix is the caller's key."""
    return {"next_hop": route.next_hop, "med": route.med, "communities": list(route.communities)}


def from_plain(prefix: IPv4Network, plain: object) -> Route:
    """Undo `to_plain`. Raises RouteError for unknown keys and wrong types."""
    if not isinstance(plain, Mapping) or set(plain) != {"next_hop", "med", "communities"}:
        raise RouteError(f"{prefix}: route is {plain!r}, expected next_hop, med and communities")
    communities = plain["communities"]
    if not isinstance(communities, list):
        raise RouteError(f"{prefix}: communities are {communities!r}, expected a list")
    return Route(prefix, plain["next_hop"], plain["med"], tuple(communities))
