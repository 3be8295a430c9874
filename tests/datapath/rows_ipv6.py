"""Catalogue rows of the forwarder: IPv6 (601-619), and tunnels of all four combinations (E14)."""

import struct

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Drop, Enc, Pass, TooBig, notes
from tests.datapath.frames import (
    IPV6,
    cut,
    each,
    echo,
    ether,
    icmp6,
    packet,
    patched,
    tcp,
    udp,
    with_header6,
)
from tests.datapath.row import Row

HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AH, NOTHING, DESTINATION, MOBILITY, HIP, SHIM6 = (
    0,
    43,
    44,
    50,
    51,
    59,
    60,
    135,
    139,
    140,
)
PADDED = bytes(2) + b"\x01\x04" + bytes(4)  # an options header of eight octets with a PadN
ROUTED = bytes(2) + b"\x00\x01" + bytes(4) + bytes(16)  # with one segment left
IMPOSSIBLE = (
    *("::", "::1", "::2", "::192.0.2.1", "::ffff:192.0.2.1", "::ffff:10.0.9.1", "ff02::1", "ff0e::1", "ffff::"),
    *("fe80::1", "febf:ffff::1"),
)
POSSIBLE = ("::1:0:0:0", "0:0:0:0:0:fffe::1", "fec0::1", "fe7f::1", "fd00::1", "2000::1", "feff::1", "100::1")


def tcp6(**fields: object) -> bytes:
    return tcp(w.WEB6, **fields)  # type: ignore[arg-type]


def route(kind: int, left: int = 1) -> bytes:
    return with_header6(tcp6(), ROUTING, bytes((0, 2, kind, left)) + bytes(20))


def fragment(offset: int, more: int, frame: bytes | None = None, reserved: int = 0) -> bytes:
    header = struct.pack("!BBHI", 0, 0, offset << 3 | reserved << 1 | more, 0xABCD)
    return with_header6(frame or tcp6(data=bytes(64)), FRAGMENT, header)


def lengths(frame: bytes, length: int) -> bytes:
    """The frame with another payload length."""
    return patched(frame, 4, struct.pack("!H", length))


def next_header(kind: int, vip: str = w.WEB6, size: int = 40) -> bytes:
    return ether(packet(vip, bytes(size), nh=kind))


def chain(levels: int) -> bytes:
    """A packet behind destination options, many times."""
    frame = tcp6()
    for _ in range(levels):
        frame = with_header6(frame, DESTINATION, PADDED)
    return frame


def extended(kind: int, header: bytes = PADDED, vip: str = w.WEB6) -> bytes:
    return with_header6(tcp(vip), kind, header)


def sized6(size: int, vip: str = w.WEB6, port: int = 80, **ip: object) -> bytes:
    """A TCP packet of `size` bytes of IPv6."""
    return tcp(vip, port, data=bytes(i % 251 for i in range(size - 60)), ip=ip)


def neighbour(kind: int, vip: str = w.WEB6) -> bytes:
    message = icmp6("fe80::7", vip, kind, 0, bytes(4) + bytes(16))
    return ether(packet(vip, message, "fe80::7", nh=58, hlim=255))


