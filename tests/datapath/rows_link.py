"""Catalogue rows of the forwarder: Ethernet (L) and IPv4 (401-430)."""

import struct

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Drop, Enc, Pass, notes
from tests.datapath.frames import cut, each, echo, ether, packet, patched, tcp, udp, with_options
from tests.datapath.row import Row

BROADCAST, MULTICAST, STRANGE_MAC = b"\xff" * 6, bytes.fromhex("01005e000001"), bytes.fromhex("02000000beef")
NOP, LSRR, SSRR = b"\x01" * 4, bytes.fromhex("830704c0000201 00"), bytes.fromhex("890704c0000201 00")
ROUTER_ALERT, RECORD, TIMESTAMP = (
    bytes.fromhex("94040000"),
    bytes.fromhex("07070400000000 00"),
    bytes.fromhex("44080500") + bytes(4),
)

IMPOSSIBLE = (
    *("127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.255"),
    *("240.0.0.1", "255.255.255.255", "169.254.0.1", "169.254.255.255"),
)


def remac(destination: bytes = w.OWN_MAC, source: bytes = w.ROUTER_MAC) -> bytes:
    return ether(tcp()[14:], destination, source)


def vlan(*tags: tuple[int, int]) -> bytes:
    frame = tcp()
    inserted = b"".join(struct.pack("!HH", kind, control) for kind, control in tags)
    return frame[:12] + inserted + frame[12:]


def fragment(bits: int, vip: str = w.WEB, keep: int = 1000) -> bytes:
    return patched(tcp(vip), 6, struct.pack("!H", bits))[: 34 + keep]


def short_fragment() -> bytes:
    frame = patched(tcp(), 2, struct.pack("!H", 24))
    return patched(frame, 6, b"\x20\x00")[:38]


def header_only(ihl: int, total: int, present: int, vip: str = w.WEB) -> bytes:
    frame = tcp(vip, data=bytes(60))
    frame = patched(frame, 0, bytes((0x40 | ihl,)), fix=False)
    return patched(frame, 2, struct.pack("!H", total))[: 14 + present]


LINK = [
    Row("L02", "14 bytes with an IP ethertype", lambda: [ether(b""), ether(b"", kind=0x86DD)], Drop(Reason.TRUNC)),
    Row("L03", "ARP", lambda: [ether(bytes(28), d, kind=0x0806) for d in (BROADCAST, w.OWN_MAC)], Pass()),
    Row(
        "L04",
        "LLDP, 802.3 length, MPLS, PPPoE, unknown ethertype",
        lambda: [ether(tcp()[14:], kind=k) for k in (0x88CC, 0x0030, 0x8847, 0x8863, 0x8864, 0xFFFF, 0)],
        Pass(),
    ),
    Row("L05", "802.1Q tag", lambda: vlan((0x8100, 100)), Pass(notes(Note.VLAN))),
    Row(
        "L06",
        "QinQ, priority tag, three tags, tag then nothing",
        lambda: [
            vlan((0x88A8, 5), (0x8100, 6)),
            vlan((0x8100, 0xE000)),
            vlan((0x88A8, 5), (0x88A8, 6), (0x8100, 7)),
            *cut(vlan((0x8100, 1)), (14, 15, 16, 18)),
        ],
        Pass(notes(Note.VLAN)),
    ),
    Row("L07", "broadcast MAC", lambda: remac(BROADCAST), Drop(Reason.L2_BCAST)),
    Row("L07", "echo in a broadcast frame", lambda: ether(echo()[14:], BROADCAST), Drop(Reason.L2_BCAST)),
    Row(
        "L08",
        "multicast MAC",
        lambda: [remac(MULTICAST), remac(bytes.fromhex("333300000001"))],
        Drop(Reason.L2_MCAST),
    ),
    Row("L09", "MAC of another station", lambda: remac(STRANGE_MAC), Pass(notes(Note.OTHER_HOST))),
    Row(
        "L10",
        "source MAC multicast, broadcast or zero",
        lambda: [remac(source=s) for s in (MULTICAST, BROADCAST, bytes(6))],
        Drop(Reason.L2_SRC),
    ),
    Row(
        "L11",
        "ethertype against version nibble",
        lambda: [patched(tcp(), 0, bytes((v << 4 | 5,))) for v in (0, 3, 5, 6, 15)] + [ether(tcp()[14:], kind=0x86DD)],
        Drop(Reason.IP_VERSION),
    ),
    Row("S01", "IPv6 to no VIP", lambda: ether(b"\x60" + bytes(60)), Pass()),
    Row("L12", "20 bytes of padding", lambda: tcp() + bytes(20), Enc(notes=notes(Note.TRIMMED))),
    Row(
        "L13",
        "padding that holds something",
        lambda: [tcp() + b"\xde\xad\xbe\xef" * 5, tcp(data=b"x") + b"secret"],
        Enc(notes=notes(Note.TRIMMED)),
    ),
]


