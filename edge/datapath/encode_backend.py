"""The header that goes in front of a packet to a backend, built once (core: no I/O).

Outer IPv4: RFC 2003, RFC 4213 (6in4); outer IPv6: RFC 2473; GRE: RFC 2784, its key: RFC 2890. What depends on the
packet (lengths, TOS, source, flow label, checksum) is left 0.
"""

from array import array
from ipaddress import IPv4Address

from edge.datapath import abi
from edge.datapath.abi import Kind
from edge.datapath.model import Backend, Encap, NextHop

_TTL = 64
_GRE_KEY_PRESENT = b"\x20\0"
_ETHERTYPE = {4: b"\x08\0", 6: b"\x86\xdd"}
_PROTOCOL = {4: 4, 6: 41}  # of a packet of this version inside IP
_VLAN = b"\x81\0"
_MOST = 0xFFFF


def encode_backend(backend: Backend, mtu: int, inner: int) -> bytes:
    """`struct backend` for inner packets of IP version `inner` (4 or 6)."""
    hop = backend.next_hop
    if hop is not None and not hop.ifindex:
        return abi.BACKEND_FORMAT.pack(0, 0, Kind.LOCAL, 0, 0, 0, 0, b"", _MOST)
    version = backend.address.version
    gre = _gre(backend, inner)
    protocol = Encap.GRE if backend.encap is Encap.GRE else _PROTOCOL[inner]
    ip = _ipv4(backend.address, protocol) if isinstance(backend.address, IPv4Address) else _ipv6(backend, protocol)
    link = _link(hop, version)
    checksum = sum(array("H", ip)) if version == 4 else 0
    kind = Kind.IPV4 if version == 4 else Kind.IPV6
    outer = len(ip) + len(gre)
    header = link + ip + gre
    ifindex, most = (hop.ifindex, mtu - outer) if hop else (0, 0)
    return abi.BACKEND_FORMAT.pack(len(header), most, kind, len(link), outer, ifindex, checksum, header, mtu - outer)


def overhead_of(backend: Backend) -> int:
    """Bytes that a tunnel puts in front of the inner packet; nothing for a backend on this host."""
    if backend.next_hop is not None and not backend.next_hop.ifindex:
        return 0
    gre = 0 if backend.encap is not Encap.GRE else 4 if backend.key is None else 8
    return (20 if backend.address.version == 4 else 40) + gre


def _link(hop: NextHop | None, version: int) -> bytes:
    if hop is None:
        return bytes(12) + _ETHERTYPE[version]
    tag = _VLAN + hop.vlan.to_bytes(2, "big") if hop.vlan else b""
    return hop.destination_mac + hop.source_mac + tag + _ETHERTYPE[version]


def _ipv4(destination: IPv4Address, protocol: int) -> bytes:
    return b"\x45\0\0\0\0\0\x40\0" + bytes((_TTL, protocol, 0, 0, 0, 0, 0, 0)) + destination.packed


def _ipv6(backend: Backend, protocol: int) -> bytes:
    return b"\x60\0\0\0\0\0" + bytes((protocol, _TTL)) + bytes(16) + backend.address.packed


def _gre(backend: Backend, inner: int) -> bytes:
    if backend.encap is not Encap.GRE:
        return b""
    if backend.key is None:
        return b"\0\0" + _ETHERTYPE[inner]
    return _GRE_KEY_PRESENT + _ETHERTYPE[inner] + backend.key.to_bytes(4, "big")