HEADERS = [
    Row("601", "IPv6 header cut at every length", lambda: cut(tcp6(), range(14, 54)), Drop(Reason.TRUNC)),
    Row(
        "L11",
        "ethertype IPv6 against version nibble",
        lambda: [patched(tcp6(), 0, bytes((v << 4,))) for v in (0, 3, 4, 5, 7, 15)] + [ether(tcp6()[14:], kind=0x0800)],
        Drop(Reason.IP_VERSION),
    ),
    Row("L02", "14 bytes with ethertype IPv6", lambda: ether(b"", kind=IPV6), Drop(Reason.TRUNC)),
    Row(
        "602",
        "payload length beyond the frame",
        lambda: [lengths(tcp6(), n) for n in (21, 22, 1000, 65535)] + [tcp6(data=bytes(30))[:-n] for n in (1, 10, 30)],
        Drop(Reason.LEN),
    ),
    Row(
        "603",
        "payload length 0",
        lambda: [lengths(f, 0) for f in (tcp6(), udp(w.ECHO6), echo(w.WEB6))],
        Drop(Reason.LEN),
    ),
    Row(
        "603",
        "jumbogram",
        lambda: lengths(extended(HOP_BY_HOP, bytes(2) + b"\xc2\x04" + struct.pack("!I", 70000)), 0),
        Drop(Reason.V6_EXTHDR),
    ),
    Row("604", "hop-by-hop options", lambda: extended(HOP_BY_HOP), Drop(Reason.V6_EXTHDR)),
    Row("605", "destination options", lambda: extended(DESTINATION), Drop(Reason.V6_EXTHDR)),
    Row(
        "604 605",
        "mobility, HIP, shim6",
        lambda: [extended(k) for k in (MOBILITY, HIP, SHIM6)],
        Drop(Reason.V6_EXTHDR),
    ),
    Row("606", "routing header of type 0", lambda: [route(0), route(0, 0)], Drop(Reason.RH)),
    Row(
        "607",
        "segment routing, mobile IPv6, any other type",
        lambda: [route(k) for k in (4, 2, 3, 255)],
        Drop(Reason.RH),
    ),
    Row(
        "608",
        "first, middle and last fragment",
        lambda: [fragment(0, 1), fragment(8, 1), fragment(8, 0), fragment(0x1FFF, 0), fragment(1, 0)],
        Drop(Reason.FRAG),
    ),
    Row("608", "fragment header cut", lambda: [next_header(FRAGMENT, size=n) for n in range(8)], Drop(Reason.TRUNC)),
    Row(
        "608",
        "fragment header beyond the payload length",
        lambda: lengths(fragment(0, 0), 7),
        Drop(Reason.TRUNC),
    ),
    Row(
        "609",
        "atomic fragment, whatever its reserved bits",
        lambda: [fragment(0, 0), *(fragment(0, 0, reserved=r) for r in (1, 2, 3))],
        Drop(Reason.FRAG_ATOMIC),
    ),
    Row(
        "610",
        "hop-by-hop options before a fragment header",
        lambda: with_header6(fragment(0, 1), HOP_BY_HOP, PADDED),
        Drop(Reason.V6_EXTHDR),
    ),
    Row("611", "overlapping fragments", lambda: [fragment(0, 1), fragment(1, 0)], Drop(Reason.FRAG)),
    Row(
        "612",
        "first fragment without its transport header",
        lambda: [fragment(0, 1, f) for f in (extended(DESTINATION), tcp6()[: 14 + 40 + 4])],
        Drop(Reason.FRAG),
    ),
    Row(
        "613",
        "twenty extension headers, header lengths 0 and 255",
        lambda: [chain(20), extended(DESTINATION, bytes(8)), extended(DESTINATION, b"\0\xff" + bytes(6))],
        Drop(Reason.V6_EXTHDR),
    ),
    Row(
        "614 T20",
        "no next header, AH, ESP, unknown protocols, SCTP, ICMP of the other family",
        lambda: [next_header(k) for k in (NOTHING, AH, ESP, 253, 254, 255, 132, 33, 136, 89, 112, 1, 2, 61)],
        Drop(Reason.PROTO),
    ),
    Row("T21 H03", "a tunnel to an IPv6 VIP", lambda: [next_header(k) for k in (4, 41, 47)], Drop(Reason.NESTED)),
    Row("T21", "GUE to an IPv6 VIP", lambda: udp(w.WEB6, 6080, data=tcp()[14:]), Drop(Reason.NESTED)),
    Row("615", "hop limit 0", lambda: tcp6(ip={"hlim": 0}), Drop(Reason.TTL)),
    Row("615", "hop limit 1, 2, 64, 255", lambda: [tcp6(ip={"hlim": n}) for n in (1, 2, 64, 255)], Enc(w.WEB6)),
    Row(
        "616",
        "a source that no client has",
        lambda: [tcp6(ip={"src": s}) for s in IMPOSSIBLE],
        Drop(Reason.MARTIAN),
    ),
    Row(
        "616 427",
        "source is a VIP, in a VIP prefix, an edge, a backend, in the prefix of outer sources",
        lambda: [
            tcp6(ip={"src": s})
            for s in (
                *(w.WEB6, w.ECHO6, w.SILENT6, "2001:db8:20:77::5", w.NET6_ONE, w.EDGE6, w.HOST6),
                *("2001:db8:9::1", "2001:db8:9::19", "2001:db8:5:0:77::1"),
            )
        ],
        Drop(Reason.MARTIAN),
    ),
    *(
        Row("616", f"source {s} is served", lambda s=s: tcp6(ip={"src": s}), Enc(w.WEB6, client=s))  # type: ignore[misc]
        for s in POSSIBLE
    ),
    Row(
        "617",
        "discovery for a VIP, and for the host",
        lambda: [neighbour(k, v) for v in (w.WEB6, w.HOST6) for k in (133, 134, 135, 136, 137, 130, 131, 132, 143)],
        Pass(),
    ),
    Row(
        "617", "discovery to multicast", lambda: [neighbour(135, "ff02::1:ff00:10"), neighbour(133, "ff02::2")], Pass()
    ),
    Row(
        "618",
        "traffic class copied, inner flow label kept",
        lambda: [tcp6(ip={"tc": t, "fl": f}) for t in (0, 1, 2, 3, 0xB8, 0xFF, 0x80) for f in (0, 1, 0xFFFFF)],
        Enc(w.WEB6),
    ),
    Row("619 E14", "IPv6 in IPv4, by GRE", lambda: [tcp6(), tcp6(data=bytes(999))], Enc(w.WEB6)),
    Row("619 E14", "IPv6 in IPv4, protocol 41", lambda: tcp(w.ECHO6, 7000), Enc(w.ECHO6, 6, 7000)),
    Row("S01", "IPv6 address that is no VIP", lambda: [tcp(w.FREE6), udp(w.FREE6), extended(0, vip=w.FREE6)], Pass()),
    Row(
        "404 422",
        "extension headers and fragments to the host",
        lambda: [
            *(extended(k, vip=w.HOST6) for k in (HOP_BY_HOP, DESTINATION, ROUTING)),
            *(fragment(o, m, tcp(w.HOST6)) for o, m in ((0, 1), (8, 0), (0, 0))),
            lengths(tcp(w.HOST6), 9999),
        ],
        Pass(),
    ),
]

