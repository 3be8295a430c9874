"""Builds the frames of the packet tests. Scapy is imported at the first frame, so that collecting tests stays fast."""

import functools
import importlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from edge.datapath.abi import Note, Reason
from edge.datapath.model import Backend, Encap
from tests.datapath import world as w

ETHERNET = 14
Fields = dict[str, Any] | None


@functools.cache
def scapy(module: str = "scapy.layers.inet") -> Any:
    """One of Scapy's modules."""
    return importlib.import_module(module)


def ether(payload: Any, destination: bytes = w.OWN_MAC, source: bytes = w.ROUTER_MAC, kind: int = 0x0800) -> bytes:
    """A frame from the router to the edge around Scapy layers or bytes."""
    return destination + source + struct.pack("!H", kind) + bytes(payload)


def packet(vip: str, l4: Any, client: str = w.CLIENT, **ip: Any) -> bytes:
    """An IPv4 packet from a client to a VIP."""

    return bytes(scapy().IP(**{"src": client, "dst": vip, "id": 4711, "ttl": 61, **ip}) / l4)


def tcp(
    vip: str = w.WEB, dport: int = 80, sport: int = 40000, data: bytes = b"", ip: Fields = None, **l4: Any
) -> bytes:
    """A frame with a TCP segment to a VIP; `ip` and further keywords are Scapy's fields."""

    return ether(packet(vip, scapy().TCP(**{"sport": sport, "dport": dport, "flags": "A", **l4}) / data, **(ip or {})))


def udp(
    vip: str = w.ECHO, dport: int = 7000, sport: int = 40000, data: bytes = b"x", ip: Fields = None, **l4: Any
) -> bytes:
    """A frame with a UDP datagram to a VIP."""

    return ether(packet(vip, scapy().UDP(sport=sport, dport=dport, **l4) / data, **(ip or {})))


def echo(vip: str = w.WEB, data: bytes = b"ping of 26 bytes in total", ip: Fields = None, **icmp: Any) -> bytes:
    """A frame with an ICMP echo request."""

    return ether(packet(vip, scapy().ICMP(**{"type": 8, "id": 77, "seq": 3, **icmp}) / data, **(ip or {})))


def sent_by(vip: str, protocol: int = 6, sport: int = 80, dport: int = 40000, length: int = 28, **ip: Any) -> bytes:
    """The first `length` bytes of a packet that a backend sent from a VIP to the client, as a router quotes it."""

    l4 = scapy().TCP(sport=sport, dport=dport, flags="A") if protocol == 6 else scapy().UDP(sport=sport, dport=dport)
    return bytes(scapy().IP(**{"src": vip, "dst": w.CLIENT, **ip}) / l4 / bytes(1400))[:length]


def error(
    quoted: bytes, vip: str = w.WEB, kind: int = 3, code: int = 4, mtu: int = 1400, source: str = w.STRANGER
) -> bytes:
    """A frame with an ICMP error from a router somewhere to a VIP."""
    return ether(packet(vip, _icmp(kind, code, struct.pack("!HH", 0, mtu) + quoted), source, proto=1))


def _icmp(kind: int, code: int, rest: bytes) -> bytes:
    return struct.pack("!BBH", kind, code, ones_complement(struct.pack("!BBH", kind, code, 0) + rest)) + rest


def ones_complement(data: bytes) -> int:
    """The Internet checksum, by Scapy."""

    return int(scapy("scapy.utils").checksum(data))


def patched(frame: bytes, at: int, new: bytes, *, fix: bool = True) -> bytes:
    """Overwrite bytes of the IPv4 header or behind it (`at` counts from the IP header); `fix`: correct its checksum."""
    at += ETHERNET
    changed = frame[:at] + new + frame[at + len(new) :]
    return with_checksum(changed) if fix else changed


def with_checksum(frame: bytes) -> bytes:
    """Set the IPv4 header checksum right, as far as the header is there."""
    length = (frame[ETHERNET] & 15) * 4
    header = frame[ETHERNET : ETHERNET + length]
    if len(header) < length or length < 20:
        return frame
    number = ones_complement(header[:10] + b"\0\0" + header[12:])
    return frame[: ETHERNET + 10] + struct.pack("!H", number) + frame[ETHERNET + 12 :]


