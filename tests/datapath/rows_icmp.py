"""Catalogue rows of the forwarder: ICMP (I) and MTU (U)."""

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Drop, EchoReply, Enc, Pass, TooBig, notes
from tests.datapath.frames import echo, error, ether, packet, patched, sent_by, tcp, udp, with_options
from tests.datapath.row import Row
from tests.datapath.rows_transport import shortened

RELAYED = notes(Note.ICMP_RELAYED)
SMALL = notes(Note.ICMP_RELAYED, Note.PTB_SMALL)


def tunnel_error(kind: int = 3, code: int = 4, protocol: int = 47, destination: str = "10.0.9.1") -> bytes:
    """A router's complaint about our own tunnel packet, to the edge's own address."""
    quoted = packet(destination, bytes(8), w.EDGE, proto=protocol)
    return error(quoted, vip=w.EDGE, kind=kind, code=code)


def bad_icmp_sum(frame: bytes) -> bytes:
    return patched(frame, 22, bytes((frame[36] ^ 0x5A,)), fix=False)


def of_type(kind: int, code: int = 0) -> bytes:
    return error(bytes(40), kind=kind, code=code, source=w.CLIENT)


def sized(size: int, vip: str = w.WEB, port: int = 80, **ip: object) -> bytes:
    """A TCP packet of `size` bytes of IPv4."""
    return tcp(vip, port, data=bytes(i % 251 for i in range(size - 40)), ip=ip)


ICMP = [
    Row("I01", "echo to a served VIP", lambda: [echo(), echo(w.ECHO), echo(w.SILENT)], EchoReply()),
    Row(
        "I01",
        "echo of every size modulo the checksum's chunks",
        lambda: (
            [echo(data=(bytes(range(256)) * 6)[:n]) for n in (0, 1, 2, 3, 247, 248, 249, 503, 504, 505, 1400, 1472)]
        ),
        EchoReply(),
    ),
    Row("I01", "echo whose answer is all zeros: its checksum is not", lambda: echo(data=b"", id=0, seq=0), EchoReply()),
    Row(
        "I01 P4",
        "echo in a padded frame",
        lambda: echo(data=b"") + b"pad",
        EchoReply(notes(Note.ECHO_REPLY, Note.TRIMMED)),
    ),
    Row("I02", "echo to the host", lambda: [echo(w.HOST), echo(w.FREE)], Pass()),
    Row("I04", "echo to a VIP that is not served now", lambda: echo(w.DRAINED), Drop(Reason.ECHO_UNSERVED)),
    Row("I05", "echo cut at every length", lambda: [shortened(echo(), n) for n in range(8)], Drop(Reason.TRUNC)),
    Row("I05", "echo with a code", lambda: [echo(code=c) for c in (1, 255)], Drop(Reason.ICMP_TYPE)),
    Row("I05", "echo in fragments", lambda: [patched(echo(), 6, b) for b in (b"\x20\0", b"\0\x20")], Drop(Reason.FRAG)),
    Row(
        "I05", "echo with IP options", lambda: with_options(echo(), b"\x07\x07\x04\0\0\0\0\0"), Drop(Reason.IP_OPTIONS)
    ),
    Row(
        "I06",
        "echo from broadcast or multicast (smurf)",
        lambda: [echo(ip={"src": s}) for s in ("255.255.255.255", "224.0.0.1")],
        Drop(Reason.MARTIAN),
    ),
    Row(
        "I07",
        "3/4 with 20 bytes of TCP",
        lambda: [error(sent_by(w.WEB, length=n)) for n in (40, 100)],
        Enc(notes=RELAYED),
    ),
    Row("I08", "3/4 with 8 bytes of TCP", lambda: error(sent_by(w.WEB)), Enc(notes=RELAYED)),
    Row(
        "I12",
        "quoted packet cut",
        lambda: [error(sent_by(w.WEB, length=n)) for n in range(28)],
        Drop(Reason.ICMP_TRUNC),
    ),
    Row(
        "I12",
        "quoted version is not 4, or IHL below 5",
        lambda: [error(bytes((b,)) + sent_by(w.WEB)[1:]) for b in (0x65, 0x05, 0x44, 0x40)],
        Drop(Reason.ICMP_TRUNC),
    ),
    Row("I12", "error cut before the quote", lambda: [shortened(error(b""), n) for n in range(8)], Drop(Reason.TRUNC)),
    Row("I13", "quoted options", lambda: error(b"\x46" + sent_by(w.WEB, length=60)[1:]), Drop(Reason.ICMP_OPT)),
    Row("I14", "quoted fragment without ports", lambda: error(sent_by(w.WEB, frag=9)), Drop(Reason.ICMP_FRAG)),
    Row("I14", "quoted first fragment has ports", lambda: error(sent_by(w.WEB, flags="MF")), Enc(notes=RELAYED)),
    Row(
        "I15",
        "quoted source is no VIP, or quoted protocol none that we serve",
        lambda: [error(sent_by(w.FREE)), error(sent_by(w.EDGE)), error(sent_by(w.WEB, proto=1))],
        Drop(Reason.ICMP_NOT_OURS),
    ),
    Row("I16", "quoted source is another VIP", lambda: error(sent_by(w.ECHO)), Drop(Reason.ICMP_MISMATCH)),
    Row(
        "I17",
        "MTU 0, 68, 500, 551",
        lambda: [error(sent_by(w.WEB), mtu=m) for m in (0, 68, 500, 551)],
        Enc(notes=SMALL),
    ),
    Row("I17", "MTU 552", lambda: error(sent_by(w.WEB), mtu=552), Enc(notes=RELAYED)),
    Row(
        "I18",
        "unreachable for every other cause",
        lambda: [error(sent_by(w.WEB), code=c, mtu=0) for c in (0, 1, 2, 3, 9, 10, 13)],
        Enc(notes=RELAYED),
    ),
    Row(
        "I19",
        "time exceeded, parameter problem",
        lambda: [error(sent_by(w.WEB), kind=k, code=c, mtu=0) for k, c in ((11, 0), (11, 1), (12, 0), (12, 1))],
        Enc(notes=RELAYED),
    ),
    Row(
        "I20",
        "redirect, source quench, timestamp, mask, router discovery, echo reply",
        lambda: [of_type(k) for k in (0, 4, 5, 9, 10, 13, 14, 15, 16, 17, 18, 40, 255)],
        Drop(Reason.ICMP_TYPE),
    ),
    Row(
        "I21",
        "error about QUIC",
        lambda: error(sent_by(w.WEB, 17, 443)),
        Enc(w.WEB, 17, 443, notes=RELAYED),
    ),
    Row(
        "I21",
        "error about UDP in the IPIP pool",
        lambda: error(sent_by(w.ECHO, 17, 7000), w.ECHO),
        Enc(w.ECHO, 17, 7000, notes=RELAYED),
    ),
    Row(
        "I21",
        "error about an any-port flow",
        lambda: error(sent_by(w.ANY, sport=8443), w.ANY),
        Enc(w.ANY, notes=RELAYED),
    ),
    Row(
        "I15",
        "error about a port without a service",
        lambda: error(sent_by(w.WEB, sport=22)),
        Drop(Reason.NO_SERVICE),
    ),
    Row("I15", "error about port 0", lambda: error(sent_by(w.WEB, dport=0)), Drop(Reason.PORT0)),
    Row(
        "I22",
        "3/4 about our own tunnel",
        lambda: [tunnel_error(), tunnel_error(protocol=4), tunnel_error(destination="10.0.9.7")],
        Pass(notes(Note.ENCAP_PTB)),
    ),
    Row(
        "I22",
        "unreachable and time exceeded about our own tunnel",
        lambda: [tunnel_error(3, 1), tunnel_error(11, 0)],
        Pass(notes(Note.ENCAP_UNREACH)),
    ),
    Row(
        "I22",
        "errors to the host about something else",
        lambda: [
            tunnel_error(protocol=6),
            tunnel_error(destination=w.STRANGER),
            tunnel_error(kind=5),
            error(packet("10.0.9.1", bytes(8), w.STRANGER, proto=47), vip=w.EDGE),
            tunnel_error()[:60],
            patched(tunnel_error(), 6, b"\x20\0"),
            with_options(tunnel_error(), b"\x01" * 4),
        ],
        Pass(),
    ),
    Row("I23", "echo with a wrong ICMP checksum", lambda: bad_icmp_sum(echo()), Drop(Reason.ICMP_CSUM)),
    Row("I23", "error with a wrong ICMP checksum", lambda: bad_icmp_sum(error(sent_by(w.WEB))), Enc(notes=RELAYED)),
]