TRANSPORT = [
    Row(
        "T01",
        "TCP header cut at every length",
        lambda: [lengths(tcp6(), n)[: 54 + n] for n in range(1, 20)],
        Drop(Reason.TRUNC),
    ),
    Row(
        "T02",
        "data offset below 5 or beyond the segment",
        lambda: [tcp6(dataofs=n) for n in (0, 4, 6, 15)],
        Drop(Reason.L4),
    ),
    Row("T03", "all 256 flag combinations", lambda: each(tcp6(), 53), Enc(w.WEB6)),
    Row(
        "T04",
        "port 0",
        lambda: [tcp6(sport=0), tcp6(dport=0), udp(w.ECHO6, sport=0), udp(w.ANY6, dport=0)],
        Drop(Reason.PORT0),
    ),
    Row("T07", "wrong checksums are the backend's matter", lambda: tcp6(chksum=0xBAD), Enc(w.WEB6)),
    Row(
        "T08",
        "port without a service",
        lambda: [tcp6(dport=22), udp(w.WEB6, 80), tcp(w.SILENT6)],
        Drop(Reason.NO_SERVICE),
    ),
    Row(
        "T11",
        "UDP header cut at every length",
        lambda: [lengths(udp(w.ECHO6), n)[: 54 + n] for n in range(1, 8)],
        Drop(Reason.TRUNC),
    ),
    Row(
        "T12",
        "UDP length below 8 or beyond the packet",
        lambda: [udp(w.ECHO6, len=n) for n in (0, 7, 10, 65535)],
        Drop(Reason.LEN),
    ),
    Row("T13", "UDP length below the packet's", lambda: udp(w.ECHO6, data=bytes(20), len=20), Enc(w.ECHO6, 17, 7000)),
    Row(
        "T15", "UDP without a checksum is the backend's matter", lambda: udp(w.ECHO6, chksum=0), Enc(w.ECHO6, 17, 7000)
    ),
    Row("L07", "broadcast MAC", lambda: ether(tcp6()[14:], b"\xff" * 6), Drop(Reason.L2_BCAST)),
    Row("L08", "multicast MAC", lambda: ether(tcp6()[14:], bytes.fromhex("333300000001")), Drop(Reason.L2_MCAST)),
    Row("L09", "MAC of another station", lambda: ether(tcp6()[14:], w.ROUTER_MAC), Pass(notes(Note.OTHER_HOST))),
    Row("L10", "source MAC zero", lambda: ether(tcp6()[14:], source=bytes(6)), Drop(Reason.L2_SRC)),
    Row(
        "L12 L13",
        "padding is cut off",
        lambda: [tcp6() + b"pad", tcp6() + bytes(9)],
        Enc(w.WEB6, notes=notes(Note.TRIMMED)),
    ),
    Row(
        "T22", "BGP, BFD and ssh to the host", lambda: [tcp(w.HOST6, 179), udp(w.HOST6, 3784), tcp(w.EDGE6, 22)], Pass()
    ),
]

