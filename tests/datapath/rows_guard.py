"""Catalogue rows of the forwarder: protection (428, T24, H05) and default deny."""

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Drop, EchoReply, Enc, Pass, TooBig, notes
from tests.datapath.frames import echo, error, ether, packet, patched, sent_by, tcp, udp, with_options
from tests.datapath.row import Row
from tests.datapath.rows_icmp import sized
from tests.datapath.rows_ipv6 import fragment, lengths

PRIVATE = ("10.9.8.7", "10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.0", "192.168.255.255")
PUBLIC = ("11.0.0.1", "9.255.255.255", "172.15.255.255", "172.32.0.1", "192.167.255.255", "192.169.0.1", "100.64.0.1")
REFUSED = ("192.0.2.1", "192.0.2.127", "198.51.100.77")
WATCHED = ("192.0.2.128", "192.0.2.255", "198.51.100.78")
REFUSED6, WATCHED6 = (
    ("2001:db8:bad::1", "2001:db8:bad:ffff::", "2001:db8:c::bad"),
    ("2001:db8:bad:1::", "2001:db8:bad:1::ff"),
)
SEEN = Note.BLOCK_DRY_RUN


def row(ids: str, text: str, frames: object, expect: object) -> Row:
    return Row(ids, text, frames, expect, "guarded")  # type: ignore[arg-type]


def spoiled(frame: bytes) -> bytes:
    """Its header checksum is wrong."""
    return patched(frame, 10, b"\0\1", fix=False)


PROTECTION = [
    row("428", "private sources", lambda: [tcp(ip={"src": s}) for s in PRIVATE], Drop(Reason.MARTIAN)),
    row(
        "428",
        "private IPv6 sources",
        lambda: [tcp(w.WEB6, ip={"src": s}) for s in ("fc00::1", "fd00::1", "fdff:ffff::")],
        Drop(Reason.MARTIAN),
    ),
    *(row("428", f"{s} is not private", lambda s=s: tcp(ip={"src": s}), Enc(client=s)) for s in PUBLIC),
    row(
        "H05", "blocked sources", lambda: [f(ip={"src": s}) for s in REFUSED for f in (tcp, echo)], Drop(Reason.BLOCKED)
    ),
    row("H05", "blocked IPv6 sources", lambda: [tcp(w.WEB6, ip={"src": s}) for s in REFUSED6], Drop(Reason.BLOCKED)),
    *(
        row("H05", f"{s} is only counted", lambda s=s: tcp(ip={"src": s}), Enc(client=s, notes=notes(SEEN)))
        for s in WATCHED
    ),
    *(
        row(
            "H05",
            f"{s} is only counted",
            lambda s=s: tcp(w.WEB6, ip={"src": s}),
            Enc(w.WEB6, client=s, notes=notes(SEEN)),
        )
        for s in WATCHED6
    ),
    row("H05", "beside the blocked", lambda: tcp(ip={"src": "198.51.100.76"}), Enc(client="198.51.100.76")),
    row(
        "H05",
        "counted, then dropped for something else",
        lambda: [tcp(dataofs=4, ip={"src": WATCHED[0]}), tcp(w.WEB6, dataofs=4, ip={"src": WATCHED6[0]})],
        Drop(Reason.L4, notes(SEEN)),
    ),
    row(
        "H05",
        "counted, then no backend",
        lambda: tcp(w.EMPTY, ip={"src": WATCHED[0]}),
        Drop(Reason.NO_BACKEND, notes(SEEN)),
    ),
    row("H05", "counted, and too big", lambda: sized(1500, src=WATCHED[0]), TooBig(1476, notes(Note.PTB_SENT, SEEN))),
    row("H05", "counted, and echo", lambda: echo(ip={"src": WATCHED[0]}), EchoReply(notes(Note.ECHO_REPLY, SEEN))),
    row(
        "H05", "counted, and on this host", lambda: tcp(w.LOCAL, ip={"src": WATCHED[0]}), Pass(notes(Note.LOCAL, SEEN))
    ),
    row(
        "H05 H06",
        "blocked sources reach the host",
        lambda: [tcp(w.HOST, ip={"src": REFUSED[0]}), tcp(w.HOST6, ip={"src": REFUSED6[0]})],
        Pass(),
    ),
    row("H05 427", "a martian is no matter of the list", lambda: tcp(ip={"src": w.EDGE}), Drop(Reason.MARTIAN)),
    row(
        "T24",
        "reflected DNS, NTP, SSDP, memcached",
        lambda: [udp(v, sport=p) for v in (w.ECHO, w.ECHO6) for p in (53, 123, 1900, 11211)],
        Drop(Reason.ACL),
    ),
    row("T24", "TCP from these ports", lambda: tcp(sport=53), Enc(client_port=53)),
    row("T24", "ports beside them", lambda: udp(sport=54), Enc(w.ECHO, 17, 7000, 54)),
    row(
        "T24 I21",
        "an error about a flow to such a port",
        lambda: error(sent_by(w.ECHO, 17, 7000, 53), w.ECHO, source="198.51.100.1"),
        Enc(w.ECHO, 17, 7000, 53, notes=notes(Note.ICMP_RELAYED)),
    ),
    row("T24", "such a port of a UDP header that is cut", lambda: udp(sport=53, len=7), Drop(Reason.LEN)),
]

