"""The rtnetlink messages that next hops are found by: links, neighbours, route lookups (core: bytes in, values out).

Formats: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/neighbour.h (RFC 3549); the machine's byte order.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

IpAddress = IPv4Address | IPv6Address

NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE = 32, 33
RTM_NEWNEXTHOP, RTM_DELNEXTHOP = 104, 105
# Multicast groups that tell of everything a next hop depends on (enum rtnetlink_groups).
GROUPS = {"link": 1, "neighbour": 3, "ipv4 route": 7, "ipv4 rule": 8, "nexthop": 32}

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, device type, index, flags, change
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_NEXT_HOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, weight - 1, index
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type

_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_AF_INET, _AF_INET6 = 2, 10
_IFLA_ADDRESS, _IFLA_IFNAME = 1, 3
_NDA_DST, _NDA_LLADDR = 1, 2
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH, _RTA_VIA = 1, 4, 5, 9, 18
_ARPHRD_ETHER = 1
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_NTF_USE = 0x1
_NUD_STALE, _NUD_USABLE = 0x04, 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_RTM_F_FIB_MATCH = 0x2000
_RTNH_F_DEAD, _RTNH_F_LINKDOWN = 0x1, 0x10
_RTN_UNICAST = 1
_LAST_ATTRIBUTE_BITS = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


class NetlinkError(Exception):
    """Bytes that are no netlink message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message; `sequence` is that of the request it answers, 0 for a notification."""

    type: int
    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class LinkFact:
    """An interface: its MAC (six bytes; empty when it is no Ethernet) and whether it is up with carrier."""

    ifindex: int
    name: str
    mac: bytes
    up: bool


@dataclass(frozen=True, slots=True)
class NeighbourFact:
    """A neighbour entry. `usable`: the kernel itself would send there; `stale`: unconfirmed for a while."""

    ifindex: int
    address: IpAddress
    mac: bytes
    usable: bool
    stale: bool


@dataclass(frozen=True, slots=True)
class Hop:
    """One way of a route. `gateway` None: the destination is on the link. `dead`: the kernel would not use it.

    `ifindex` 0: the way is in a nexthop object, of which the kernel tells only the number.
    """

    ifindex: int
    gateway: IpAddress | None
    dead: bool


def dump_request(kind: int, sequence: int) -> bytes:
    """Ask for all links (RTM_GETLINK) or all neighbours of both families (RTM_GETNEIGH)."""
    payload = _LINK.pack(0, 0, 0, 0, 0) if kind == RTM_GETLINK else _NEIGHBOUR.pack(0, 0, 0, 0, 0)
    return _message(kind, _REQUEST | _DUMP, sequence, payload)


def route_request(destination: IPv4Address, sequence: int, *, whole: bool = True) -> bytes:
    """Ask which route the kernel matches for `destination`, with all its next hops (`ip route get fibmatch`).

    Not `whole`: ask for the one way that the kernel itself would take.
    """
    flags = _RTM_F_FIB_MATCH if whole else 0
    payload = _ROUTE.pack(_AF_INET, 32, 0, 0, 0, 0, 0, 0, flags) + _attribute(_RTA_DST, destination.packed)
    return _message(RTM_GETROUTE, _REQUEST, sequence, payload)


def use_request(ifindex: int, address: IpAddress, sequence: int) -> bytes:
    """Tell the kernel that a neighbour is in use, as a packet to it would: it resolves or confirms the MAC."""
    family = _AF_INET if address.version == 4 else _AF_INET6
    payload = _NEIGHBOUR.pack(family, ifindex, 0, _NTF_USE, 0) + _attribute(_NDA_DST, address.packed)
    return _message(RTM_NEWNEIGH, _REQUEST | _ACK | _CREATE | _REPLACE, sequence, payload)


def messages(datagram: bytes) -> Iterator[Message]:
    """Split what one receive gave. Raises NetlinkError."""
    while datagram:
        if len(datagram) < _HEADER.size:
            raise NetlinkError(f"netlink: {len(datagram)} bytes are no header, expected {_HEADER.size}")
        length, kind, _, sequence, _ = _HEADER.unpack_from(datagram)
        if not _HEADER.size <= length <= len(datagram):
            raise NetlinkError(f"netlink: a message says it has {length} bytes, {len(datagram)} are there")
        yield Message(kind, sequence, datagram[_HEADER.size : length])
        datagram = datagram[_aligned(length) :]


def error_code(payload: bytes) -> int:
    """Return the errno of an NLMSG_ERROR; 0 is an acknowledgement."""
    return -int.from_bytes(payload[:4], "little", signed=True)


def read_link(payload: bytes) -> LinkFact:
    """Read RTM_NEWLINK or RTM_DELLINK."""
    _, device, ifindex, flags, _ = _unpack(_LINK, payload, "link")
    attributes = dict(_attributes(payload[_LINK.size :]))
    mac = attributes.get(_IFLA_ADDRESS, b"") if device == _ARPHRD_ETHER else b""
    name = attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
    return LinkFact(ifindex, name, mac, bool(flags & _IFF_UP and flags & _IFF_RUNNING))


def read_neighbour(payload: bytes) -> NeighbourFact | None:
    """Read RTM_NEWNEIGH or RTM_DELNEIGH; None when it is not about an IP address."""
    family, ifindex, state, _, _ = _unpack(_NEIGHBOUR, payload, "neighbour")
    attributes = dict(_attributes(payload[_NEIGHBOUR.size :]))
    address = _address(family, attributes.get(_NDA_DST, b""))
    if address is None:
        return None
    mac = attributes.get(_NDA_LLADDR, b"")
    return NeighbourFact(ifindex, address, mac, bool(state & _NUD_USABLE), state == _NUD_STALE)


def read_hops(payload: bytes) -> tuple[Hop, ...]:
    """Read the answer to `route_request`: the ways of the matched route; none when it delivers locally or refuses."""
    family, *_, kind, flags = _unpack(_ROUTE, payload, "route")
    if family != _AF_INET or kind != _RTN_UNICAST:
        return ()
    attributes = dict(_attributes(payload[_ROUTE.size :]))
    if _RTA_MULTIPATH in attributes:
        return tuple(_multipath(attributes[_RTA_MULTIPATH]))
    ifindex = int.from_bytes(attributes.get(_RTA_OIF, b""), "little")
    return (Hop(ifindex, _gateway(attributes), _dead(flags)),)


def _multipath(data: bytes) -> Iterator[Hop]:
    while data:
        length, flags, _, ifindex = _unpack(_NEXT_HOP, data, "next hop")
        if not _NEXT_HOP.size <= length <= len(data):
            raise NetlinkError(f"netlink: a next hop says it has {length} bytes, {len(data)} are there")
        yield Hop(ifindex, _gateway(dict(_attributes(data[_NEXT_HOP.size : length]))), _dead(flags))
        data = data[_aligned(length) :]


def _gateway(attributes: dict[int, bytes]) -> IpAddress | None:
    via = attributes.get(_RTA_VIA, b"")  # struct rtvia: family (u16), address; an IPv6 gateway of an IPv4 route
    if via:
        return _address(int.from_bytes(via[:2], "little"), via[2:])
    return _address(_AF_INET, attributes.get(_RTA_GATEWAY, b""))


def _address(family: int, data: bytes) -> IpAddress | None:
    if family == _AF_INET and len(data) == 4:
        return IPv4Address(data)
    if family == _AF_INET6 and len(data) == 16:
        return IPv6Address(data)
    return None


def _dead(flags: int) -> bool:
    return bool(flags & (_RTNH_F_DEAD | _RTNH_F_LINKDOWN))


def _message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, sequence, 0) + payload


def _attribute(kind: int, data: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data.ljust(_aligned(len(data)), b"\0")


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            raise NetlinkError(f"netlink: an attribute says it has {length} bytes, {len(data)} are there")
        yield kind & _LAST_ATTRIBUTE_BITS, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _unpack(layout: struct.Struct, data: bytes, what: str) -> tuple[int, ...]:
    if len(data) < layout.size:
        raise NetlinkError(f"netlink: a {what} of {len(data)} bytes, expected {layout.size} or more")
    return layout.unpack_from(data)


def _aligned(length: int) -> int:
    return -(-length // 4) * 4
