"""The packets that are measured (core: no I/O): one row a case. The driver turns a row's frame into flow after flow."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from edge.datapath.abi import Reason, Verdict
from edge.datapath.headers import ICMP, TCP, UDP, checksum, ipv4_header
from lab.bench import world

ONE, MANY, ALL = 0, 0xFFFF, 0xFFFFFFFF  # masks of the flow number
FLOWS = {ONE: "1", MANY: "64k", ALL: "2^32"}
_ETHERNET, _IPV4 = 14, 20
_PORT_AT, _ADDRESS_AT, _CHECKSUM_AT = 34, 28, 24


@dataclass(frozen=True, slots=True)
class Case:
    """A frame, where its flow is written, what must become of it, and what it may cost.

    `port_at` takes the client port, `address_at` the lower half of the client's address, which is 0 in the frame;
    `checksum_at` is the IPv4 checksum over that address (0: none). `head` bytes are written anew for each packet.
    `vip_at` and `vip_port_at` (0: not) spread the packets over the services. `most` is the target in ns at 64 k flows.
    """

    name: str
    frame: bytes
    verdict: Verdict
    reason: Reason = Reason.NONE
    masks: tuple[int, ...] = (MANY,)
    most: float | None = None
    port_at: int = _PORT_AT
    address_at: int = _ADDRESS_AT
    checksum_at: int = _CHECKSUM_AT
    vip_at: int = 0
    vip_port_at: int = 0
    head: int = 56


def _ether(payload: bytes) -> bytes:
    return world.OWN_MAC + world.ROUTER_MAC + b"\x08\0" + payload


def _tcp(source_port: int, port: int) -> bytes:
    """An acknowledgement with timestamps, the commonest packet to a server: 32 bytes."""
    stamps = b"\1\1\x08\x0a" + bytes(8)
    return struct.pack("!HHIIBBHHH", source_port, port, 1, 1, 0x80, 0x10, 502, 0, 0) + stamps


def _udp(source_port: int, port: int, payload: int = 32) -> bytes:
    return struct.pack("!HHHH", source_port, port, 8 + payload, 0) + bytes(payload)


def tcp4(
    destination: IPv4Address = world.VIP, port: int = world.FIRST_PORT, source: IPv4Address = world.CLIENT
) -> bytes:
    """A TCP/IPv4 frame of 66 bytes, to a VIP unless said otherwise."""
    segment = _tcp(40000, port)
    return _ether(ipv4_header(source, destination, TCP, len(segment)) + segment)


def udp4() -> bytes:
    """A UDP/IPv4 frame of 74 bytes to a VIP."""
    datagram = _udp(40000, world.FIRST_PORT)
    return _ether(ipv4_header(world.CLIENT, world.VIP, UDP, len(datagram)) + datagram)


def tcp6() -> bytes:
    """A TCP/IPv6 frame of 86 bytes to a VIP."""
    segment = _tcp(40000, world.FIRST_PORT)
    header = struct.pack("!IHBB", 6 << 28, len(segment), TCP, 64) + world.CLIENT6.packed + world.VIP6.packed
    return world.OWN_MAC + world.ROUTER_MAC + b"\x86\xdd" + header + segment


def icmp_error() -> bytes:
    """A "fragmentation needed" from a router about a TCP packet of the VIP to a client: 28 bytes quoted."""
    quoted = ipv4_header(world.VIP, world.CLIENT, TCP, 1480) + struct.pack("!HHI", world.FIRST_PORT, 40000, 1)
    body = struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + quoted
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    return _ether(ipv4_header(IPv4Address("192.0.2.99"), world.VIP, ICMP, len(body)) + body)


def _wrong_checksum() -> bytes:
    frame = bytearray(tcp4())
    frame[_CHECKSUM_AT] ^= 0x55
    return bytes(frame)


_QUOTED = _ETHERNET + _IPV4 + 8
CASES = (
    Case("tcp4", tcp4(), Verdict.TX, masks=(ONE, MANY, ALL), most=35),
    Case("udp4", udp4(), Verdict.TX, masks=(ONE, MANY, ALL), most=35),
    Case("tcp6", tcp6(), Verdict.TX, masks=(ONE, MANY, ALL), most=45, port_at=_ETHERNET + 40, address_at=36,
         checksum_at=0, head=72),
    Case("icmp4 error", icmp_error(), Verdict.TX, masks=(ONE, MANY, ALL), port_at=_QUOTED + _IPV4 + 2,
         address_at=_QUOTED + 18, checksum_at=_QUOTED + 10, head=64),
    Case("flood, no service", tcp4(port=9), Verdict.DROP, Reason.NO_SERVICE, most=15),
    Case("malformed, checksum", _wrong_checksum(), Verdict.DROP, Reason.CSUM),
    Case("martian source", tcp4(source=IPv4Address("127.0.0.0")), Verdict.DROP, Reason.MARTIAN),
    Case("host traffic", tcp4(world.HOST, 22), Verdict.PASS),
)  # fmt: skip
SPREAD = Case("tcp4", tcp4(destination=IPv4Address("203.0.0.0")), Verdict.TX, vip_at=32, vip_port_at=36)
