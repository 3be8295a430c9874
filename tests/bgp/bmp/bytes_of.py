"""Builds BMP and BGP messages for the tests, independently of the code that reads them (RFC 7854, RFC 4271)."""

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

ROUTE_MONITORING, STATISTICS, PEER_DOWN, PEER_UP, INITIATION, TERMINATION = range(6)


def bmp(kind: int, body: bytes) -> bytes:
    return struct.pack("!BIB", 3, 6 + len(body), kind) + body


def peer(
    address: str = "10.0.5.1",
    asn: int = 65110,
    bgp_id: str = "10.255.0.6",
    *,
    post: bool = False,
    legacy: bool = False,
    kind: int = 0,
    flags: int = 0,
) -> bytes:
    parsed = ip_address(address)
    flags |= (0x80 if parsed.version == 6 else 0) | (0x40 if post else 0) | (0x20 if legacy else 0)
    packed = parsed.packed.rjust(16, b"\0")
    return struct.pack("!BBQ16sI4sII", kind, flags, 0, packed, asn, IPv4Address(bgp_id).packed, 1, 2)


def bgp(kind: int, body: bytes) -> bytes:
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body


def opened(asn: int, capabilities: bytes = b"") -> bytes:
    told = bytes((65, 4)) + struct.pack("!I", asn) + capabilities
    options = bytes((2, len(told))) + told
    return bgp(1, struct.pack("!BHH4sB", 4, min(asn, 23456), 9, b"\1\2\3\4", len(options)) + options)


def add_path(mode: int) -> bytes:
    return bytes((69, 4)) + struct.pack("!HBB", 1, 1, mode)


def peer_up(head: bytes, ours: bytes | None = None, theirs: bytes | None = None) -> bytes:
    local = IPv4Address("10.0.5.0").packed.rjust(16, b"\0") + struct.pack("!HH", 179, 40000)
    return bmp(PEER_UP, head + local + (ours or opened(65101)) + (theirs or opened(65110)))


def nlri(prefix: str, path_id: int | None = None) -> bytes:
    network = ip_network(prefix)
    packed = network.network_address.packed[: (network.prefixlen + 7) // 8]
    return (b"" if path_id is None else struct.pack("!I", path_id)) + bytes((network.prefixlen,)) + packed


def attribute(kind: int, value: bytes, flags: int = 0x40) -> bytes:
    if len(value) > 255:
        return struct.pack("!BBH", flags | 0x10, kind, len(value)) + value
    return struct.pack("!BBB", flags, kind, len(value)) + value


def as_path(asns: Sequence[int], size: int = 4, kind: int = 2) -> bytes:
    return struct.pack(f"!BB{len(asns)}{'I' if size == 4 else 'H'}", kind, len(asns), *asns)


def attributes(
    path: Sequence[int] = (65110,),
    *,
    med: int | None = None,
    communities: Sequence[tuple[int, int]] = (),
    large: Sequence[tuple[int, int, int]] = (),
    next_hop: str | None = "10.0.5.1",
) -> bytes:
    found = attribute(1, b"\0") + attribute(2, as_path(path))
    if next_hop:
        found += attribute(3, IPv4Address(next_hop).packed)
    if med is not None:
        found += attribute(4, struct.pack("!I", med), 0x80)
    if communities:
        found += attribute(8, b"".join(struct.pack("!HH", *pair) for pair in communities), 0xC0)
    if large:
        found += attribute(32, b"".join(struct.pack("!III", *each) for each in large), 0xC0)
    return found


def reach6(*prefixes: str, next_hop: str = "fd00::1") -> bytes:
    hop = IPv6Address(next_hop).packed
    return attribute(14, struct.pack("!HBB", 2, 1, len(hop)) + hop + b"\0" + b"".join(map(nlri, prefixes)), 0x80)


def unreach6(*prefixes: str) -> bytes:
    return attribute(15, struct.pack("!HB", 2, 1) + b"".join(map(nlri, prefixes)), 0x80)


def update(announced: bytes = b"", said: bytes = b"", withdrawn: bytes = b"") -> bytes:
    return bgp(2, struct.pack("!H", len(withdrawn)) + withdrawn + struct.pack("!H", len(said)) + said + announced)


def monitor(head: bytes, message: bytes) -> bytes:
    return bmp(ROUTE_MONITORING, head + message)


def texts(*told: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("!HH", kind, len(data)) + data for kind, data in told)


def announce_vip(head: bytes, prefix: str = "203.0.113.10/32") -> bytes:
    """One announcement, before and after policy."""
    message = update(nlri(prefix), attributes())
    after = head[:1] + bytes((head[1] | 0x40,)) + head[2:]
    return monitor(head, message) + monitor(after, message)
