"""Catalogue rows of the forwarder: VIP prefixes, any-port services, hash modes (S06, T05, T17), QUIC ids (T16-T19)."""

import struct

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Drop, EchoReply, Enc, notes
from tests.datapath.frames import echo, error, sent_by, tcp, udp
from tests.datapath.row import Row

IN_NET, IN_INNER = "198.18.7.1", "198.18.7.129"
IN_NET6, IN_INNER6 = "2001:db8:20:2::1", "2001:db8:20:1::2"
RELAYED, ROUTED, UNKNOWN = notes(Note.ICMP_RELAYED), notes(Note.CID_ROUTED), notes(Note.CID_UNKNOWN)
OTHERS = (40001, 40002, 50000)
V1, V2 = 1, 0x6B3343CF


def cid(server: int, config: int = w.QUIC_LB.config_id, random: int = 5, length: int = 8) -> bytes:
    """A connection id in the plaintext form."""
    return (bytes((config << 5 | random,)) + server.to_bytes(2, "big") + bytes(range(100, 120)))[:length]


def long_header(kind: int, identity: bytes, version: int = V1, length: int | None = None) -> bytes:
    first = bytes((0xC0 | kind << 4,)) + struct.pack("!I", version)
    return first + bytes((len(identity) if length is None else length,)) + identity + bytes(30)


def short_header(identity: bytes, first: int = 0x40) -> bytes:
    return bytes((first,)) + identity + bytes(20)


def quic(payload: bytes, vip: str = w.QUIC, sport: int = 40000, **fields: object) -> bytes:
    return udp(vip, 443, sport, payload, **fields)  # type: ignore[arg-type]


def by_hash(vip: str, found: frozenset[Note] = frozenset(), port: int = 40000) -> Enc:
    return Enc(vip, 17, 443, port, notes=found)


PREFIXES = [
    Row(
        "S06",
        "every address of a VIP prefix",
        lambda: [tcp("198.18.7.0"), tcp(IN_NET), tcp("198.18.7.127")],
        Enc(w.NET),
    ),
    Row(
        "S06",
        "the longer prefix decides",
        lambda: [tcp("198.18.7.128", 81), tcp(IN_INNER, 81)],
        Enc(w.NET_INNER, vip_port=81),
    ),
    Row("S06", "the single address before prefixes", lambda: tcp(w.NET_ONE, 82), Enc(w.NET_ONE, vip_port=82)),
    Row(
        "S06 T08",
        "a service of the prefix around is none of the one within",
        lambda: [tcp(IN_INNER, 80), tcp(w.NET_ONE, 80), tcp(w.NET_ONE, 81), tcp(IN_NET, 81)],
        Drop(Reason.NO_SERVICE),
    ),
    Row("S06", "every address of an IPv6 VIP prefix", lambda: [tcp("2001:db8:20::"), tcp(IN_NET6)], Enc(w.NET6)),
    Row("S06", "the longer IPv6 prefix decides", lambda: tcp(IN_INNER6, 81), Enc(w.NET6_INNER, vip_port=81)),
    Row("S06", "the single IPv6 address before prefixes", lambda: tcp(w.NET6_ONE, 82), Enc(w.NET6_ONE, vip_port=82)),
    Row(
        "S06 T08",
        "a service of the IPv6 prefix around is none of the one within",
        lambda: [tcp(IN_INNER6, 80), tcp(w.NET6_ONE, 80), tcp(w.NET6_ONE, 81), tcp(IN_NET6, 81)],
        Drop(Reason.NO_SERVICE),
    ),
    Row("S06 I01", "a prefix answers echo", lambda: [echo(IN_INNER), echo(IN_NET6)], EchoReply()),
    Row(
        "S06 I04",
        "the prefixes beside it do not",
        lambda: [echo(IN_NET), echo(w.NET_ONE), echo(IN_INNER6), echo(w.NET6_ONE)],
        Drop(Reason.ECHO_UNSERVED),
    ),
    Row(
        "S06 425",
        "source in a VIP prefix",
        lambda: [tcp(ip={"src": IN_NET}), tcp(ip={"src": IN_INNER})],
        Drop(Reason.MARTIAN),
    ),
    Row(
        "S06 I07",
        "an error about a flow of a prefix",
        lambda: error(sent_by(IN_NET), IN_NET),
        Enc(w.NET, notes=RELAYED),
    ),
    Row("S06 I09", "the same in IPv6", lambda: error(sent_by(IN_NET6), IN_NET6), Enc(w.NET6, notes=RELAYED)),
    Row(
        "S06 I16",
        "an error about another address of the prefix",
        lambda: [error(sent_by("198.18.7.2"), IN_NET), error(sent_by("2001:db8:20:2::9"), IN_NET6)],
        Drop(Reason.ICMP_MISMATCH),
    ),
]

