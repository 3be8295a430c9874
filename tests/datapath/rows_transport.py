"""Catalogue rows of the forwarder: transport (T), encapsulation (E) and state of services (S)."""

import struct

from edge.datapath.abi import Note, Reason
from tests.datapath import world as w
from tests.datapath.expect import Drop, Enc, Pass, notes
from tests.datapath.frames import cut, each, ether, packet, patched, tcp, udp
from tests.datapath.row import Row

FIVE_STEPS = ("S", "A", "PA", "FA", "R")


def shortened(frame: bytes, segment: int) -> bytes:
    """The packet with only `segment` bytes behind its IPv4 header, its total length true."""
    return patched(frame, 2, struct.pack("!H", 20 + segment))[: 34 + segment]


def options(length: int) -> list[tuple[str, object]]:
    return [("NOP", None)] * length


def other(protocol: int, vip: str = w.WEB) -> bytes:
    return ether(packet(vip, bytes(40), proto=protocol))


TRANSPORT = [
    Row("T01", "TCP header cut at every length", lambda: [shortened(tcp(), n) for n in range(20)], Drop(Reason.TRUNC)),
    Row(
        "T01",
        "TCP header ends with the packet, padding follows",
        lambda: [shortened(tcp(), n) + bytes(40) for n in range(4, 20)],
        Drop(Reason.TRUNC),
    ),
    Row(
        "T01",
        "default deny looks where ports are, whatever the lengths say",
        lambda: [shortened(tcp(), n) + bytes(40) for n in range(4)],
        Drop(Reason.PORT0),
    ),
    Row(
        "T02",
        "data offset below 5 or beyond the segment",
        lambda: [tcp(dataofs=n) for n in (0, 1, 4, 6, 15)],
        Drop(Reason.L4),
    ),
    Row("T03", "all 256 flag combinations", lambda: each(tcp(), 33), Enc()),
    Row(
        "T04",
        "port 0",
        lambda: [tcp(sport=0), tcp(dport=0), tcp(w.ANY, dport=0), udp(sport=0), udp(dport=0)],
        Drop(Reason.PORT0),
    ),
    Row("T05 T09", "every step of a connection to one backend", lambda: [tcp(flags=f) for f in FIVE_STEPS], Enc()),
    Row(
        "T06",
        "SYN with data, ECN set-up, 40 bytes of options",
        lambda: [
            tcp(flags="S", data=b"GET /"),
            tcp(flags="SEC"),
            tcp(flags="S", options=options(40)),
            tcp(flags="S", options=[("MSS", 1460), ("SAckOK", b""), ("WScale", 7)]),
        ],
        Enc(),
    ),
    Row("T07", "wrong TCP checksum is the backend's matter", lambda: tcp(chksum=0xBAD), Enc()),
    Row("T07", "wrong UDP checksum is the backend's matter", lambda: udp(chksum=0xBAD), Enc(w.ECHO, 17, 7000)),
    Row(
        "T08",
        "port without a service",
        lambda: [tcp(dport=22), tcp(dport=443), udp(w.WEB, dport=80), udp(dport=7001), tcp(w.SILENT)],
        Drop(Reason.NO_SERVICE),
    ),
    *(
        Row("T10", f"blind RST from port {p}", lambda p=p: tcp(sport=p, flags="R"), Enc(client_port=p))  # type: ignore[misc]
        for p in (1, 1023, 50000, 65535)
    ),
    Row("T11", "UDP header cut at every length", lambda: [shortened(udp(), n) for n in range(8)], Drop(Reason.TRUNC)),
    Row(
        "T12",
        "UDP length below 8 or beyond the packet",
        lambda: [udp(len=n) for n in (*range(8), 10, 65535)],
        Drop(Reason.LEN),
    ),
    Row(
        "T13",
        "UDP length below the packet's",
        lambda: [udp(data=bytes(20), len=n) for n in (8, 20)],
        Enc(w.ECHO, 17, 7000),
    ),
    Row("T14", "UDP without a checksum", lambda: udp(chksum=0), Enc(w.ECHO, 17, 7000)),
    Row(
        "T16 T19",
        "QUIC long and short headers, whole and cut, by their ports",
        lambda: (
            [udp(w.WEB, 443, data=b"\xc3\0\0\0\1\x08" + bytes(n)) for n in (0, 14, 1200)]
            + [udp(w.WEB, 443, data=d) for d in (b"", b"\x40", b"\xe0" * 5, b"\x43" * 20)]
        ),
        Enc(w.WEB, 17, 443),
    ),
    *(
        Row(
            "T17 T18",
            f"QUIC from port {p}: connection ids are not read, the ports decide",
            lambda p=p: udp(w.WEB, 443, p, data=b"\x40" + bytes(8)),  # type: ignore[misc]
            Enc(w.WEB, 17, 443, p),
        )
        for p in (40001, 40002)
    ),
    Row(
        "T20",
        "SCTP, DCCP, UDP-Lite, OSPF, VRRP, IGMP, ESP, AH",
        lambda: [other(p) for p in (132, 33, 136, 89, 112, 2, 50, 51, 0, 255)],
        Drop(Reason.PROTO),
    ),
    Row("T21 H03", "IPIP, 6in4 and GRE to a VIP", lambda: [other(p) for p in (4, 41, 47)], Drop(Reason.NESTED)),
    Row("T21", "GUE to a VIP", lambda: udp(w.WEB, 6080, data=tcp()[14:]), Drop(Reason.NESTED)),
    Row(
        "T22 T23",
        "BGP, BFD and ssh to the host",
        lambda: [tcp(w.HOST, 179), tcp(w.HOST, 179, flags="S"), udp(w.HOST, 3784), tcp(w.EDGE, 22)],
        Pass(),
    ),
]

