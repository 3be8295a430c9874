"""The rtnetlink messages that next hops are found by: links, neighbours, route lookups (core: bytes in, values out).

Formats: linux/rtnetlink.h, linux/if_link.h, linux/neighbour.h; what they have in common is `edge.datapath.netlink`.
"""

import struct
from dataclasses import dataclass

from edge.datapath import netlink
from edge.datapath.netlink import Hop, IpAddress

_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type

_IFLA_ADDRESS, _IFLA_IFNAME = 1, 3
_NDA_DST, _NDA_LLADDR = 1, 2
_ARPHRD_ETHER = 1
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_NTF_USE = 0x1
_NUD_STALE, _NUD_USABLE = 0x04, 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_RTM_F_FIB_MATCH = 0x2000


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


def dump_request(kind: int, sequence: int) -> bytes:
    """Ask for all links (RTM_GETLINK) or all neighbours of both families (RTM_GETNEIGH)."""
    payload = bytes(netlink.LINK.size) if kind == netlink.RTM_GETLINK else bytes(_NEIGHBOUR.size)
    return netlink.request(kind, netlink.DUMP, sequence, payload)


def route_request(destination: IpAddress, sequence: int, *, whole: bool = True) -> bytes:
    """Ask which route the kernel matches for `destination`, with all its next hops (`ip route get fibmatch`).

    Not `whole`: ask for the one way that the kernel itself would take.
    """
    flags = _RTM_F_FIB_MATCH if whole else 0
    payload = netlink.ROUTE.pack(netlink.AF_INET, 32, 0, 0, 0, 0, 0, 0, flags)
    payload += netlink.attribute(netlink.RTA_DST, destination.packed)
    return netlink.request(netlink.RTM_GETROUTE, 0, sequence, payload)


def use_request(ifindex: int, address: IpAddress, sequence: int) -> bytes:
    """Tell the kernel that a neighbour is in use, as a packet to it would: it resolves or confirms the MAC."""
    family = netlink.AF_INET if address.version == 4 else netlink.AF_INET6
    payload = _NEIGHBOUR.pack(family, ifindex, 0, _NTF_USE, 0) + netlink.attribute(_NDA_DST, address.packed)
    return netlink.request(netlink.RTM_NEWNEIGH, netlink.ACK | netlink.CREATE | netlink.REPLACE, sequence, payload)


def read_link(payload: bytes) -> LinkFact:
    """Read RTM_NEWLINK or RTM_DELLINK; the name is empty when it does not say."""
    _, device, ifindex, flags, _ = netlink.unpack(netlink.LINK, payload, "a link message")
    found = netlink.attributes(payload[netlink.LINK.size :])
    mac = found.get(_IFLA_ADDRESS, b"") if device == _ARPHRD_ETHER else b""
    name = found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
    return LinkFact(ifindex, name, mac, bool(flags & _IFF_UP and flags & _IFF_RUNNING))


def read_neighbour(payload: bytes) -> NeighbourFact | None:
    """Read RTM_NEWNEIGH or RTM_DELNEIGH; None when it is not about an IP address."""
    family, ifindex, state, _, _ = netlink.unpack(_NEIGHBOUR, payload, "a neighbour message")
    found = netlink.attributes(payload[_NEIGHBOUR.size :])
    address = netlink.ip_address(family, found.get(_NDA_DST, b""))
    if address is None:
        return None
    mac = found.get(_NDA_LLADDR, b"")
    return NeighbourFact(ifindex, address, mac, bool(state & _NUD_USABLE), state == _NUD_STALE)


def read_hops(payload: bytes) -> tuple[Hop, ...]:
    """Read the answer to `route_request`: the ways of the matched route; none when it delivers locally or refuses.

    A way without carrier is dead here, even where the kernel's settings let it send there.
    """
    family, *_, kind, flags = netlink.unpack(netlink.ROUTE, payload, "a route message")
    if family != netlink.AF_INET or kind != netlink.RTN_UNICAST:
        return ()
    unusable = netlink.RTNH_F_DEAD | netlink.RTNH_F_LINKDOWN
    return netlink.route_hops(flags, netlink.attributes(payload[netlink.ROUTE.size :]), unusable)
