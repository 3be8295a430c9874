"""Catalogue rows of the forwarder: ICMPv6 (I)."""

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Drop, EchoReply, Enc, Pass, notes
from tests.datapath.frames import echo, error, ether, packet, patched, sent_by, tcp, udp
from tests.datapath.row import Row
from tests.datapath.rows_ipv6 import DESTINATION, FRAGMENT, HIP, HOP_BY_HOP, MOBILITY, PADDED, ROUTING, SHIM6, lengths

RELAYED = notes(Note.ICMP_RELAYED)
PLAIN = Enc(w.WEB6, notes=RELAYED)


def tunnel_error(kind: int = 2, protocol: int = 47, destination: str = "2001:db8:9::1", source: str = "") -> bytes:
    """A router's complaint about our own tunnel packet, to the edge's own address."""
    quoted = packet(destination, bytes(8), source or "2001:db8:5:0:77:0:1234:5678", nh=protocol)
    return error(quoted, vip=w.EDGE6, kind=kind)


def about(vip: str = w.WEB6, to: str = w.WEB6, **quoted: object) -> bytes:
    return error(sent_by(vip, **quoted), to)  # type: ignore[arg-type]


def shortened(frame: bytes, payload: int) -> bytes:
    return lengths(frame, payload)[: 54 + payload]


def spoiled(frame: bytes) -> bytes:
    return patched(frame, 42, bytes((frame[56] ^ 0x5A,)))


def of_type(kind: int) -> bytes:
    return error(bytes(60), w.WEB6, kind, source=w.CLIENT6)


def extended(kind: int) -> bytes:
    """An error about a packet with an extension header."""
    sent = sent_by(w.WEB6, length=60)
    return error(sent[:6] + bytes((kind,)) + sent[7:40] + bytes((sent[6],)) + PADDED[1:] + sent[40:], w.WEB6)