TUNNELS = [
    Row(
        "E14 E04",
        "IPv4 in IPv6, by GRE",
        lambda: [tcp(w.SIX), tcp(w.SIX, data=bytes(99), ip={"tos": 0xBB})],
        Enc(w.SIX),
    ),
    Row("E14 E04", "IPv4 in IPv6, protocol 4", lambda: udp(w.SIX), Enc(w.SIX, 17, 7000)),
    Row("E14 E04 E06", "IPv6 in IPv6, by GRE", lambda: [tcp(w.SIX6), tcp(w.SIX6, ip={"tc": 0x47})], Enc(w.SIX6)),
    Row("E14 E04", "IPv6 in IPv6, protocol 41", lambda: udp(w.SIX6), Enc(w.SIX6, 17, 7000)),
    *(
        Row(
            "E04 E14",
            f"another flow, another source: port {p}",
            lambda p=p: tcp(w.SIX, sport=p),  # type: ignore[misc]
            Enc(w.SIX, client_port=p),
        )
        for p in (1, 2, 65535)
    ),
    *(
        Row("E10", f"GRE with a key, {v} from port {p}", lambda v=v, p=p: tcp(v, sport=p), Enc(v, client_port=p))  # type: ignore[misc]
        for v in (w.KEYED, w.KEYED6)
        for p in (40000, 40001, 40002, 40003)
    ),
    Row("E12", "next hop not resolved", lambda: tcp(w.UNRESOLVED6), Drop(Reason.NEIGH)),
    Row("E12", "next hop on another interface", lambda: tcp(w.FAR6), Enc(w.FAR6, notes=notes(Note.REDIRECTED))),
    Row("E12", "next hop in a VLAN, outer IPv4", lambda: tcp(w.BEHIND_TAG), Enc(w.BEHIND_TAG)),
    Row("E12", "next hop in a VLAN, outer IPv6", lambda: tcp(w.BEHIND_TAG, 81), Enc(w.BEHIND_TAG, vip_port=81)),
    Row("E12 619", "IPv6 to a next hop in a VLAN", lambda: tcp(w.BEHIND_TAG6), Enc(w.BEHIND_TAG6)),
    Row("E12", "IPv6 in IPv6 to a next hop in a VLAN", lambda: tcp(w.BEHIND_TAG6, 81), Enc(w.BEHIND_TAG6, vip_port=81)),
    Row(
        "E13",
        "backend on this host: the packet stays as it is, padding and all",
        lambda: [f for v in (w.LOCAL, w.LOCAL6) for f in (tcp(v), tcp(v) + bytes(9), tcp(v, data=bytes(1440)))],
        Pass(notes(Note.LOCAL)),
    ),
    Row("S02", "pool with nobody", lambda: tcp(w.EMPTY6), Drop(Reason.NO_BACKEND)),
    Row("S04", "slot names no backend", lambda: tcp(w.CORRUPT6), Drop(Reason.TABLE_CORRUPT)),
]

LIMITS = (
    *((w.WEB6, 80, 24), (w.ECHO6, 7000, 20), (w.SIX6, 80, 44), (w.SIX, 80, 44)),
    *((w.BEHIND_TAG6, 80, 24), (w.BEHIND_TAG6, 81, 40), (w.BEHIND_TAG, 81, 40)),
)
SIZES = [
    Row(
        "U01",
        f"{vip} port {port}: the limit, {1500 - overhead} bytes",
        lambda v=vip, p=port, s=1500 - overhead: tcp(v, p, data=bytes(s - (60 if ":" in v else 40))),  # type: ignore[misc]
        Enc(vip, vip_port=port),
    )
    for vip, port, overhead in LIMITS
] + [
    Row(
        "U01 U02 U04",
        f"{vip} port {port}: one byte more than {1500 - overhead}",
        lambda v=vip, p=port, s=1501 - overhead: tcp(v, p, data=bytes(s - (60 if ":" in v else 40))),  # type: ignore[misc]
        TooBig(1500 - overhead),
    )
    for vip, port, overhead in LIMITS
]
SIZES += [
    Row("U01", "UDP over IPv6: IPIP's limit", lambda: udp(w.SIX6, data=bytes(1460 - 48)), Enc(w.SIX6, 17, 7000)),
    Row("U04", "UDP over IPv6: one more", lambda: udp(w.SIX6, data=bytes(1460 - 47)), TooBig(1460)),
    Row(
        "U04 U05", "the answer copies neither class nor label", lambda: sized6(1500, tc=0xFF, fl=0xFFFFF), TooBig(1476)
    ),
    Row("U05", "too big in a padded frame", lambda: sized6(1500) + b"padding", TooBig(1476)),
    Row("U10", "a jumbo frame over a small underlay", lambda: sized6(3300), TooBig(1476)),
]

ROWS = [*HEADERS, *TRANSPORT, *TUNNELS, *SIZES]