ANY_PORT = [
    *(
        Row("S06", f"any-port service of IPv6, TCP port {p}", lambda p=p: tcp(w.ANY6, p), Enc(w.ANY6, vip_port=p))  # type: ignore[misc]
        for p in (1, 443, 65535)
    ),
    Row("S06", "the exact port has its own pool", lambda: tcp(w.ANY6, 80), Enc(w.ANY6, vip_port=80)),
    Row("S06", "any-port service of UDP", lambda: udp(w.ANY6, 53), Enc(w.ANY6, 17, 53)),
    Row("S06 T21", "GUE's port of an any-port service is a port", lambda: udp(w.ANY6, 6080), Enc(w.ANY6, 17, 6080)),
    Row("S06", "TCP alone: UDP has no service", lambda: udp(w.ANY, 80), Drop(Reason.NO_SERVICE)),
    *(
        Row(
            "S06",
            f"any port by client and vip port, port {p}",
            lambda p=p: tcp(w.AFFINE_ANY, p),  # type: ignore[misc]
            Enc(w.AFFINE_ANY, vip_port=p),
        )
        for p in (1, 80, 9999)
    ),
]

HASH_MODES = [
    *(
        Row("T05 T17", f"by client alone, port {p}", lambda p=p: tcp(w.AFFINE, sport=p), Enc(w.AFFINE))  # type: ignore[misc]
        for p in OTHERS
    ),
    Row(
        "T05",
        "by client alone: UDP and another port too",
        lambda: [udp(w.AFFINE, 80), tcp(w.AFFINE, 81)],
        Enc(w.AFFINE),
    ),
    *(
        Row("T05", f"by client alone: client {c}", lambda c=c: tcp(w.AFFINE, ip={"src": c}), Enc(w.AFFINE, client=c))  # type: ignore[misc]
        for c in ("198.51.100.8", "198.51.100.9", "8.8.8.8")
    ),
    Row(
        "T05",
        "by client and vip port: any client port",
        lambda: [tcp(w.PORTED, sport=p) for p in OTHERS],
        Enc(w.PORTED),
    ),
    Row("T05", "by client and vip port: another port", lambda: tcp(w.PORTED, 81), Enc(w.PORTED, vip_port=81)),
    Row("T05", "by client and vip port: another protocol", lambda: udp(w.PORTED, 80), Enc(w.PORTED, 17)),
    Row(
        "T05",
        "IPv6 by client alone",
        lambda: [tcp(w.AFFINE6, sport=p) for p in OTHERS] + [udp(w.AFFINE6, 80)],
        Enc(w.AFFINE6),
    ),
    Row(
        "T05 I10",
        "errors hash what their flow does",
        lambda: [error(sent_by(w.AFFINE, dport=p), w.AFFINE) for p in OTHERS],
        Enc(w.AFFINE, notes=RELAYED),
    ),
    Row(
        "T05 I10",
        "errors by client and vip port",
        lambda: [error(sent_by(w.PORTED, dport=p), w.PORTED) for p in OTHERS],
        Enc(w.PORTED, notes=RELAYED),
    ),
]

