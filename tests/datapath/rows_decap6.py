"""Catalogue rows of the decapsulator: IPv6 inside and outside, and the GRE key (B)."""

import struct
from typing import Any

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Decapsulated, Drop, Pass, notes
from tests.datapath.frames import (
    ETHERNET,
    cut,
    echo,
    ether,
    packet,
    patched,
    scapy,
    scapy6,
    tag,
    tcp,
    udp,
    with_header6,
)
from tests.datapath.row import Row
from tests.datapath.rows_decap import FIGURE_4, client
from tests.datapath.rows_ipv6 import (
    DESTINATION,
    FRAGMENT,
    HIP,
    HOP_BY_HOP,
    IMPOSSIBLE,
    MOBILITY,
    PADDED,
    ROUTING,
    SHIM6,
)

IPIP, SIX_IN_FOUR, GRE = 4, 41, 47
KINDS = {4: 0x0800, 6: 0x86DD}
SOURCES = {4: w.EDGE, 6: "2001:db8:5:0:77::9"}
OWNS = {4: w.OWN, 6: w.OWN6}
KEYED = struct.pack("!HHI", 0x2000, 0x0800, w.KEY)


def wrapped(
    inner: bytes,
    outer: int = 6,
    protocol: int | None = None,
    source: str = "",
    own: str = "",
    gre: bytes | None = None,
    **ip: Any,
) -> bytes:
    """A tunnel packet from an edge, with an outer header of version `outer` around an inner packet; GRE by default."""
    version = inner[0] >> 4 if inner else 4
    protocol = GRE if protocol is None else protocol
    header = struct.pack("!HH", 0, KINDS.get(version, 0x0800)) if gre is None else gre
    payload = (header if protocol == GRE else b"") + inner
    source, own = source or SOURCES[outer], own or OWNS[outer]
    if outer == 4:
        given = {"src": source, "dst": own, "proto": protocol, "flags": "DF", "id": 0, "ttl": 64, **ip}
        return ether(bytes(scapy().IP(**given) / payload))
    return ether(bytes(scapy6().IPv6(**{"src": source, "dst": own, "nh": protocol, "hlim": 64, **ip}) / payload))


def client6(**fields: Any) -> bytes:
    """What a client sent, as an IPv6 packet."""
    return tcp(w.WEB6, **fields)[ETHERNET:]


def tunnels(inner: bytes) -> list[bytes]:
    """The packet in every tunnel that can carry it."""
    plain = IPIP if inner[0] >> 4 == 4 else SIX_IN_FOUR
    return [wrapped(inner, outer, protocol) for outer in (4, 6) for protocol in (GRE, plain)]


def header(frame: bytes, kind: int, extension: bytes = PADDED) -> bytes:
    return with_header6(frame, kind, extension)[ETHERNET:]


def to(destination: str, protocol: int = 6) -> bytes:
    return packet(destination, bytes(40), nh=protocol)


def outer_length(frame: bytes, length: int) -> bytes:
    return patched(frame, 4, struct.pack("!H", length))


def inner_length(length: int) -> bytes:
    inner = client6()
    return inner[:4] + struct.pack("!H", length) + inner[6:]


def from_(source: str) -> bytes:
    return client6(ip={"src": source})


INTERNAL6 = (
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "ff02::1",
    "::1",
    "::",
    "::192.0.2.1",
    "::ffff:192.0.2.1",
    w.OWN6,
    w.MANAGEMENT6,
    w.EDGE6,
)
NEVER = (*IMPOSSIBLE, w.WEB6, w.ECHO6, "2001:db8:20:5::5", w.EDGE6, "2001:db8:5:0:77::1", w.OWN6, "2001:db8:9::2")
OVERHEADS = ((4, GRE, 24), (4, None, 20), (6, GRE, 44), (6, None, 40))
TWICE = (client, client6)

