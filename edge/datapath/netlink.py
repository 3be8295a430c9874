"""What every reader of rtnetlink shares: framing, attributes, errors, the ways of a route (core: bytes in, values out).

Formats: linux/netlink.h, linux/rtnetlink.h, linux/if_link.h (RFC 3549); every field in the machine's byte order.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

IpAddress = IPv4Address | IPv6Address

NLMSG_ERROR, NLMSG_DONE = 2, 3
REQUEST, ACK, DUMP, REPLACE, CREATE = 0x1, 0x4, 0x300, 0x100, 0x400  # flags of a request
DUMP_INTERRUPTED = 0x10  # NLM_F_DUMP_INTR: what is told changed while it was read
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE = 32, 33
RTM_NEWNEXTHOP, RTM_DELNEXTHOP = 104, 105
# Multicast groups (enum rtnetlink_groups), and the socket option that joins one.
GROUP_LINK, GROUP_NEIGHBOUR, GROUP_IPV4_ROUTE, GROUP_IPV4_RULE = 1, 3, 7, 8
GROUP_IPV6_ROUTE, GROUP_IPV6_RULE, GROUP_NEXTHOP = 11, 19, 32
SOL_NETLINK, ADD_MEMBERSHIP = 270, 1

AF_INET, AF_INET6 = 2, 10
RTN_UNICAST, RTN_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_MULTIPATH, RTA_TABLE, RTA_VIA = 1, 4, 5, 6, 9, 15, 18
RTNH_F_DEAD, RTNH_F_LINKDOWN = 0x1, 0x10

LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, device type, index, flags, change
ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_NEXT_HOP = struct.Struct("=HBBi")  # rtnexthop: length, flags, weight - 1, index
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_FAMILY, _ERROR, _NUMBER = struct.Struct("=H"), struct.Struct("=i"), struct.Struct("=I")
_ATTRIBUTE_TYPE = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER


class NetlinkError(Exception):
    """Bytes that are no netlink message, or an error that the kernel reports in one."""


@dataclass(frozen=True, slots=True)
class Message:
    """One netlink message.

    `sequence`: that of the request it answers, 0 for a notification. `port`: that of the socket whose request it
    answers or whose change it tells.
    """

    type: int
    flags: int
    sequence: int
    port: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Hop:
    """One way of a route. `gateway` None: the destination is on the link. `dead`: it is not to be used.

    `ifindex` 0: the way is in a nexthop object, of which the kernel tells only the number. `local`: the destination is
    this host itself.
    """

    ifindex: int
    gateway: IpAddress | None
    dead: bool
    local: bool = False


def request(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """Write one request; `flags` besides REQUEST itself."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, REQUEST | flags, sequence, 0) + payload


def attribute(kind: int, data: bytes) -> bytes:
    """Write one attribute."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data.ljust(_aligned(len(data)), b"\0")


def messages(datagram: bytes) -> Iterator[Message]:
    """Split what one receive gave. Raises NetlinkError."""
    for (_, kind, flags, sequence, port), payload in _records(_HEADER, datagram, "a message"):
        yield Message(kind, flags, sequence, port, payload)


def attributes(data: bytes) -> dict[int, bytes]:
    """Read the attributes by their types; the last of a type counts. Raises NetlinkError."""
    records = _records(_ATTRIBUTE, data, "an attribute", slack=_ATTRIBUTE.size - 1)
    return {kind & _ATTRIBUTE_TYPE: value for (_, kind), value in records}


def error_code(payload: bytes) -> int:
    """Return the errno of an NLMSG_ERROR; 0 is an acknowledgement. Raises NetlinkError."""
    return -unpack(_ERROR, payload, "an error message")[0]


def unpack(layout: struct.Struct, data: bytes, what: str) -> tuple[int, ...]:
    """Read the fields that `data` begins with. Raises NetlinkError when it is too short for them."""
    if len(data) < layout.size:
        raise NetlinkError(f"netlink: {what} of {len(data)} bytes, expected {layout.size} or more")
    return layout.unpack_from(data)


def number(value: bytes | None, default: int) -> int:
    """Read an attribute that is a number of 32 bits; `default` when it is not there. Raises NetlinkError."""
    if value is None:
        return default
    if len(value) != _NUMBER.size:
        raise NetlinkError(f"netlink: a number of {len(value)} bytes, expected {_NUMBER.size}")
    return unpack(_NUMBER, value, "a number")[0]


def ip_address(family: int, data: bytes) -> IpAddress | None:
    """Read an address; None when it is no IP address."""
    if family == AF_INET and len(data) == 4:
        return IPv4Address(data)
    if family == AF_INET6 and len(data) == 16:
        return IPv6Address(data)
    return None


def route_hops(flags: int, found: dict[int, bytes], unusable: int) -> tuple[Hop, ...]:
    """Read the ways of a unicast route from its flags and attributes; dead are those with a flag of `unusable`.

    Raises NetlinkError.
    """
    if RTA_MULTIPATH not in found:
        return (Hop(number(found.get(RTA_OIF), 0), _gateway(found), bool(flags & unusable)),)
    ways = _records(_NEXT_HOP, found[RTA_MULTIPATH], "a next hop")
    return tuple(
        Hop(ifindex, _gateway(attributes(rest)), bool(state & unusable)) for (_, state, _, ifindex), rest in ways
    )


def _gateway(found: dict[int, bytes]) -> IpAddress | None:
    via = found.get(RTA_VIA)  # struct rtvia: family, address; an IPv6 gateway of an IPv4 route
    if via:
        return ip_address(unpack(_FAMILY, via, "a gateway")[0], via[_FAMILY.size :])
    gateway = found.get(RTA_GATEWAY)
    if gateway is None:
        return None
    address = ip_address(AF_INET if len(gateway) == 4 else AF_INET6, gateway)
    if address is None:
        raise NetlinkError(f"netlink: a gateway of {len(gateway)} bytes, expected 4 or 16")
    return address


def _records(layout: struct.Struct, data: bytes, what: str, slack: int = 0) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Walk records that begin with their length and end on four bytes; up to `slack` bytes may be left over."""
    while len(data) > slack:
        head = unpack(layout, data, what)
        if not layout.size <= head[0] <= len(data):
            raise NetlinkError(f"netlink: {what} says it has {head[0]} bytes, {len(data)} are there")
        yield head, data[layout.size : head[0]]
        data = data[_aligned(head[0]) :]


def _aligned(length: int) -> int:
    return -(-length // 4) * 4