def with_options(frame: bytes, options: bytes) -> bytes:
    """Insert IPv4 options (a multiple of four bytes, up to 40)."""
    ip = ETHERNET
    first = bytes((0x45 + len(options) // 4,))
    length = struct.pack("!H", len(frame) - ip + len(options))
    grown = frame[:ip] + first + frame[ip + 1 : ip + 2] + length + frame[ip + 4 : ip + 20] + options + frame[ip + 20 :]
    return with_checksum(grown)


def tunnelled(frame: bytes, backend: Backend, source: str = w.EDGE) -> bytes:
    """The frame that must leave for `backend`, put together by Scapy."""

    length = struct.unpack_from("!H", frame, ETHERNET + 2)[0]
    inner = frame[ETHERNET : ETHERNET + length]
    hop = backend.next_hop
    assert hop is not None
    outer = scapy().IP(src=source, dst=str(backend.address), tos=inner[1], flags="DF", id=0, ttl=64)
    if backend.encap is Encap.GRE:
        outer = outer / scapy("scapy.layers.l2").GRE(proto=0x0800)
    else:
        outer.proto = 4
    ethernet = hop.destination_mac + hop.source_mac + b"\x08\0"
    return ethernet + bytes(outer / inner)


def echo_reply(frame: bytes) -> bytes:
    """The answer to an echo request, put together by Scapy."""

    length = struct.unpack_from("!H", frame, ETHERNET + 2)[0]
    request = scapy().IP(frame[ETHERNET : ETHERNET + length])
    asked = bytes(request.payload)
    identity, number = struct.unpack_from("!HH", asked, 4)
    answer = scapy().IP(src=request.dst, dst=request.src, tos=request.tos, id=0, flags="DF", ttl=64)
    return ether(answer / scapy().ICMP(type=0, id=identity, seq=number) / asked[8:], w.ROUTER_MAC, w.OWN_MAC)


def too_big(frame: bytes, mtu: int) -> bytes:
    """The ICMP 3/4 that answers a frame, put together by Scapy: 576 bytes of IPv4 with as much quoted as fits."""

    source, vip = (str(IPv4Address(frame[at : at + 4])) for at in (ETHERNET + 12, ETHERNET + 16))
    quoted = frame[ETHERNET : ETHERNET + 548]
    answer = scapy().IP(src=vip, dst=source, tos=0xC0, id=0, flags=0, ttl=64, proto=1)
    return ether(answer / _icmp(3, 4, struct.pack("!HH", 0, mtu) + quoted), w.ROUTER_MAC, w.OWN_MAC)


@dataclass(frozen=True)
class Drop:
    """Dropped, counted under `reason`, nothing else said."""

    reason: Reason
    notes: frozenset[Note] = frozenset()


@dataclass(frozen=True)
class Pass:
    """The host's: not one byte changed."""

    notes: frozenset[Note] = frozenset()


@dataclass(frozen=True)
class Enc:
    """Sent to the owner of the flow (client, client_port, vip, vip_port, protocol) in the tunnel of its pool."""

    vip: str = w.WEB
    protocol: int = 6
    vip_port: int = 80
    client_port: int = 40000
    client: str = w.CLIENT
    notes: frozenset[Note] = frozenset()

    def frame(self, given: bytes) -> bytes:
        """The frame that must come out."""
        return tunnelled(given, self.backend)

    @property
    def backend(self) -> Backend:
        """Who owns the flow."""
        return w.backend_of(self.vip, self.protocol, self.client, self.client_port, self.vip_port)


@dataclass(frozen=True)
class EchoReply:
    """Answered by the edge."""

    notes: frozenset[Note] = frozenset({Note.ECHO_REPLY})


@dataclass(frozen=True)
class TooBig:
    """Dropped as too big, and answered with an ICMP 3/4 that says `mtu`."""

    mtu: int
    notes: frozenset[Note] = frozenset({Note.PTB_SENT})


@dataclass(frozen=True)
class Decapsulated:
    """Passed up without `overhead` bytes of outer header; the inner packet as it is, but for its ECN bits if given."""

    overhead: int
    ecn: int | None = None
    notes: frozenset[Note] = frozenset({Note.DECAPSULATED})

    def frame(self, given: bytes) -> bytes:
        """The frame that must be left."""
        at = ETHERNET + self.overhead
        inner = given[at : at + struct.unpack_from("!H", given, at + 2)[0]]
        if self.ecn is None:
            return given[:ETHERNET] + inner
        return patched(given[:ETHERNET] + inner, 1, bytes((inner[1] & 0xFC | self.ecn,)))


Expectation = Drop | Pass | Enc | EchoReply | TooBig | Decapsulated


def notes(*given: Note) -> frozenset[Note]:
    """A set of notes."""
    return frozenset(given)


def cut(frame: bytes, lengths: Iterable[int]) -> list[bytes]:
    """The frame ended after each length."""
    return [frame[:length] for length in lengths]