ACCEPTED = [
    *(
        Row(
            "B01 P2 E14",
            f"IPv{version} in IPv{outer}, {'GRE' if protocol else 'plain'}",
            lambda o=outer, p=protocol, v=version: [  # type: ignore[misc]
                wrapped(inner, o, p or (IPIP if v == 4 else SIX_IN_FOUR))
                for inner in (TWICE[v == 6](), TWICE[v == 6](data=bytes(1300)))
            ],
            Decapsulated(overhead),
        )
        for outer, protocol, overhead in OVERHEADS
        for version in (4, 6)
    ),
    Row(
        "B01",
        "whatever the inner transport is",
        lambda: (
            [wrapped(f[ETHERNET:]) for f in (udp(w.ECHO6), echo(w.WEB6), udp(w.WEB6, chksum=0))]
            + [wrapped(packet(w.WEB6, bytes(9), nh=k)) for k in (59, 132, 253)]
            + [wrapped(packet(w.WEB6, b"", nh=6))]
        ),
        Decapsulated(44),
    ),
    Row("B01 E05", "an edge's own address", lambda: wrapped(client6(), source=w.EDGE6), Decapsulated(44)),
    Row(
        "B01",
        "inner destination in a VIP prefix",
        lambda: [wrapped(tcp(d)[ETHERNET:]) for d in ("198.18.7.9", "2001:db8:20:9::9")],
        Decapsulated(44),
    ),
    Row(
        "B03",
        "for another address",
        lambda: [wrapped(client6(), own="2001:db8:9::77"), wrapped(client6(), own=w.WEB6)],
        Pass(),
    ),
    Row(
        "B14",
        "padding behind the inner packet, within the outer one or behind it",
        lambda: [wrapped(client6() + bytes(9)), wrapped(client6()) + bytes(9), wrapped(client()) + bytes(9)],
        Decapsulated(44, notes=notes(Note.DECAPSULATED, Note.TRIMMED)),
    ),
    Row(
        "B22",
        "ordinary traffic",
        lambda: [
            tcp(w.OWN6),
            udp(w.OWN6),
            echo(w.OWN6),
            tcp(w.WEB6),
            tcp(w.OWN6, ip={"hlim": 0}),
            outer_length(tcp(w.OWN6), 9999),
            ether(to(w.OWN6, 59)),
        ],
        Pass(),
    ),
    Row(
        "B12 B22",
        "a tunnel behind an outer extension header is the host's",
        lambda: [
            with_header6(wrapped(client6()), k, h)
            for k, h in (
                (HOP_BY_HOP, PADDED),
                (DESTINATION, PADDED),
                (FRAGMENT, bytes(8)),
                (ROUTING, bytes(2) + b"\0\0" + bytes(4)),
            )
        ],
        Pass(),
    ),
    Row("B22", "behind a tag", lambda: tag(wrapped(client6()), (0x8100, 5)), Pass(notes(Note.VLAN))),
]

REFUSED = [
    Row(
        "B02",
        "source that is no edge",
        lambda: (
            [wrapped(client6(), source=s) for s in (w.STRANGER6, w.CLIENT6, "2001:db8:5:0:78::1", w.OWN6, w.WEB6)]
            + [wrapped(client6(), 4, source=w.STRANGER), wrapped(client6(), 4, SIX_IN_FOUR, w.STRANGER)]
        ),
        Drop(Reason.BAD_OUTER),
    ),
    Row(
        "B04",
        "inner destination is a machine",
        lambda: [f for d in INTERNAL6 for f in tunnels(to(d))],
        Drop(Reason.INNER_DST),
    ),
    Row(
        "B05",
        "VIP that this backend does not serve",
        lambda: [f for d in (w.ANY6, "2001:db8:5::9") for f in tunnels(to(d))],
        Drop(Reason.MISDELIVERED),
    ),
    Row(
        "B06",
        "inner source that no client has",
        lambda: [f for s in NEVER for f in tunnels(from_(s))],
        Drop(Reason.MARTIAN),
    ),
    Row(
        "B07",
        "a tunnel in the tunnel",
        lambda: (
            [f for k in (4, 41, 47) for f in tunnels(to(w.WEB6, k))]
            + [wrapped(wrapped(client6())[ETHERNET:]), wrapped(wrapped(client(), 4)[ETHERNET:])]
        ),
        Drop(Reason.NESTED),
    ),
    Row(
        "B08",
        "GRE with a key where none is configured",
        lambda: [wrapped(client6(), o, gre=struct.pack("!HHI", 0x2000, 0x86DD, w.KEY)) for o in (4, 6)],
        Drop(Reason.KEY),
    ),
    Row(
        "B09",
        "GRE with other flags",
        lambda: [wrapped(client6(), gre=struct.pack("!HH", 1 << b, 0x86DD)) for b in range(16) if b != 13],
        Drop(Reason.GRE),
    ),
    Row(
        "B10",
        "GRE around something else",
        lambda: [wrapped(client6(), gre=struct.pack("!HH", 0, k)) for k in (0x6558, 0x883E, 0x8847, 0x88BE, 0)],
        Drop(Reason.GRE_PROTO),
    ),
    Row(
        "B11",
        "cut at every byte",
        lambda: [f for t in tunnels(client6()) for f in cut(t, range(14, len(t)))],
        Drop(Reason.TRUNC),
    ),
    Row(
        "B11",
        "outer length true, inner header cut at every byte",
        lambda: (
            [wrapped(client6()[:n], o, p) for o in (4, 6) for n in range(1, 40) for p in (GRE, SIX_IN_FOUR)]
            + [wrapped(b"", gre=b"\0\0\x86\xdd"[:n]) for n in range(5)]
        ),
        Drop(Reason.TRUNC),
    ),
    Row(
        "B11",
        "outer payload length beyond the frame",
        lambda: [outer_length(wrapped(client6()), n) for n in (105, 65535)],
        Drop(Reason.TRUNC),
    ),
    Row(
        "B11",
        "hop limit 0 outside or inside",
        lambda: [wrapped(client6(), hlim=0), *tunnels(client6(ip={"hlim": 0}))],
        Drop(Reason.TTL),
    ),
    Row(
        "B13",
        "tunnel type and inner version disagree",
        lambda: [
            *(wrapped(client6(), o, IPIP) for o in (4, 6)),
            *(wrapped(client(), o, SIX_IN_FOUR) for o in (4, 6)),
            *(wrapped(client6(), o, gre=b"\0\0\x08\0") for o in (4, 6)),
            *(wrapped(client(), o, gre=b"\0\0\x86\xdd") for o in (4, 6)),
        ],
        Drop(Reason.VERSION),
    ),
    Row(
        "B14",
        "inner length beyond the outer one",
        lambda: [f for n in (21, 1000, 65535) for f in tunnels(inner_length(n))],
        Drop(Reason.LEN),
    ),
    Row(
        "B23",
        "inner fragment header",
        lambda: [f for h in (bytes(8), PADDED) for f in tunnels(header(tcp(w.WEB6), FRAGMENT, h))],
        Drop(Reason.FRAG),
    ),
    Row("B23", "inner fragment header, cut", lambda: wrapped(packet(w.WEB6, bytes(3), nh=FRAGMENT)), Drop(Reason.FRAG)),
    Row(
        "B23 604",
        "inner extension headers",
        lambda: [f for k in (HOP_BY_HOP, DESTINATION, MOBILITY, HIP, SHIM6) for f in tunnels(header(tcp(w.WEB6), k))],
        Drop(Reason.V6_EXTHDR),
    ),
    Row("B23 606", "inner routing header", lambda: tunnels(header(tcp(w.WEB6), ROUTING)), Drop(Reason.RH)),
    Row("L11", "outer version", lambda: patched(wrapped(client6()), 0, b"\x45"), Drop(Reason.IP_VERSION)),
]


