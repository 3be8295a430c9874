"""Catalogue rows of the forwarder: VLAN tags where they are handled (L05, L06)."""

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Drop, EchoReply, Enc, Pass, TooBig, notes
from tests.datapath.frames import cut, echo, error, ether, sent_by, tag, tcp, udp, with_options
from tests.datapath.row import Row
from tests.datapath.rows_icmp import sized, tunnel_error
from tests.datapath.rows_icmp6 import tunnel_error as tunnel_error6
from tests.datapath.rows_ipv6 import neighbour, sized6

ONE, PRIORITY = ((0x8100, 100),), ((0x8100, 0xE000),)
TWO = ((0x88A8, 5), (0x8100, 6))
TAGS = (ONE, PRIORITY, TWO, ((0x88A8, 4095),), ((0x8100, 1), (0x8100, 2)))
THREE = ((0x88A8, 5), (0x88A8, 6), (0x8100, 7))


def tagged(*frames: bytes) -> list[bytes]:
    """Each frame behind each pile of tags."""
    return [tag(frame, *tags) for frame in frames for tags in TAGS]


def row(ids: str, text: str, frames: object, expect: object) -> Row:
    return Row(ids, text, frames, expect, "tagged")  # type: ignore[arg-type]


ROWS = [
    row("L05 L06", "IPv4 behind tags", lambda: tagged(tcp(), tcp(data=bytes(99))), Enc()),
    row("L05 L06", "IPv6 behind tags", lambda: tagged(tcp(w.WEB6)), Enc(w.WEB6)),
    row("L05", "without a tag", lambda: [tcp()], Enc()),
    row("L05 E12", "from one VLAN into another", lambda: tagged(tcp(w.BEHIND_TAG)), Enc(w.BEHIND_TAG)),
    row("L05 E14", "outer IPv6", lambda: tagged(udp(w.SIX6)), Enc(w.SIX6, 17, 7000)),
    row("L05 L12", "padding is cut off", lambda: tagged(tcp() + b"padding"), Enc(notes=notes(Note.TRIMMED))),
    row("L05 I01", "echo is answered in the same VLAN", lambda: tagged(echo(), echo(w.WEB6)), EchoReply()),
    row(
        "L05 I01",
        "echo in a padded frame",
        lambda: tagged(echo() + b"pad", echo(w.WEB6) + b"pad"),
        EchoReply(notes(Note.ECHO_REPLY, Note.TRIMMED)),
    ),
    row("L05 U02", "too big is answered in the same VLAN", lambda: tagged(sized(1500)), TooBig(1476)),
    row("L05 U04", "so is IPv6", lambda: tagged(sized6(1500), sized6(1477)), TooBig(1476)),
    row(
        "L05 I07",
        "an ICMP error",
        lambda: tagged(error(sent_by(w.WEB))),
        Enc(notes=notes(Note.ICMP_RELAYED)),
    ),
    row("L05 E13", "backend on this host: the tags stay", lambda: tagged(tcp(w.LOCAL)), Pass(notes(Note.LOCAL))),
    row("L06", "three tags", lambda: [tag(f, *THREE) for f in (tcp(), tcp(w.WEB6))], Pass(notes(Note.VLAN))),
    row(
        "L06",
        "three tags, the last one cut",
        lambda: cut(tag(tcp(), *THREE), range(22, 27)),
        Pass(notes(Note.VLAN)),
    ),
    row(
        "L05",
        "a tag and something that is not IP",
        lambda: tagged(ether(bytes(28), kind=0x0806), ether(bytes(40), kind=0x8847), ether(bytes(9), kind=0x0030)),
        Pass(notes(Note.VLAN)),
    ),
    row(
        "L06",
        "tag cut, and the IP header behind it",
        lambda: [
            *cut(tag(tcp(), *ONE), range(14, 38)),
            *cut(tag(tcp(w.WEB6), *ONE), range(14, 58)),
            *cut(tag(tcp(), *TWO), range(14, 42)),
        ],
        Drop(Reason.TRUNC),
    ),
    row("L05 L11", "version nibble", lambda: tagged(ether(b"\x65" + tcp()[15:], kind=0x0800)), Drop(Reason.IP_VERSION)),
    row("L05 S01", "not for a VIP: as it is", lambda: tagged(tcp(w.HOST), tcp(w.FREE6), udp(w.FREE)), Pass()),
    row("L05 617", "discovery for a VIP", lambda: tagged(neighbour(135)), Pass()),
    row(
        "L05 L09",
        "MAC of another station",
        lambda: tagged(ether(tcp()[14:], w.ROUTER_MAC)),
        Pass(notes(Note.OTHER_HOST)),
    ),
    row("L05 L07", "broadcast MAC", lambda: tagged(ether(tcp()[14:], b"\xff" * 6)), Drop(Reason.L2_BCAST)),
    row("L05 403", "IPv4 options", lambda: tagged(with_options(tcp(), b"\x01" * 4)), Drop(Reason.IP_OPTIONS)),
    row("L05 T08", "port without a service", lambda: tagged(tcp(dport=22), tcp(w.WEB6, 22)), Drop(Reason.NO_SERVICE)),
    row("L05 U01", "the limit does not count tags", lambda: tagged(sized(1476)), Enc()),
    row(
        "L05 I22",
        "errors about our own tunnels",
        lambda: tagged(tunnel_error(), tunnel_error6()),
        Pass(notes(Note.ENCAP_PTB)),
    ),
]