IPV4 = [
    Row("401", "IPv4 header cut at every length", lambda: cut(tcp(), range(14, 34)), Drop(Reason.TRUNC)),
    Row("402", "IHL 0..4", lambda: [patched(tcp(), 0, bytes((0x40 | i,))) for i in range(5)], Drop(Reason.IHL)),
    Row(
        "403",
        "IHL 6..15 with options",
        lambda: [with_options(tcp(), b"\x01" * 4 * n) for n in range(1, 11)],
        Drop(Reason.IP_OPTIONS),
    ),
    Row(
        "404",
        "options to the host",
        lambda: [with_options(tcp(w.HOST), b"\x01" * 4 * n) for n in range(1, 11)],
        Pass(),
    ),
    Row(
        "405",
        "IHL beyond the frame, and beyond the total length",
        lambda: [header_only(15, 60, 40), header_only(6, 24, 20), header_only(15, 40, 100), header_only(6, 20, 100)],
        Drop(Reason.TRUNC),
    ),
    Row(
        "406",
        "loose and strict source route",
        lambda: [with_options(tcp(), LSRR), with_options(tcp(), SSRR)],
        Drop(Reason.IP_OPTIONS),
    ),
    Row(
        "407",
        "router alert, record route, timestamp",
        lambda: [with_options(tcp(), o) for o in (ROUTER_ALERT, RECORD, TIMESTAMP)],
        Drop(Reason.IP_OPTIONS),
    ),
    Row(
        "408",
        "total length below the header",
        lambda: [patched(tcp(), 2, struct.pack("!H", n)) for n in range(20)],
        Drop(Reason.LEN),
    ),
    Row(
        "409",
        "total length beyond the frame",
        lambda: [tcp(data=bytes(30))[:-n] for n in (1, 2, 10, 30)] + [patched(tcp(), 2, b"\x00\x29")],
        Drop(Reason.LEN),
    ),
    Row("410", "total length 65535 in 60 bytes", lambda: patched(tcp() + bytes(6), 2, b"\xff\xff"), Drop(Reason.LEN)),
    Row(
        "411",
        "wrong header checksum",
        lambda: [patched(tcp(), 10, bytes((tcp()[24] ^ a, tcp()[25] ^ b)), fix=False) for a, b in ((1, 0), (0, 0x80))],
        Drop(Reason.CSUM),
    ),
    Row("412", "TTL 0", lambda: tcp(ip={"ttl": 0}), Drop(Reason.TTL)),
    Row("413 414", "TTL 1, 2, 64, 255 stay as they are", lambda: [tcp(ip={"ttl": t}) for t in (1, 2, 64, 255)], Enc()),
    Row("415 E06 E09", "all 256 TOS values, copied", lambda: each(tcp(), 1), Enc()),
    Row("416", "reserved flag", lambda: [patched(tcp(), 6, b) for b in (b"\x80\0", b"\xc0\0")], Enc()),
    Row("417", "first fragment", lambda: fragment(0x2000), Drop(Reason.FRAG)),
    Row("418", "fragment from the middle", lambda: [fragment(0x2001), fragment(0x3FFF)], Drop(Reason.FRAG)),
    Row("419", "last fragment", lambda: [fragment(0x0001), fragment(0x1FFF)], Drop(Reason.FRAG)),
    Row("420", "first fragment with 4 bytes of TCP", short_fragment, Drop(Reason.FRAG)),
    Row(
        "421",
        "overlapping pair, teardrop, ping of death",
        lambda: [fragment(0x2000), fragment(0x0002), fragment(0x0003), patched(echo(), 6, b"\x1f\xff")],
        Drop(Reason.FRAG),
    ),
    Row(
        "422",
        "fragments to the host",
        lambda: [fragment(b, w.HOST) for b in (0x2000, 0x2001, 0x0001, 0x6000)],
        Pass(),
    ),
    Row("423", "DF and MF", lambda: fragment(0x6000), Drop(Reason.FRAG)),
    Row(
        "424",
        "source is the destination (LAND)",
        lambda: [tcp(ip={"src": w.WEB}), tcp(sport=80, ip={"src": w.WEB})],
        Drop(Reason.MARTIAN),
    ),
    Row(
        "425",
        "source is another VIP",
        lambda: [tcp(ip={"src": v}) for v in (w.ECHO, w.ANY, w.SILENT)],
        Drop(Reason.MARTIAN),
    ),
    Row(
        "426",
        "sources that do not exist",
        lambda: [tcp(ip={"src": s}) for s in IMPOSSIBLE],
        Drop(Reason.MARTIAN),
    ),
    Row(
        "427",
        "source is an edge or a backend",
        lambda: [tcp(ip={"src": s}) for s in (w.EDGE, w.OTHER_EDGE, w.HOST, "10.0.9.1", "10.0.9.7")],
        Drop(Reason.MARTIAN),
    ),
    *(
        Row("428", f"private source {s} is served", lambda s=s: tcp(ip={"src": s}), Enc(client=s))  # type: ignore[misc]
        for s in (
            "10.9.8.7",
            "172.16.0.1",
            "192.168.1.1",
            "126.255.255.255",
            "128.0.0.1",
            "223.255.255.255",
            "169.253.1.1",
        )
    ),
    Row(
        "429",
        "broadcast and multicast destinations",
        lambda: [
            ether(packet(d, b"", proto=17), mac)
            for d, mac in (("10.0.5.255", BROADCAST), ("255.255.255.255", BROADCAST), ("224.0.0.5", MULTICAST))
        ],
        Pass(),
    ),
    Row("430", "54 bytes of SYN", lambda: tcp(flags="S"), Enc()),
    Row("430", "one byte of UDP", udp, Enc(w.ECHO, 17, 7000)),
]

ROWS = [*LINK, *IPV4]
