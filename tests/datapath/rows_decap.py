"""Catalogue rows of the decapsulator: B, and ECN out of E."""

import struct
from collections.abc import Callable
from typing import Any

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Decapsulated, Drop, Pass, notes
from tests.datapath.frames import ETHERNET, cut, ether, packet, patched, scapy, tcp, udp, with_options
from tests.datapath.row import Row

GRE, IPIP = 47, 4
BOTH = (GRE, IPIP)
MARTIANS = ("127.0.0.1", "0.0.0.1", "224.0.0.1", "255.255.255.255", "169.254.1.1")
NEVER_CLIENTS = (*MARTIANS, w.WEB, w.ECHO, w.EDGE, w.OTHER_EDGE, "10.77.9.9", "100.64.7.9", w.OWN, "10.0.9.2")
MACHINES = (w.OWN, w.MANAGEMENT, "10.1.2.3", "192.168.0.9", "172.31.1.1", "127.0.0.1")


def wrapped(
    inner: bytes, protocol: int = GRE, source: str = w.EDGE, own: str = w.OWN, gre: bytes = b"\0\0\x08\0", **ip: Any
) -> bytes:
    """A tunnel packet from an edge to the backend around the bytes of an inner packet."""
    outer = scapy().IP(**{"src": source, "dst": own, "proto": protocol, "flags": "DF", "id": 0, "ttl": 64, **ip})
    return ether(bytes(outer / ((gre if protocol == GRE else b"") + inner)))


def client(frame: Callable[..., bytes] = tcp, **fields: Any) -> bytes:
    """What a client sent, as an IPv4 packet."""
    return frame(**fields)[ETHERNET:]


def to(destination: str, protocol: int = 6) -> bytes:
    return packet(destination, bytes(40), proto=protocol)


def from_(source: str) -> bytes:
    return client(ip={"src": source})


def both(inner: bytes) -> list[bytes]:
    return [wrapped(inner, protocol) for protocol in BOTH]


def spoiled(inner: bytes) -> bytes:
    return inner[:10] + bytes((inner[10] ^ 1,)) + inner[11:]


def depth(levels: int, protocol: int, middle: str) -> bytes:
    inner = client()
    for _ in range(levels):
        inner = wrapped(inner, protocol, own=middle)[ETHERNET:]
    return wrapped(inner, protocol)


ACCEPTED = [
    Row("B01 P2", "GRE from an edge", lambda: [wrapped(client(f)) for f in (tcp, udp)], Decapsulated(24)),
    Row("B01 P2", "IPIP from an edge", lambda: [wrapped(client(f), IPIP) for f in (tcp, udp)], Decapsulated(20)),
    Row(
        "B01",
        "every inner size",
        lambda: [wrapped(client(data=bytes(n))) for n in (0, 1, 7, 1400, 1436)],
        Decapsulated(24),
    ),
    Row("B01 E05", "source out of an edge's prefix", lambda: wrapped(client(), source="10.77.3.9"), Decapsulated(24)),
    Row("B03", "for another address", lambda: [wrapped(client(), p, own="10.0.9.9") for p in BOTH], Pass()),
    Row("B03", "for a VIP", lambda: [wrapped(client(), p, own=w.WEB) for p in BOTH], Pass()),
    Row(
        "B14",
        "padding behind the inner packet, within the outer one or behind it",
        lambda: [wrapped(client() + bytes(9)), wrapped(client()) + bytes(9), wrapped(client() + b"xy") + bytes(2)],
        Decapsulated(24, notes=notes(Note.DECAPSULATED, Note.TRIMMED)),
    ),
    Row(
        "B22",
        "ordinary traffic",
        lambda: [
            tcp(w.OWN, 80),
            udp(w.OWN),
            tcp(w.MANAGEMENT),
            tcp(w.WEB),
            with_options(tcp(w.OWN), b"\x01" * 4),
            patched(tcp(w.OWN), 6, b"\x20\0"),
            patched(tcp(w.OWN), 10, b"\0\0", fix=False),
        ],
        Pass(),
    ),
    Row("B22", "ARP", lambda: ether(bytes(28), kind=0x0806), Pass()),
    Row("B22", "VLAN tag", lambda: ether(bytes(60), kind=0x8100), Pass(notes(Note.VLAN))),
    Row("B22", "IPv6", lambda: ether(b"\x60" + bytes(60)), Pass()),
]