UNPROTECTED = [
    Row("428", "private IPv6 source", lambda: tcp(w.WEB6, ip={"src": "fd00::1"}), Enc(w.WEB6, client="fd00::1")),
    Row("H05", "the block list is not asked", lambda: tcp(ip={"src": REFUSED[0]}), Enc(client=REFUSED[0])),
    Row("T24", "reflection ports are ports", lambda: udp(sport=53), Enc(w.ECHO, 17, 7000, 53)),
]

# What a flood is made of is refused before a checksum is computed or a source looked up.
DEFAULT_DENY = [
    Row(
        "T08 H04",
        "no service: before lengths, checksum, TTL and source",
        lambda: [
            spoiled(tcp(dport=22)),
            tcp(dport=22, ip={"ttl": 0}),
            tcp(dport=22, ip={"src": "127.0.0.1"}),
            patched(tcp(dport=22), 2, b"\xff\xff"),
            patched(tcp(dport=22), 2, b"\0\x13"),
            tcp(dport=22, dataofs=0),
            tcp(dport=22)[:42],
            udp(dport=7001, len=0),
        ],
        Drop(Reason.NO_SERVICE),
    ),
    Row(
        "T08 H04",
        "the same in IPv6",
        lambda: [
            tcp(w.WEB6, 22, ip={"hlim": 0}),
            tcp(w.WEB6, 22, ip={"src": "::1"}),
            lengths(tcp(w.WEB6, 22), 0),
            lengths(tcp(w.WEB6, 22), 65535),
            tcp(w.WEB6, 22)[:62],
        ],
        Drop(Reason.NO_SERVICE),
    ),
    Row(
        "T04 H04",
        "port 0: likewise",
        lambda: [spoiled(tcp(sport=0)), tcp(w.WEB6, sport=0, ip={"hlim": 0})],
        Drop(Reason.PORT0),
    ),
    Row(
        "T21 H04",
        "GUE: likewise",
        lambda: [spoiled(udp(dport=6080)), udp(w.WEB6, 6080, ip={"hlim": 0})],
        Drop(Reason.NESTED),
    ),
    Row("T08", "seven bytes hold no verdict on ports", lambda: [tcp(dport=22)[:41]], Drop(Reason.LEN)),
    Row("T08 417", "a fragment has none either", lambda: patched(tcp(dport=22), 6, b"\x20\0"), Drop(Reason.FRAG)),
    Row(
        "T08 403",
        "nor has a packet with options",
        lambda: with_options(tcp(dport=22), b"\x01" * 4),
        Drop(Reason.IP_OPTIONS),
    ),
    Row("T08 608", "nor an IPv6 fragment", lambda: fragment(0, 1, tcp(w.WEB6, 22)), Drop(Reason.FRAG)),
    Row("T08 L07", "MACs come first", lambda: b"\xff" * 6 + tcp(dport=22)[6:], Drop(Reason.L2_BCAST)),
]

# An empty slot of a table is all zeros: it must not be taken for a service of the address 0, protocol 0, port 0.
ZEROS = [
    Row(
        "S01",
        "zeros where an empty slot of a table has them",
        lambda: [
            ether(packet("0.0.0.0", bytes(40), proto=0)),
            ether(packet("::", bytes(40), nh=0)),
            ether(packet("::", b"\x9c\x40" + bytes(40), nh=0)),
            ether(packet("0.0.0.0", b"\x9c\x40" + bytes(40), proto=0)),
            ether(packet("::", b"\x9c\x40\0\0\0\x09\0\0x", nh=0)),
            ether(packet("0.0.0.0", b"\x9c\x40\0\0\0\x09\0\0x", proto=0)),
            *(tcp(d, 0) for d in ("0.0.0.0", "::")),
            *(udp(d, 0) for d in ("0.0.0.0", "::")),
        ],
        Pass(),
    ),
    Row(
        "424",
        "source and destination zero",
        lambda: [ether(packet("::", bytes(40), "::", nh=0)), ether(packet("0.0.0.0", bytes(40), "0.0.0.0", proto=0))],
        Pass(),
    ),
]

ROWS = [*PROTECTION, *UNPROTECTED, *DEFAULT_DENY, *ZEROS]
