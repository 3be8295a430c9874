"""The few rtnetlink messages that a route watcher reads and sends. Bytes in, values out; no I/O.

Formats: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h (RFC 3549); every field in the machine's byte order.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 16, 17, 24, 25, 26
RTM_NEWNEXTHOP, RTM_DELNEXTHOP = 104, 105
DUMP_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR: the table changed while it was read

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, device type, index, flags, change
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_NEXT_HOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, weight - 1, index
_WORD = struct.Struct("=I")

_REQUEST_AND_DUMP = 0x1 | 0x300
_AF_INET, _AF_INET6, _RTN_UNICAST = 2, 10, 1
_RTNH_F_DEAD = 0x1
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA = 1, 4, 5, 6, 9, 15, 18
_IFLA_IFNAME = 3


class NetlinkError(Exception):
    """Bytes that are no netlink message, or an error that the kernel reports in one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message. `port` is that of the socket whose request it answers or whose change it tells."""

    type: int
    flags: int
    port: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Path:
    """One next hop of a route: gateway as text ("" when connected), interface index; `dead` when no packet takes it."""

    gateway: str
    index: int
    dead: bool


@dataclass(frozen=True, slots=True)
class Route:
    """An IPv4 route as the kernel tells it. `metric`: the lower one is in use. No paths: it refuses packets."""

    prefix: IPv4Network
    table: int
    metric: int
    paths: tuple[Path, ...]


def route_dump(sequence: int) -> bytes:
    """The request for all IPv4 routes of the namespace."""
    payload = _ROUTE.pack(_AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    return _HEADER.pack(_HEADER.size + len(payload), RTM_GETROUTE, _REQUEST_AND_DUMP, sequence, 0) + payload


def messages(data: bytes) -> Iterator[Message]:
    """The messages of one datagram. Raises NetlinkError."""
    while data:
        if len(data) < _HEADER.size:
            raise NetlinkError(f"netlink: {len(data)} bytes are no header, expected {_HEADER.size}")
        length, kind, flags, _, port = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            raise NetlinkError(f"netlink: a message says it has {length} bytes, {len(data)} are there")
        yield Message(kind, flags, port, data[_HEADER.size : length])
        data = data[_aligned(length) :]


def error_code(payload: bytes) -> int:
    """The errno of an NLMSG_ERROR, 0 for an acknowledgement."""
    if len(payload) < _WORD.size:
        raise NetlinkError("netlink: an error message without its code")
    return -int.from_bytes(payload[:4], "little", signed=True)


def read_link(payload: bytes) -> tuple[int, str]:
    """Index and name of the interface that a link message is about ("" when it does not say)."""
    if len(payload) < _LINK.size:
        raise NetlinkError(f"netlink: a link message of {len(payload)} bytes, expected {_LINK.size} or more")
    index: int = _LINK.unpack_from(payload)[2]
    name = dict(_attributes(payload[_LINK.size :])).get(_IFLA_IFNAME, b"")
    return index, name.rstrip(b"\0").decode()


def read_route(payload: bytes) -> Route | None:
    """The route that a route message is about; None when it is not an IPv4 route for every TOS."""
    if len(payload) < _ROUTE.size:
        raise NetlinkError(f"netlink: a route message of {len(payload)} bytes, expected {_ROUTE.size} or more")
    family, length, _, tos, table, _, _, kind, flags = _ROUTE.unpack_from(payload)
    if family != _AF_INET or tos:
        return None
    attributes = dict(_attributes(payload[_ROUTE.size :]))
    prefix = IPv4Network((attributes.get(_RTA_DST, bytes(4)), length))
    table = _word(attributes.get(_RTA_TABLE), table)
    metric = _word(attributes.get(_RTA_PRIORITY), 0)
    if kind != _RTN_UNICAST:
        return Route(prefix, table, metric, ())
    if _RTA_MULTIPATH in attributes:
        return Route(prefix, table, metric, tuple(_paths(attributes[_RTA_MULTIPATH])))
    path = Path(_gateway(attributes), _word(attributes.get(_RTA_OIF), 0), bool(flags & _RTNH_F_DEAD))
    return Route(prefix, table, metric, (path,))


def _paths(data: bytes) -> Iterator[Path]:
    """The next hops of an RTA_MULTIPATH."""
    while data:
        if len(data) < _NEXT_HOP.size:
            raise NetlinkError(f"netlink: {len(data)} bytes are no next hop, expected {_NEXT_HOP.size}")
        length, flags, _, index = _NEXT_HOP.unpack_from(data)
        if not _NEXT_HOP.size <= length <= len(data):
            raise NetlinkError(f"netlink: a next hop says it has {length} bytes, {len(data)} are there")
        attributes = dict(_attributes(data[_NEXT_HOP.size : length]))
        yield Path(_gateway(attributes), index, bool(flags & _RTNH_F_DEAD))
        data = data[_aligned(length) :]


def _gateway(attributes: dict[int, bytes]) -> str:
    via = attributes.get(_RTA_VIA)  # struct rtvia: family (2 bytes), address; an IPv6 next hop of an IPv4 route
    if via is not None and via[:2] == _AF_INET6.to_bytes(2, "little") and len(via) == 18:
        return str(IPv6Address(via[2:]))
    gateway = attributes.get(_RTA_GATEWAY)
    if gateway is None:
        return ""
    if len(gateway) != 4:
        raise NetlinkError(f"netlink: a gateway of {len(gateway)} bytes, expected 4")
    return str(IPv4Address(gateway))


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            raise NetlinkError(f"netlink: an attribute says it has {length} bytes, {len(data)} are there")
        yield kind & 0x3FFF, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _word(value: bytes | None, default: int) -> int:
    if value is None:
        return default
    if len(value) != _WORD.size:
        raise NetlinkError(f"netlink: a number of {len(value)} bytes, expected {_WORD.size}")
    return int(_WORD.unpack(value)[0])


def _aligned(length: int) -> int:
    return -(-length // 4) * 4