ROWS = [
    Row("I01", "echo to a served VIP", lambda: [echo(v) for v in (w.WEB6, w.ECHO6, w.SILENT6)], EchoReply()),
    Row(
        "I01",
        "echo of every size modulo the checksum's chunks",
        lambda: [
            echo(w.WEB6, (bytes(range(256)) * 6)[:n]) for n in (0, 1, 2, 3, 247, 248, 249, 503, 504, 505, 1400, 1452)
        ],
        EchoReply(),
    ),
    Row(
        "I01",
        "echo keeps traffic class and flow label",
        lambda: echo(w.WEB6, ip={"tc": 0xB9, "fl": 0xFEDCB}),
        EchoReply(),
    ),
    Row(
        "I01 P4",
        "echo in a padded frame",
        lambda: echo(w.WEB6) + b"pad",
        EchoReply(notes(Note.ECHO_REPLY, Note.TRIMMED)),
    ),
    Row("I02", "echo to the host", lambda: [echo(w.HOST6), echo(w.FREE6)], Pass()),
    Row("I04", "echo to a VIP that is not served now", lambda: echo(w.DRAINED6), Drop(Reason.ECHO_UNSERVED)),
    Row(
        "I05", "echo cut at every length", lambda: [shortened(echo(w.WEB6), n) for n in range(1, 8)], Drop(Reason.TRUNC)
    ),
    Row("I05", "echo with a code", lambda: [echo(w.WEB6, code=c) for c in (1, 255)], Drop(Reason.ICMP_TYPE)),
    Row("I06", "echo from multicast", lambda: echo(w.WEB6, ip={"src": "ff02::1"}), Drop(Reason.MARTIAN)),
    Row(
        "I09",
        "packet too big with 8, 20 and more bytes of TCP",
        lambda: [about(length=n) for n in (48, 60, 1232)],
        PLAIN,
    ),
    Row("I12", "quoted packet cut", lambda: [about(length=n) for n in range(48)], Drop(Reason.ICMP_TRUNC)),
    Row(
        "I12",
        "quoted version is not 6",
        lambda: [error(bytes((b,)) + sent_by(w.WEB6)[1:], w.WEB6) for b in (0x45, 0x00, 0x50, 0x70)],
        Drop(Reason.ICMP_TRUNC),
    ),
    Row("I12", "error cut before the quote", lambda: [shortened(about(), n) for n in range(1, 8)], Drop(Reason.TRUNC)),
    Row(
        "I13",
        "quoted extension headers",
        lambda: [extended(k) for k in (HOP_BY_HOP, ROUTING, DESTINATION, MOBILITY, HIP, SHIM6)],
        Drop(Reason.ICMP_OPT),
    ),
    Row("I14", "quoted fragment", lambda: extended(FRAGMENT), Drop(Reason.ICMP_FRAG)),
    Row(
        "I15",
        "quoted source is no VIP, or quoted protocol none that we serve",
        lambda: [about(w.FREE6), about(w.EDGE6), about(nh=58), about(nh=59), about(nh=1)],
        Drop(Reason.ICMP_NOT_OURS),
    ),
    Row("I16", "quoted source is another VIP", lambda: [about(w.ECHO6), about(w.NET6_ONE)], Drop(Reason.ICMP_MISMATCH)),
    Row(
        "I17",
        "packet too big below 1280",
        lambda: [error(sent_by(w.WEB6), w.WEB6, mtu=m) for m in (0, 68, 1279)],
        Drop(Reason.ICMP_MTU),
    ),
    Row(
        "I17",
        "packet too big of 1280 and far more",
        lambda: [error(sent_by(w.WEB6), w.WEB6, mtu=m) for m in (1280, 65536, 0xFFFFFFFF)],
        PLAIN,
    ),
    Row(
        "I17",
        "a bad MTU of a quote that is cut",
        lambda: error(sent_by(w.WEB6, length=47), w.WEB6, mtu=0),
        Drop(Reason.ICMP_TRUNC),
    ),
    Row(
        "I18 I19",
        "unreachable, time exceeded, parameter problem",
        lambda: [error(sent_by(w.WEB6), w.WEB6, k, c, mtu=0) for k in (1, 3, 4) for c in (0, 1, 4)],
        PLAIN,
    ),
    Row(
        "I20",
        "echo reply, redirect's neighbours, node information, private and unknown types",
        lambda: [of_type(k) for k in (0, 5, 100, 127, 129, 138, 139, 140, 141, 142, 144, 200, 255)],
        Drop(Reason.ICMP_TYPE),
    ),
    Row("I21", "error about QUIC", lambda: about(protocol=17, sport=443), Enc(w.WEB6, 17, 443, notes=RELAYED)),
    Row(
        "I21",
        "error about UDP in the IPIP pool",
        lambda: about(w.ECHO6, w.ECHO6, protocol=17, sport=7000),
        Enc(w.ECHO6, 17, 7000, notes=RELAYED),
    ),
    Row(
        "I21",
        "error about an any-port flow",
        lambda: about(w.ANY6, w.ANY6, sport=8443),
        Enc(w.ANY6, vip_port=8443, notes=RELAYED),
    ),
    Row(
        "I15",
        "error about a port without a service",
        lambda: [about(sport=22), about(protocol=17, sport=6080)],
        Drop(Reason.NO_SERVICE),
    ),
    Row("I15", "error about port 0", lambda: about(dport=0), Drop(Reason.PORT0)),
    Row(
        "I22",
        "packet too big about our own tunnel",
        lambda: [tunnel_error(protocol=p) for p in (4, 41, 47)],
        Pass(notes(Note.ENCAP_PTB)),
    ),
    Row(
        "I22",
        "unreachable and time exceeded about it",
        lambda: [tunnel_error(k) for k in (1, 3)],
        Pass(notes(Note.ENCAP_UNREACH)),
    ),
    Row(
        "I22",
        "errors to the host about something else",
        lambda: [
            tunnel_error(protocol=6),
            tunnel_error(destination=w.STRANGER6),
            tunnel_error(kind=4),
            tunnel_error(kind=128),
            tunnel_error(source="2001:db8:5::1"),
            tunnel_error()[: 54 + 8 + 39],
        ],
        Pass(),
    ),
    Row("I23", "echo with a wrong ICMP checksum", lambda: spoiled(echo(w.WEB6)), Drop(Reason.ICMP_CSUM)),
    Row("I23", "error with a wrong ICMP checksum", lambda: spoiled(about()), PLAIN),
    Row(
        "U07",
        "an error that is too big is not answered",
        lambda: error(sent_by(w.WEB6, length=1440), w.WEB6),
        Drop(Reason.TOOBIG),
    ),
    Row("E13", "an error to a backend on this host", lambda: about(w.LOCAL6, w.LOCAL6), Pass(notes(Note.LOCAL))),
    Row("617", "an ICMPv6 message that is not even begun", lambda: ether(packet(w.WEB6, b"", nh=58)), Drop(Reason.LEN)),
    Row("T20", "ICMP of the other family", lambda: [ether(packet(w.WEB, bytes(8), proto=58))], Drop(Reason.PROTO)),
    Row("I21", "the flow itself has the same owner as errors about it", lambda: [tcp(w.WEB6)], Enc(w.WEB6)),
    Row("I21", "so has UDP", lambda: udp(w.WEB6, 443), Enc(w.WEB6, 17, 443)),
]
