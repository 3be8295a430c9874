"""The rtnetlink requests by which links come into being, as bytes. No I/O.

Formats: linux/if_link.h, linux/veth.h, in the machine's byte order; ports of a vxlan in the network's.
"""

import struct
from collections.abc import Mapping
from ipaddress import ip_address

from edge.datapath.netlink import ACK, CREATE, LINK, RTM_DELLINK, RTM_NEWLINK, attribute, request

_EXCLUSIVE = 0x200  # NLM_F_EXCL: what is there already is not changed
_ADDRESS, _NAME, _MTU, _LINK, _MASTER, _INFO, _NETNS = 1, 3, 4, 5, 10, 18, 28
_KIND, _DATA, _VETH_PEER = 1, 2, 1
_NESTED = 0x8000
_MACVLAN_MODE = 1
_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16}
_VXLAN_ID, _VXLAN_GROUP, _VXLAN_LINK, _VXLAN_PORT_RANGE, _VXLAN_PORT, _VXLAN_GROUP6 = 1, 2, 3, 10, 15, 16


def interface(name: str, netns: int | None = None, mtu: int = 0, mac: str = "") -> bytes:
    """One end: its name, and where given the descriptor of its namespace, its MTU and its address.

    It is down: the kernel refuses to open a veth before its peer is tied to it.
    """
    words = LINK.pack(0, 0, 0, 0, 0) + attribute(_NAME, name.encode() + b"\0")
    if netns is not None:
        words += attribute(_NETNS, struct.pack("=I", netns))
    if mtu:
        words += attribute(_MTU, struct.pack("=I", mtu))
    if mac:
        words += attribute(_ADDRESS, bytes.fromhex(mac.replace(":", "").replace("-", "")))
    return words


def veth(end: bytes, peer: bytes, sequence: int) -> bytes:
    """A pair of two ends as `interface` writes them."""
    return _create(end, "veth", attribute(_VETH_PEER | _NESTED, peer), sequence)


def macvlan(end: bytes, parent: int, options: Mapping[str, str], sequence: int) -> bytes:
    """A macvlan on the interface with index `parent` of the socket's namespace."""
    mode = attribute(_MACVLAN_MODE, struct.pack("=I", _MODES[options["mode"]]))
    return _create(end + attribute(_LINK, struct.pack("=I", parent)), "macvlan", mode, sequence)


def vxlan(end: bytes, remote: str, parent: int, options: Mapping[str, str], sequence: int) -> bytes:
    """A vxlan whose packets leave from the socket's namespace, through the interface `parent` unless that is 0."""
    address = ip_address(remote)
    data = attribute(_VXLAN_ID, struct.pack("=I", int(options["vni"])))
    data += attribute(_VXLAN_GROUP if address.version == 4 else _VXLAN_GROUP6, address.packed)
    data += attribute(_VXLAN_PORT, struct.pack("!H", int(options["dst-port"])))
    if source := int(options.get("src-port", 0)):
        data += attribute(_VXLAN_PORT_RANGE, struct.pack("!HH", source, source + 1))
    if parent:
        data += attribute(_VXLAN_LINK, struct.pack("=I", parent))
    return _create(end, "vxlan", data, sequence)


def plain(end: bytes, kind: str, sequence: int) -> bytes:
    """A device that needs no more than its kind: a bridge, a dummy."""
    return _create(end, kind, b"", sequence)


def enslave(index: int, master: int, sequence: int) -> bytes:
    """Make the interface `index` a port of the bridge `master`."""
    payload = LINK.pack(0, 0, index, 0, 0) + attribute(_MASTER, struct.pack("=I", master))
    return request(RTM_NEWLINK, ACK, sequence, payload)


def delete(index: int, sequence: int) -> bytes:
    """Remove an interface."""
    return request(RTM_DELLINK, ACK, sequence, LINK.pack(0, 0, index, 0, 0))


def _create(end: bytes, kind: str, data: bytes, sequence: int) -> bytes:
    info = attribute(_KIND, kind.encode())
    if data:
        info += attribute(_DATA | _NESTED, data)
    return request(RTM_NEWLINK, ACK | CREATE | _EXCLUSIVE, sequence, end + attribute(_INFO | _NESTED, info))
