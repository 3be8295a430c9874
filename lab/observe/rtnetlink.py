"""The rtnetlink messages that tell a route watcher a whole route, as bytes and as values. No I/O.

What they have in common with the edge's is `edge.datapath.netlink`.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from bgp.route import Prefix
from edge.datapath import netlink
from edge.datapath.netlink import Hop, NetlinkError

_AF_UNSPEC = 0
_PREFIXES: dict[int, type[IPv4Network] | type[IPv6Network]] = {
    netlink.AF_INET: IPv4Network,
    netlink.AF_INET6: IPv6Network,
}


@dataclass(frozen=True, slots=True)
class Route:
    """A route as the kernel tells it. `metric`: the lower one is in use. No paths: it refuses packets."""

    prefix: Prefix
    table: int
    metric: int
    paths: tuple[Hop, ...]


def route_dump(sequence: int) -> bytes:
    """The request for all routes of the namespace, of every family that has any."""
    payload = netlink.ROUTE.pack(_AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)
    return netlink.request(netlink.RTM_GETROUTE, netlink.DUMP, sequence, payload)


def read_route(payload: bytes) -> Route | None:
    """The route that a route message is about; None when it is not an IPv4 or IPv6 route for every TOS."""
    family, length, _, tos, table, _, _, kind, flags = netlink.unpack(netlink.ROUTE, payload, "a route message")
    kind_of_prefix = _PREFIXES.get(family)
    if kind_of_prefix is None or tos:
        return None
    found = netlink.attributes(payload[netlink.ROUTE.size :])
    prefix = _prefix(kind_of_prefix, found.get(netlink.RTA_DST, bytes(kind_of_prefix(0).max_prefixlen // 8)), length)
    table = netlink.number(found.get(netlink.RTA_TABLE), table)
    metric = netlink.number(found.get(netlink.RTA_PRIORITY), 0)
    unicast = kind == netlink.RTN_UNICAST
    paths = netlink.route_hops(flags, found, netlink.RTNH_F_DEAD) if unicast else ()
    return Route(prefix, table, metric, paths)


def _prefix(kind: type[IPv4Network] | type[IPv6Network], address: bytes, length: int) -> Prefix:
    try:
        return kind((address, length))
    except ValueError as error:
        what = "IPv4 prefix" if kind is IPv4Network else "IPv6 prefix"
        raise NetlinkError(f"netlink: {len(address)} bytes, {length} bits of them, are no {what}") from error
