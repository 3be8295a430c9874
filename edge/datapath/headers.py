"""IPv4 and IPv6 headers as the oracles read and write them (core: no I/O).

Written from the RFCs, not from the C code that the oracles judge.
"""

import functools
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from edge.datapath.abi import Note, Reason
from edge.datapath.model import IpAddress
from edge.datapath.outcome import DroppedError, PassedError

ETHERNET, TAG, IPV4, IPV6 = 14, 4, 20, 40
TYPE_IPV4, TYPE_IPV6, TYPE_VLAN, TYPE_QINQ = 0x0800, 0x86DD, 0x8100, 0x88A8
_TAGS = (TYPE_VLAN, TYPE_QINQ)
_MOST_TAGS = 2
ICMP, IPIP, TCP, UDP, SIX_IN_FOUR, GRE, ICMP6 = 1, 4, 6, 17, 41, 47, 58
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, MOBILITY, HIP, SHIM6 = 0, 43, 44, 60, 135, 139, 140
TUNNELS = frozenset({IPIP, SIX_IN_FOUR, GRE})
EXTENSIONS = frozenset({HOP_BY_HOP, DESTINATION, MOBILITY, HIP, SHIM6})  # beside routing and fragment headers
_TTL = 64


class Ip(NamedTuple):
    """A header as found, not checked; `raw` starts with it and may be longer than the packet (padding).

    `fixed` is the length of the header without options (20 or 40); `length` that of the whole packet by its own field;
    `protocol` is IPv6's next header, `ttl` its hop limit, `tos` its traffic class. `fragment` is IPv4's offset and MF.
    """

    raw: bytes
    version: int
    fixed: int
    header_length: int
    tos: int
    length: int
    fragment: int
    ttl: int
    protocol: int
    source: IpAddress
    destination: IpAddress

    @property
    def packet(self) -> bytes:
        """The bytes that belong to the packet, without what follows it in the frame."""
        return self.raw[: self.length]

    @property
    def payload(self) -> bytes:
        """What follows the fixed header, within the packet."""
        return self.raw[self.fixed : self.length]

    @property
    def is_icmp(self) -> bool:
        """Whether it carries the ICMP of its own family."""
        return self.protocol == (ICMP if self.fixed == IPV4 else ICMP6)


def parse_ipv4(raw: bytes) -> Ip | None:
    """Read the fixed 20 bytes; None when they are not all there. `version` may be anything."""
    if len(raw) < IPV4:
        return None
    return Ip(
        raw=raw,
        version=raw[0] >> 4,
        fixed=IPV4,
        header_length=(raw[0] & 15) * 4,
        tos=raw[1],
        length=word(raw, 2),
        fragment=word(raw, 6) & 0x3FFF,
        ttl=raw[8],
        protocol=raw[9],
        source=_address4(raw[12:16]),
        destination=_address4(raw[16:20]),
    )


def parse_ipv6(raw: bytes) -> Ip | None:
    """Read the fixed 40 bytes; None when they are not all there. `version` may be anything."""
    if len(raw) < IPV6:
        return None
    return Ip(
        raw=raw,
        version=raw[0] >> 4,
        fixed=IPV6,
        header_length=IPV6,
        tos=word(raw, 0) >> 4 & 0xFF,
        length=IPV6 + word(raw, 4),
        fragment=0,
        ttl=raw[7],
        protocol=raw[6],
        source=_address6(raw[8:24]),
        destination=_address6(raw[24:40]),
    )


def read_link(frame: bytes, vlans: bool = False) -> tuple[int, Ip]:
    """Take Ethernet header and tags off: where IP begins, and its header. Anything but IP ends here.

    `vlans`: up to two tags are taken off, as nothing else in this module looks behind one.
    """
    if len(frame) < ETHERNET:
        raise DroppedError(Reason.SHORT)
    at, kind = ETHERNET, word(frame, 12)
    tagged = kind in _TAGS
    if tagged and not vlans:
        raise PassedError(Note.VLAN)
    for _ in range(_MOST_TAGS):
        if kind in _TAGS:
            if len(frame) < at + TAG:
                raise DroppedError(Reason.TRUNC)
            at, kind = at + TAG, word(frame, at + 2)
    if kind not in (TYPE_IPV4, TYPE_IPV6):
        raise PassedError(*((Note.VLAN,) if tagged else ()))
    ip = (parse_ipv4 if kind == TYPE_IPV4 else parse_ipv6)(frame[at:])
    if ip is None:
        raise DroppedError(Reason.TRUNC)
    if ip.version != (4 if kind == TYPE_IPV4 else 6):
        raise DroppedError(Reason.IP_VERSION)
    return at, ip


