"""The rtnetlink messages that tell a route watcher a whole route, as bytes and as values. No I/O.

What they have in common with the edge's is `edge.datapath.netlink`.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network

from edge.datapath import netlink
from edge.datapath.netlink import Hop, NetlinkError


@dataclass(frozen=True, slots=True)
class Route:
    """An IPv4 route as the kernel tells it. `metric`: the lower one is in use. No paths: it refuses packets."""

    prefix: IPv4Network
    table: int
    metric: int
    paths: tuple[Hop, ...]


def route_dump(sequence: int) -> bytes:
    """The request for all IPv4 routes of the namespace."""
    payload = netlink.ROUTE.pack(netlink.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    return netlink.request(netlink.RTM_GETROUTE, netlink.DUMP, sequence, payload)


def read_route(payload: bytes) -> Route | None:
    """The route that a route message is about; None when it is not an IPv4 route for every TOS."""
    family, length, _, tos, table, _, _, kind, flags = netlink.unpack(netlink.ROUTE, payload, "a route message")
    if family != netlink.AF_INET or tos:
        return None
    found = netlink.attributes(payload[netlink.ROUTE.size :])
    prefix = _prefix(found.get(netlink.RTA_DST, bytes(4)), length)
    table = netlink.number(found.get(netlink.RTA_TABLE), table)
    metric = netlink.number(found.get(netlink.RTA_PRIORITY), 0)
    unicast = kind == netlink.RTN_UNICAST
    paths = netlink.route_hops(flags, found, netlink.RTNH_F_DEAD) if unicast else ()
    return Route(prefix, table, metric, paths)


def _prefix(address: bytes, length: int) -> IPv4Network:
    try:
        return IPv4Network((address, length))
    except ValueError as error:
        raise NetlinkError(f"netlink: {len(address)} bytes, {length} bits of them, are no IPv4 prefix") from error