ENCAPSULATION = [
    Row("E01 E02 E03 E10", "GRE: DF, ID 0, TTL 64, no flags", lambda: [tcp(data=bytes(n)) for n in (0, 1, 999)], Enc()),
    Row("E01 E02 E03", "IPIP: DF, ID 0, TTL 64", lambda: tcp(w.ECHO, 7000), Enc(w.ECHO, 6, 7000)),
    Row("E01", "DF 1 outside whether inside or not", lambda: [tcp(ip={"flags": f}) for f in (0, 2)], Enc()),
    Row("E12", "next hop not resolved", lambda: tcp(w.UNRESOLVED), Drop(Reason.NEIGH)),
    Row("E12", "next hop on another interface", lambda: tcp(w.FAR), Enc(w.FAR, notes=notes(Note.REDIRECTED))),
]

SERVICE = [
    Row("S01", "address that is no VIP", lambda: [tcp(w.FREE), udp(w.FREE), *cut(tcp(w.FREE), (34, 40))], Pass()),
    Row("S02", "pool with nobody", lambda: tcp(w.EMPTY), Drop(Reason.NO_BACKEND)),
    Row("S02", "pool that was never written", lambda: tcp(w.ABSENT), Drop(Reason.NO_BACKEND)),
    Row("S04", "slot names no backend", lambda: [tcp(w.CORRUPT), tcp(w.BEYOND)], Drop(Reason.TABLE_CORRUPT)),
    *(
        Row("S06", f"any-port service, port {p}", lambda p=p: tcp(w.ANY, p), Enc(w.ANY, vip_port=1))  # type: ignore[misc]
        for p in (1, 80, 443, 65535)
    ),
    Row("S07", "DNS by UDP", lambda: udp(w.DNS, 53), Enc(w.DNS, 17, 53)),
    Row("S07", "DNS by TCP, of another pool", lambda: tcp(w.DNS, 53), Enc(w.DNS, 6, 53)),
    Row("S08", "VIP kept without a service", lambda: [tcp(w.SILENT), udp(w.SILENT)], Drop(Reason.NO_SERVICE)),
]

ROWS = [*TRANSPORT, *ENCAPSULATION, *SERVICE]