REFUSED = [
    Row(
        "B02",
        "source that is no edge",
        lambda: [wrapped(client(), p, s) for p in BOTH for s in (w.STRANGER, w.CLIENT, "10.78.0.1", w.OWN, w.WEB)],
        Drop(Reason.BAD_OUTER),
    ),
    Row(
        "B04",
        "inner destination is a machine",
        lambda: [f for d in MACHINES for f in both(to(d))],
        Drop(Reason.INNER_DST),
    ),
    Row(
        "B04",
        "inner destination is an edge",
        lambda: [f for d in (w.EDGE, "10.77.1.1", "100.64.7.9") for f in both(to(d))],
        Drop(Reason.INNER_DST),
    ),
    Row("B05", "VIP that this backend does not serve", lambda: both(to(w.ANY)), Drop(Reason.MISDELIVERED)),
    Row(
        "B06",
        "inner source martian, VIP, edge, backend, loopback",
        lambda: [f for s in NEVER_CLIENTS for f in both(from_(s))],
        Drop(Reason.MARTIAN),
    ),
    Row(
        "B07",
        "a tunnel in the tunnel, to a VIP or to ourselves, 2, 3 and 20 deep",
        lambda: [depth(n, p, m) for n in (1, 2, 19) for p in BOTH for m in (w.WEB, w.OWN)] + both(to(w.WEB, 41)),
        Drop(Reason.NESTED),
    ),
    Row("B08", "GRE with a key", lambda: wrapped(b"\0\0\0\1" + client(), gre=b"\x20\0\x08\0"), Drop(Reason.KEY)),
    Row(
        "B09",
        "GRE with checksum, routing, sequence, strict route, recursion, reserved bits or version 1",
        lambda: (
            [wrapped(client(), gre=struct.pack("!HH", 1 << b, 0x0800)) for b in range(16) if b != 13]
            + [wrapped(client(), gre=b"\x30\0\x08\0")]
        ),
        Drop(Reason.GRE),
    ),
    Row(
        "B10",
        "GRE around Ethernet, WCCP, MPLS, ERSPAN, nothing",
        lambda: [wrapped(client(), gre=struct.pack("!HH", 0, k)) for k in (0x6558, 0x883E, 0x8847, 0x88BE, 0)],
        Drop(Reason.GRE_PROTO),
    ),
    Row("B11", "GRE cut at every byte", lambda: cut(wrapped(client()), range(14, 78)), Drop(Reason.TRUNC)),
    Row("B11", "IPIP cut at every byte", lambda: cut(wrapped(client(), IPIP), range(14, 74)), Drop(Reason.TRUNC)),
    Row(
        "B11",
        "outer length true, inner header cut at every byte",
        lambda: (
            [f for n in range(20) for f in both(client()[:n])] + [wrapped(b"", gre=b"\0\0\x08\0"[:n]) for n in range(4)]
        ),
        Drop(Reason.TRUNC),
    ),
    Row(
        "B12",
        "outer fragment",
        lambda: [patched(f, 6, b) for f in both(client()) for b in (b"\x20\0", b"\0\1", b"\x60\0")],
        Drop(Reason.FRAG),
    ),
    Row(
        "B12", "outer options", lambda: [with_options(f, b"\x01" * 4) for f in both(client())], Drop(Reason.IP_OPTIONS)
    ),
    Row("B13", "inner nibble 6", lambda: both(b"\x60" + client()[1:]), Drop(Reason.VERSION)),
    Row("B14", "inner length beyond the outer one", lambda: both(client()[:-1]), Drop(Reason.LEN)),
    Row(
        "B14", "inner length below its header", lambda: both(client()[:2] + b"\0\x13" + client()[4:]), Drop(Reason.LEN)
    ),
    Row(
        "B23",
        "inner fragment",
        lambda: [f for b in (b"\x20\0", b"\0\1") for f in both(client()[:6] + b + client()[8:])],
        Drop(Reason.CSUM),
    ),
    Row(
        "B23",
        "inner fragment with the right checksum",
        lambda: [f for b in (b"\x20\0", b"\0\1") for f in both(patched(tcp(), 6, b)[ETHERNET:])],
        Drop(Reason.FRAG),
    ),
    Row("B11", "inner IHL below 5", lambda: both(b"\x44" + client()[1:]), Drop(Reason.IHL)),
    Row("B04", "inner options", lambda: both(with_options(tcp(), b"\x01" * 4)[ETHERNET:]), Drop(Reason.IP_OPTIONS)),
    Row(
        "B11",
        "wrong outer checksum",
        lambda: [patched(f, 10, b"\0\0", fix=False) for f in both(client())],
        Drop(Reason.CSUM),
    ),
    Row("B11", "wrong inner checksum", lambda: both(spoiled(client())), Drop(Reason.CSUM)),
    Row(
        "B11",
        "TTL 0 outside or inside",
        lambda: [wrapped(client(), ttl=0), *both(client(ip={"ttl": 0}))],
        Drop(Reason.TTL),
    ),
    Row("B11", "outer length below its header", lambda: patched(wrapped(client()), 2, b"\0\x13"), Drop(Reason.LEN)),
    Row("L11", "outer version", lambda: patched(wrapped(client()), 0, b"\x65"), Drop(Reason.IP_VERSION)),
]


def ecn_row(outer: int, inner: int, after: int) -> Row:
    moved = notes(Note.DECAPSULATED, Note.ECN_CE) if after == 3 != inner else notes(Note.DECAPSULATED)
    return Row(
        "E06 E07" if outer == 3 else "E06",
        f"ECN {outer:02b} outside and {inner:02b} inside is {after:02b}",
        lambda: wrapped(client(ip={"tos": 0xB8 | inner}), tos=outer),
        Decapsulated(24, after, moved),
    )


# RFC 6040, figure 4: the rows are the inner field, the columns the outer one. Not-ECT under CE is dropped.
NOT_ECT, ECT1, ECT0, CE = range(4)
FIGURE_4 = {
    NOT_ECT: {NOT_ECT: NOT_ECT, ECT0: NOT_ECT, ECT1: NOT_ECT},
    ECT0: {NOT_ECT: ECT0, ECT0: ECT0, ECT1: ECT1, CE: CE},
    ECT1: {NOT_ECT: ECT1, ECT0: ECT1, ECT1: ECT1, CE: CE},
    CE: {NOT_ECT: CE, ECT0: CE, ECT1: CE, CE: CE},
}
CONGESTION = [
    *(ecn_row(outer, inner, after) for inner, columns in FIGURE_4.items() for outer, after in columns.items()),
    Row(
        "E08",
        "congestion marked outside, not ECN-capable inside",
        lambda: [wrapped(client(), p, tos=CE) for p in BOTH],
        Drop(Reason.ECN),
    ),
]

ROWS = [*ACCEPTED, *REFUSED, *CONGESTION]
