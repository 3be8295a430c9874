"""A frame with an encapsulated packet, taken apart strictly. Bytes in, values out; no I/O.

IPv4 (RFC 791) or IPv6 (RFC 8200) in IPv4 (RFC 2003, RFC 4213) or in GRE without options (RFC 2784), TCP or UDP inside.
What does not fit to the byte is an error: this is a witness of what edges send, not a receiver that must be liberal.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from edge.datapath.model import Encap
from lab.traffic.flow import TCP, UDP, Flow, IpAddress

_ETHERNET = 14
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_GRE = struct.Struct("!HH")
_PORTS = struct.Struct("!HH")
_IPV6 = struct.Struct("!IHBB16s16s")
_ETH_P_IP, _ETH_P_IPV6 = 0x0800, 0x86DD
IPV6_IN_IPV4 = 41
_FRAGMENT = 0x3FFF  # more fragments, or an offset


class TunnelError(Exception):
    """The frame is no encapsulated packet as an edge must send it."""


@dataclass(frozen=True, slots=True)
class Tunnelled:
    """What an encapsulated packet says: whose flow it is, where it goes, how, and from which edge address."""

    flow: Flow
    backend: IPv4Address
    encap: Encap
    source: IPv4Address


@dataclass(frozen=True, slots=True)
class _Packet:
    source: IpAddress
    destination: IpAddress
    protocol: int
    payload: bytes


def parse_tunnel(frame: bytes) -> Tunnelled:
    """The encapsulated packet in an Ethernet frame. Raises TunnelError with what is wrong."""
    if len(frame) < _ETHERNET or int.from_bytes(frame[12:14], "big") != _ETH_P_IP:
        raise TunnelError(f"{len(frame)} bytes that are no IPv4 in Ethernet")
    source, backend, outer = _ipv4(frame[_ETHERNET:], "outer")
    if outer.protocol == Encap.IPIP:
        inner = _inner_ipv4(outer.payload)
    elif outer.protocol == IPV6_IN_IPV4:
        inner = _inner_ipv6(outer.payload)
    elif outer.protocol == Encap.GRE:
        protocol, payload = _without_gre(outer.payload)
        inner = _inner_ipv4(payload) if protocol == _ETH_P_IP else _inner_ipv6(payload)
    else:
        expected = f"{Encap.IPIP:d}, {IPV6_IN_IPV4} or {Encap.GRE:d}"
        raise TunnelError(f"outer protocol {outer.protocol}, expected {expected}")
    if inner.protocol not in (TCP, UDP):
        raise TunnelError(f"inner protocol {inner.protocol}, expected {TCP} or {UDP}")
    if len(inner.payload) < _PORTS.size:
        raise TunnelError(f"an inner payload of {len(inner.payload)} bytes has no ports")
    client_port, vip_port = _PORTS.unpack_from(inner.payload)
    flow = Flow(inner.source, client_port, inner.destination, vip_port, inner.protocol)
    return Tunnelled(flow, backend, Encap.GRE if outer.protocol == Encap.GRE else Encap.IPIP, source)


def _inner_ipv4(data: bytes) -> _Packet:
    return _ipv4(data, "inner", exact=True)[2]


def _inner_ipv6(data: bytes) -> _Packet:
    """One IPv6 packet without extension headers, whole, with nothing behind it."""
    if len(data) < _IPV6.size:
        raise TunnelError(f"inner header: {len(data)} bytes, expected {_IPV6.size}")
    first, length, protocol, _, source, destination = _IPV6.unpack_from(data)
    if first >> 28 != 6:
        raise TunnelError(f"inner header has version {first >> 28}, expected 6")
    if length != len(data) - _IPV6.size:
        raise TunnelError(f"inner length is {length}, {len(data) - _IPV6.size} bytes are there")
    return _Packet(IPv6Address(source), IPv6Address(destination), protocol, data[_IPV6.size :])


def _ipv4(data: bytes, which: str, exact: bool = False) -> tuple[IPv4Address, IPv4Address, _Packet]:
    """Source, destination and all of one IPv4 packet without options, whole.

    `exact`: nothing may follow it (behind the outer one comes padding).
    """
    if len(data) < _IPV4.size:
        raise TunnelError(f"{which} header: {len(data)} bytes, expected {_IPV4.size}")
    first, _, length, _, fragment, _, protocol, _, source, destination = _IPV4.unpack_from(data)
    if first != 0x45:
        raise TunnelError(f"{which} header begins with {first:#04x}, expected 0x45 (IPv4, no options)")
    if not _IPV4.size <= length <= len(data) or (exact and length != len(data)):
        raise TunnelError(f"{which} length is {length}, {len(data)} bytes are there")
    if fragment & _FRAGMENT:
        raise TunnelError(f"{which} packet is a fragment")
    if checksum(data[: _IPV4.size]):
        raise TunnelError(f"{which} header checksum is wrong")
    ends = IPv4Address(source), IPv4Address(destination)
    return *ends, _Packet(*ends, protocol, data[_IPV4.size : length])


def _without_gre(data: bytes) -> tuple[int, bytes]:
    if len(data) < _GRE.size:
        raise TunnelError(f"GRE header: {len(data)} bytes, expected {_GRE.size}")
    flags, protocol = _GRE.unpack_from(data)
    if flags or protocol not in (_ETH_P_IP, _ETH_P_IPV6):
        raise TunnelError(
            f"GRE header has flags {flags:#06x} and protocol {protocol:#06x}, expected 0 and 0x0800 or 0x86dd"
        )
    return protocol, data[_GRE.size :]


def checksum(header: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes: 0 over a header that holds its own."""
    total: int = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