QUIC = [
    *(
        Row(
            "T17",
            f"short header of server {server:#x}, to {vip}, from any port",
            lambda s=server, v=vip: (
                [quic(short_header(cid(s)), v, sport=p) for p in (40000,)]  # type: ignore[misc]
                + [
                    quic(short_header(cid(s, random=r, length=n), first), v)
                    for r in (0, 31)
                    for n, first in ((3, 0), (20, 0x7F))
                ]
            ),
            Enc(vip, 17, 443, notes=ROUTED, named=backend),
        )
        for server, backend in w.SERVERS.items()
        for vip in (w.QUIC, w.QUIC6)
    ),
    *(
        Row(
            "T17",
            f"migration to port {port}: the same server",
            lambda p=port: quic(short_header(cid(0x0102)), sport=p),  # type: ignore[misc]
            Enc(w.QUIC, 17, 443, port, notes=ROUTED, named=18),
        )
        for port in OTHERS
    ),
    Row(
        "T16 T17",
        "Handshake of versions 1 and 2",
        lambda: [
            quic(long_header(2, cid(0x0102))),
            quic(long_header(3, cid(0x0102), V2)),
            quic(long_header(2, cid(0x0102, length=3))),
        ],
        Enc(w.QUIC, 17, 443, notes=ROUTED, named=18),
    ),
    Row(
        "T16",
        "Initial, 0-RTT, Retry, version negotiation and unknown versions by their ports",
        lambda: [
            *(quic(long_header(k, cid(0x0102))) for k in (0, 1, 3)),
            *(quic(long_header(k, cid(0x0102), V2)) for k in (0, 1, 2)),
            *(quic(long_header(2, cid(0x0102), v)) for v in (0, 2, 0xFF00001D, 0xFFFFFFFF)),
        ],
        by_hash(w.QUIC),
    ),
    Row(
        "T18",
        "server that is unknown, or of another pool",
        lambda: (
            [quic(short_header(cid(s))) for s in (0, 0x0103, w.OTHER_SERVER, 0xFFFE)]
            + [quic(long_header(2, cid(0x0103)))]
        ),
        by_hash(w.QUIC, UNKNOWN),
    ),
    Row(
        "T18",
        "connection id of another configuration, or of none",
        lambda: [quic(short_header(cid(0x0102, config))) for config in (0, 1, 3, 6, 7)],
        by_hash(w.QUIC, UNKNOWN),
    ),
    Row("T18", "unknown server, IPv6", lambda: quic(short_header(cid(0x0103)), w.QUIC6), by_hash(w.QUIC6, UNKNOWN)),
    Row(
        "T19",
        "cut before the server id ends",
        lambda: (
            [quic(short_header(cid(0x0102))[:n]) for n in range(4)]
            + [quic(long_header(2, cid(0x0102))[:n]) for n in range(9)]
        ),
        by_hash(w.QUIC),
    ),
    Row(
        "T19",
        "long header whose id is too short for a server",
        lambda: [quic(long_header(2, cid(0x0102), length=n)) for n in range(3)],
        by_hash(w.QUIC),
    ),
    Row(
        "T19",
        "whole as soon as the server id is",
        lambda: [quic(short_header(cid(0x0102))[:4]), quic(long_header(2, cid(0x0102))[:9])],
        Enc(w.QUIC, 17, 443, notes=ROUTED, named=18),
    ),
    Row("T17", "TCP of the same port goes by hash", lambda: tcp(w.QUIC, 443), Enc(w.QUIC, 6, 443)),
    Row(
        "T17 I21",
        "an error goes by hash",
        lambda: error(sent_by(w.QUIC, 17, 443), w.QUIC),
        Enc(w.QUIC, 17, 443, notes=RELAYED),
    ),
    Row(
        "T16",
        "a service without routing does not read ids",
        lambda: quic(short_header(cid(0x0102)), w.WEB),
        Enc(w.WEB, 17, 443),
    ),
]

ROWS = [*PREFIXES, *ANY_PORT, *HASH_MODES, *QUIC]
