"""The rtnetlink messages that next hops are found by: links, neighbours, route lookups (core: bytes in, values out).

Formats: linux/rtnetlink.h, linux/if_link.h, linux/neighbour.h; what they have in common is `edge.datapath.netlink`.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

from edge.datapath import netlink
from edge.datapath.netlink import Hop, IpAddress

_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_LINK, _IFLA_LINKINFO, _IFLA_CARRIER, _IFLA_LINK_NETNSID = 1, 3, 5, 18, 33, 37
_INFO_KIND, _INFO_DATA = 1, 2
_VLAN_ID, _VLAN_PROTOCOL = 1, 5
_802_1Q = b"\x81\x00"
_NUMBER16 = struct.Struct("=H")
_NDA_DST, _NDA_LLADDR = 1, 2
_ARPHRD_ETHER = 1
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_NTF_USE = 0x1
_NUD_STALE, _NUD_USABLE = 0x04, 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_RTM_F_FIB_MATCH = 0x2000


@dataclass(frozen=True, slots=True)
class LinkFact:
    """An interface: its MAC (six bytes; empty when it is no Ethernet) and whether it is up with carrier.

    A VLAN device has the number of its `vlan` (1..4094) and the index of its `parent`, through which its frames go.
    """

    ifindex: int
    name: str
    mac: bytes
    up: bool
    parent: int = 0
    vlan: int = 0


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


def link_request(ifindex: int, sequence: int) -> bytes:
    """Ask for one link."""
    return netlink.request(netlink.RTM_GETLINK, 0, sequence, netlink.LINK.pack(0, 0, ifindex, 0, 0))


def route_request(destination: IpAddress, sequence: int, *, whole: bool = True) -> bytes:
    """Ask which route the kernel matches for `destination`, with all its next hops (`ip route get fibmatch`).

    Not `whole`: ask for the one way that the kernel itself would take.
    """
    flags = _RTM_F_FIB_MATCH if whole else 0
    payload = netlink.ROUTE.pack(_family(destination), destination.max_prefixlen, 0, 0, 0, 0, 0, 0, flags)
    payload += netlink.attribute(netlink.RTA_DST, destination.packed)
    return netlink.request(netlink.RTM_GETROUTE, 0, sequence, payload)


def use_request(ifindex: int, address: IpAddress, sequence: int) -> bytes:
    """Tell the kernel that a neighbour is in use, as a packet to it would: it resolves or confirms the MAC."""
    payload = _NEIGHBOUR.pack(_family(address), ifindex, 0, _NTF_USE, 0) + netlink.attribute(_NDA_DST, address.packed)
    return netlink.request(netlink.RTM_NEWNEIGH, netlink.ACK | netlink.CREATE | netlink.REPLACE, sequence, payload)


def read_link(payload: bytes) -> LinkFact:
    """Read RTM_NEWLINK or RTM_DELLINK; the name is empty when it does not say.

    A VLAN device whose frames could not be written here (802.1ad, a parent in another namespace) has no MAC.
    """
    _, device, ifindex, flags, _ = netlink.unpack(netlink.LINK, payload, "a link message")
    found = netlink.attributes(payload[netlink.LINK.size :])
    mac = found.get(_IFLA_ADDRESS, b"") if device == _ARPHRD_ETHER else b""
    name = found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
    # The flag follows the carrier by up to a second (the kernel's linkwatch), the attribute at once.
    carrier = found.get(_IFLA_CARRIER, b"\1") != b"\0"
    up = bool(flags & _IFF_UP and flags & _IFF_RUNNING and carrier)
    info = netlink.attributes(found.get(_IFLA_LINKINFO, b""))
    if info.get(_INFO_KIND, b"").rstrip(b"\0") != b"vlan":
        return LinkFact(ifindex, name, mac, up)
    return _vlan_device(LinkFact(ifindex, name, mac, up), found, netlink.attributes(info.get(_INFO_DATA, b"")))


def _vlan_device(link: LinkFact, found: Mapping[int, bytes], data: Mapping[int, bytes]) -> LinkFact:
    number = netlink.unpack(_NUMBER16, data.get(_VLAN_ID, b""), "a VLAN number")[0]
    strange = data.get(_VLAN_PROTOCOL, _802_1Q) != _802_1Q or _IFLA_LINK_NETNSID in found or not 1 <= number <= 4094
    parent = netlink.number(found.get(_IFLA_LINK), 0)
    return replace(link, mac=b"" if strange else link.mac, parent=parent, vlan=number)


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
    """Read the answer to `route_request`: the ways of the matched route; none when it refuses packets.

    A way without carrier is dead here, even where the kernel's settings let it send there.
    """
    family, *_, kind, flags = netlink.unpack(netlink.ROUTE, payload, "a route message")
    if family not in (netlink.AF_INET, netlink.AF_INET6):
        return ()
    if kind == netlink.RTN_LOCAL:
        return (Hop(0, None, dead=False, local=True),)
    if kind != netlink.RTN_UNICAST:
        return ()
    unusable = netlink.RTNH_F_DEAD | netlink.RTNH_F_LINKDOWN
    return netlink.route_hops(flags, netlink.attributes(payload[netlink.ROUTE.size :]), unusable)


def _family(address: IpAddress) -> int:
    return netlink.AF_INET if address.version == 4 else netlink.AF_INET6