def check_ipv4(ip: Ip) -> None:
    """Refuse what RFC 1812 5.2.2 refuses, and options and fragments. The order decides which reason is counted."""
    room = len(ip.raw)
    if ip.header_length < IPV4:
        raise DroppedError(Reason.IHL)
    if ip.length < IPV4:
        raise DroppedError(Reason.LEN)
    if ip.header_length > min(room, ip.length):
        raise DroppedError(Reason.TRUNC)
    if ip.length > room:
        raise DroppedError(Reason.LEN)
    if ip.header_length > IPV4:
        raise DroppedError(Reason.IP_OPTIONS)
    if checksum(ip.raw[:IPV4]):
        raise DroppedError(Reason.CSUM)
    if not ip.ttl:
        raise DroppedError(Reason.TTL)
    if ip.fragment:
        raise DroppedError(Reason.FRAG)


def check_ipv6(ip: Ip) -> None:
    """Refuse a length beyond the frame, hop limit 0, and everything that is neither TCP, UDP nor ICMPv6."""
    if ip.length > len(ip.raw):
        raise DroppedError(Reason.LEN)
    if not ip.ttl:
        raise DroppedError(Reason.TTL)
    if ip.protocol == FRAGMENT:
        header = ip.payload[:8]
        if len(header) < 8:
            raise DroppedError(Reason.TRUNC)
        atomic = word(header, 2) & 0xFFF9 == 0  # neither offset nor M; the two bits between are reserved
        raise DroppedError(Reason.FRAG_ATOMIC if atomic else Reason.FRAG)
    refuse_extensions(ip)
    if ip.protocol not in (TCP, UDP, ICMP6):
        raise DroppedError(Reason.PROTO)
    if ip.length == IPV6:  # a jumbogram says 0 (RFC 2675), and needs an extension header
        raise DroppedError(Reason.LEN)


def refuse_extensions(ip: Ip) -> None:
    """Drop an IPv6 packet that has an extension header (RFC 8200, RFC 9098) but for fragments, or a tunnel inside."""
    if ip.protocol == ROUTING:
        raise DroppedError(Reason.RH)
    if ip.protocol in EXTENSIONS:
        raise DroppedError(Reason.V6_EXTHDR)
    if ip.protocol in TUNNELS:
        raise DroppedError(Reason.NESTED)


def word(data: bytes, at: int) -> int:
    """The 16-bit number in network order at an offset."""
    return data[at] << 8 | data[at + 1]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of bytes; 0 over data that holds its own right checksum."""
    if len(data) % 2:
        data += b"\0"
    total = int.from_bytes(data, "big")
    # 0 and 0xffff are both zero in ones' complement; a sum over anything but zeros comes out as 0xffff.
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))


def checksum6(source: IpAddress, destination: IpAddress, protocol: int, data: bytes) -> int:
    """The checksum with IPv6's pseudo header (RFC 8200, 8.1)."""
    return checksum(
        source.packed + destination.packed + len(data).to_bytes(4, "big") + bytes((0, 0, 0, protocol)) + data
    )


def ipv4_header(
    source: IpAddress,
    destination: IpAddress,
    protocol: int,
    payload: int,
    *,
    tos: int = 0,
    dont_fragment: bool = True,
) -> bytes:
    """A header as the edge writes it: TTL 64, identification 0 (RFC 6864), no options, for `payload` bytes."""
    length = (IPV4 + payload).to_bytes(2, "big")
    flags = b"\x40\0" if dont_fragment else b"\0\0"
    front = b"\x45" + bytes((tos,)) + length + b"\0\0" + flags + bytes((_TTL, protocol))
    back = source.packed + destination.packed
    return front + checksum(front + b"\0\0" + back).to_bytes(2, "big") + back


def ipv6_header(
    source: IpAddress, destination: IpAddress, protocol: int, payload: int, *, tos: int = 0, flow: int = 0
) -> bytes:
    """A header as the edge writes it: hop limit 64, for `payload` bytes; `tos` is the traffic class."""
    first = (6 << 28 | tos << 20 | flow).to_bytes(4, "big")
    return first + payload.to_bytes(2, "big") + bytes((protocol, _TTL)) + source.packed + destination.packed


# Tests judge many packets of few addresses.
@functools.lru_cache(4096)
def _address4(packed: bytes) -> IPv4Address:
    return IPv4Address(packed)


@functools.lru_cache(4096)
def _address6(packed: bytes) -> IPv6Address:
    return IPv6Address(packed)
