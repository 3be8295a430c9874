"""The packets of a tunnel probe: what a client would send, in the tunnel that the forwarder would put it in (no I/O).

The encapsulation is the oracle's, which tests hold the XDP program against: a probe meets at the backend exactly the
checks that a client's packet meets (source of the tunnel, kind, GRE key, destination inside).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from edge.datapath.hashing import FlowKey, flow_hash
from edge.datapath.headers import (
    ICMP,
    ICMP6,
    TCP,
    checksum,
    checksum6,
    ipv4_header,
    ipv6_header,
    parse_ipv4,
    parse_ipv6,
)
from edge.datapath.model import Backend, Encap, ForwarderState, HashMode, IpAddress, NextHop
from edge.datapath.oracle_outer import tunnelled

FIRST_PORT = 61440
"""Source ports of probes are from here to 65535, above what kernels give to connections unless told otherwise."""
_ETHERNET = 14
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_WINDOW = 65535
_HOP = NextHop(1, bytes(6), bytes(6))  # link addresses are the kernel's business here
_ECHO = {4: (8, 0), 6: (128, 129)}  # type of the request, of the reply


@dataclass(frozen=True, slots=True)
class Way:
    """How packets for `vip` travel to one backend, as the forwarder's configuration says."""

    source: IpAddress
    vip: IpAddress
    port: int
    backend: Backend
    state: ForwarderState
    hashing: HashMode


def way(options: Mapping[str, Any], address: str) -> Way:
    """From what the checker was told."""
    six = options["outer_source6"]
    state = ForwarderState(
        options["seed"], 0, IPv4Network(options["outer_source"]), 0, (), (), (),
        outer_source6=IPv6Network(six) if six else None,
    )  # fmt: skip
    backend = Backend(1, "", ip_address(address), Encap[options["encap"].upper()], _HOP, options["key"])
    vip, source = ip_address(options["vip"]), ip_address(options["source"])
    return Way(source, vip, options["port"] or 0, backend, state, HashMode[options["hash"]])


def in_tunnel(way: Way, inner: bytes, client_port: int, protocol: int) -> bytes:
    """The outer packet, from its IP header on."""
    key = FlowKey(way.source, client_port, way.port, protocol).reduced(way.hashing)
    ip = parse_ipv4(inner) if way.vip.version == 4 else parse_ipv6(inner)
    assert ip is not None
    return tunnelled(ip, way.backend, _HOP, flow_hash(key, way.state.seed), way.state)[_ETHERNET:]


def segment(way: Way, client_port: int, sequence: int, *, reset: bool = False) -> bytes:
    """A SYN from the client's side, or the RST that ends what it began."""
    flags = _RST if reset else _SYN
    front = client_port.to_bytes(2, "big") + way.port.to_bytes(2, "big") + sequence.to_bytes(4, "big") + bytes(4)
    front += bytes((5 << 4, flags)) + _WINDOW.to_bytes(2, "big")
    return _ip(way, TCP, front + _sum(way, TCP, front + bytes(4)) + bytes(2))


def echo(way: Way, number: int) -> bytes:
    """An echo request (RFC 792, RFC 4443) whose identifier is `number`."""
    kind, protocol = (_ECHO[4][0], ICMP) if way.vip.version == 4 else (_ECHO[6][0], ICMP6)
    front, back = bytes((kind, 0)), number.to_bytes(2, "big") + b"\0\1fairhop"
    whole = front + bytes(2) + back
    total = checksum(whole).to_bytes(2, "big") if way.vip.version == 4 else _sum(way, ICMP6, whole)
    return _ip(way, protocol, front + total + back)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: from whom, to which port or identifier of ours, and what it says."""

    source: IpAddress
    number: int
    acknowledged: int
    refused: bool


def read_segment(source: str, raw: bytes) -> Answer | None:
    """A SYN-ACK or a RST, from its TCP header on; None for anything else."""
    if len(raw) < 20 or not raw[13] & _ACK or not raw[13] & (_SYN | _RST):
        return None
    number, acknowledged = int.from_bytes(raw[2:4], "big"), int.from_bytes(raw[8:12], "big")
    return Answer(ip_address(source), number, acknowledged, bool(raw[13] & _RST))


def read_echo(source: str, raw: bytes) -> Answer | None:
    """An echo reply, from its ICMP header on; None for anything else."""
    version = 6 if ":" in source else 4
    if len(raw) < 8 or raw[0] != _ECHO[version][1]:
        return None
    return Answer(ip_address(source), int.from_bytes(raw[4:6], "big"), 0, refused=False)


def _ip(way: Way, protocol: int, payload: bytes) -> bytes:
    header = ipv4_header if way.vip.version == 4 else ipv6_header
    return header(way.source, way.vip, protocol, len(payload)) + payload


def _sum(way: Way, protocol: int, data: bytes) -> bytes:
    """The checksum with the pseudo header of either family (RFC 9293, 3.1; RFC 8200, 8.1)."""
    if way.vip.version == 6:
        return checksum6(way.source, way.vip, protocol, data).to_bytes(2, "big")
    pseudo = way.source.packed + way.vip.packed + bytes((0, protocol)) + len(data).to_bytes(2, "big")
    return checksum(pseudo + data).to_bytes(2, "big")