SIZES = [
    Row("U01", "GRE: the limit", lambda: sized(1476), Enc()),
    Row("U01 U02 U05", "GRE: one byte more, DF", lambda: sized(1477, flags="DF"), TooBig(1476)),
    Row("U01", "IPIP: the limit", lambda: sized(1480, w.ECHO, 7000), Enc(w.ECHO, 6, 7000)),
    Row("U01 U02 U05", "IPIP: one byte more, DF", lambda: sized(1481, w.ECHO, 7000, flags="DF"), TooBig(1480)),
    Row("U02", "a full packet, DF", lambda: sized(1500, flags="DF"), TooBig(1476)),
    Row("U03", "without DF the edge does not fragment, it answers too", lambda: sized(1500), TooBig(1476)),
    Row(
        "U05",
        "the answer does not copy TOS, ID or fragment bits",
        lambda: sized(1500, tos=0xFF, id=65535),
        TooBig(1476),
    ),
    Row("U02", "UDP", lambda: udp(data=bytes(1480)), TooBig(1480)),
    Row("U05", "too big in a padded frame", lambda: sized(1500) + b"padding", TooBig(1476)),
    Row("U07", "an error that is too big", lambda: error(sent_by(w.WEB, length=1440)), Enc(notes=RELAYED)),
    Row(
        "U07",
        "an error that is too big is not answered",
        lambda: ether(packet(w.WEB, error(sent_by(w.WEB, length=1440))[34:] + bytes(40), w.STRANGER, proto=1)),
        Drop(Reason.TOOBIG),
    ),
    Row("U10", "a jumbo frame over a small underlay", lambda: sized(3400), TooBig(1476)),
]

ROWS = [*ICMP, *SIZES]