def keyed(key: bytes, flags: int = 0x2000, inner: bytes = b"", outer: int = 4) -> bytes:
    inner = inner or client6()
    return wrapped(inner, outer, gre=struct.pack("!HH", flags, KINDS[inner[0] >> 4]) + key)


RIGHT, WRONG = struct.pack("!I", w.KEY), struct.pack("!I", w.KEY ^ 1)
KEYS = [
    Row("B08", "the right key, IPv4", lambda: [keyed(RIGHT), keyed(RIGHT, inner=client())], Decapsulated(28), "keyed"),
    Row("B08", "the right key, IPv6", lambda: keyed(RIGHT, outer=6), Decapsulated(48), "keyed"),
    Row(
        "B08",
        "a wrong key",
        lambda: [keyed(k, outer=o) for k in (WRONG, bytes(4), RIGHT[::-1]) for o in (4, 6)],
        Drop(Reason.KEY),
        "keyed",
    ),
    Row("B08", "no key", lambda: [wrapped(client(), o) for o in (4, 6)], Drop(Reason.KEY), "keyed"),
    Row(
        "B08 B11",
        "key cut",
        lambda: [wrapped(b"", o, gre=KEYED[:n]) for o in (4, 6) for n in range(8)],
        Drop(Reason.TRUNC),
        "keyed",
    ),
    Row(
        "B09",
        "other flags beside the key",
        lambda: [keyed(RIGHT, f) for f in (0x3000, 0xA000, 0x2001)],
        Drop(Reason.GRE),
        "keyed",
    ),
    Row("B08 B15", "IPIP has no key", lambda: wrapped(client6(), protocol=SIX_IN_FOUR), Decapsulated(40), "keyed"),
]


def ecn_row(outer: int, inner: int, after: int) -> Row:
    moved = notes(Note.DECAPSULATED, Note.ECN_CE) if after == 3 != inner else notes(Note.DECAPSULATED)
    return Row(
        "E06 E07" if outer == 3 else "E06",
        f"IPv6 outside with ECN {outer:02b}, inside {inner:02b} is {after:02b}",
        lambda: [
            wrapped(client6(ip={"tc": 0xB8 | inner}), tc=0x48 | outer),
            wrapped(client(ip={"tos": 0xB8 | inner}), tc=outer),
        ],
        Decapsulated(44, after, moved),
    )


CONGESTION = [
    *(ecn_row(outer, inner, after) for inner, columns in FIGURE_4.items() for outer, after in columns.items()),
    *(
        Row(
            "E06 E07",
            f"IPv4 outside with ECN {outer:02b}, IPv6 inside {inner:02b} is {after:02b}",
            lambda o=outer, i=inner: wrapped(client6(ip={"tc": 0x40 | i}), 4, tos=o),  # type: ignore[misc]
            Decapsulated(24, after, notes(Note.DECAPSULATED, *((Note.ECN_CE,) if after == 3 != inner else ()))),
        )
        for inner, columns in FIGURE_4.items()
        for outer, after in columns.items()
    ),
    Row(
        "E08",
        "congestion marked outside, not ECN-capable inside",
        lambda: [wrapped(client6(), tc=3), wrapped(client(), tc=3), wrapped(client6(), 4, tos=3)],
        Drop(Reason.ECN),
    ),
]

ROWS = [*ACCEPTED, *REFUSED, *KEYS, *CONGESTION]
