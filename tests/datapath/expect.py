"""What a row says must become of a frame. The frames that come out are put together by Scapy."""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Protocol

from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.model import Backend, Encap
from tests.datapath import world as w
from tests.datapath.frames import ETHERNET, IPV4, IPV6, ether, icmp, icmp6, ip_at, packet_of, patched, scapy, scapy6

KINDS = {4: IPV4, 6: IPV6}


def notes(*given: Note) -> frozenset[Note]:
    """A set of notes."""
    return frozenset(given)


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
    """Sent to the owner of the flow (client, client_port, vip, vip_port, protocol) in the tunnel of its pool.

    `vip` is the service's, `named` the id of a backend that the packet itself named (QUIC).
    """

    vip: str = w.WEB
    protocol: int = 6
    vip_port: int = 80
    client_port: int = 40000
    client: str | None = None
    notes: frozenset[Note] = frozenset()
    named: int | None = None

    def frame(self, given: bytes) -> bytes:
        """The frame that must come out."""
        flow = self.flow
        return tunnelled(given, w.backend(self.named) if self.named else flow.backend, flow.hash)

    @property
    def flow(self) -> w.Flow:
        """Who owns the flow."""
        client = self.client or (w.CLIENT6 if ":" in self.vip else w.CLIENT)
        return w.flow(self.vip, self.protocol, client, self.client_port, self.vip_port)


@dataclass(frozen=True)
class EchoReply:
    """Answered by the edge."""

    notes: frozenset[Note] = frozenset({Note.ECHO_REPLY})


@dataclass(frozen=True)
class TooBig:
    """Dropped as too big, and answered with an ICMP 3/4 or ICMPv6 2 that says `mtu`."""

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
        inner = packet_of(ether(given[ETHERNET + self.overhead :]))
        left = ether(inner, given[:6], given[6:12])
        if self.ecn is None:
            return left
        if inner[0] >> 4 == 4:
            return patched(left, 1, bytes((inner[1] & 0xFC | self.ecn,)))
        return patched(left, 1, bytes((inner[1] & 0xCF | self.ecn << 4,)))


class Judged(Protocol):
    """What the oracle or the program says of a frame."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def reason(self) -> Reason: ...
    @property
    def notes(self) -> frozenset[Note]: ...
    @property
    def frame(self) -> bytes: ...


Expectation = Drop | Pass | Enc | EchoReply | TooBig | Decapsulated


def stated(expect: Expectation, frame: bytes) -> tuple[Verdict, Reason, bytes | None]:
    """Verdict, reason and frame that a row states; the frame of a dropped packet is nobody's business."""
    match expect:
        case Drop():
            return Verdict.DROP, expect.reason, None
        case Pass():
            return Verdict.PASS, Reason.NONE, frame
        case Enc():
            far = Note.REDIRECTED in expect.notes
            return Verdict.REDIRECT if far else Verdict.TX, Reason.NONE, expect.frame(frame)
        case EchoReply():
            return Verdict.TX, Reason.NONE, echo_reply(frame)
        case TooBig():
            return Verdict.TX, Reason.TOOBIG, too_big(frame, expect.mtu)
        case Decapsulated():
            return Verdict.PASS, Reason.NONE, expect.frame(frame)


def holds(result: Judged, expect: Expectation, frame: bytes) -> None:
    """Assert that a frame met what its row states."""
    verdict, reason, after = stated(expect, frame)
    assert (result.verdict, result.reason, result.notes) == (verdict, reason, expect.notes), frame.hex()
    if after is not None:
        assert result.frame.hex(" ") == after.hex(" ")


def tunnelled(frame: bytes, backend: Backend, number: int) -> bytes:
    """The frame that must leave for `backend` with a packet of a flow of this hash."""
    inner, hop = packet_of(frame), backend.next_hop
    assert hop is not None
    version = inner[0] >> 4
    tos = struct.unpack_from("!H", inner)[0] >> 4 & 0xFF if version == 6 else inner[1]
    protocol = 47 if backend.encap is Encap.GRE else {4: 4, 6: 41}[version]
    outer = _outer6(backend, number, tos, protocol) if backend.address.version == 6 else _outer4(backend, tos, protocol)
    if backend.encap is Encap.GRE:
        key = {} if backend.key is None else {"key_present": 1, "key": backend.key}
        outer = outer / scapy("scapy.layers.l2").GRE(proto=KINDS[version], **key)
    tagged = b"" if not hop.vlan else struct.pack("!HH", 0x8100, hop.vlan)
    kind = struct.pack("!H", KINDS[backend.address.version])
    return hop.destination_mac + hop.source_mac + tagged + kind + bytes(outer / inner)


def _outer4(backend: Backend, tos: int, protocol: int) -> Any:
    return scapy().IP(src=w.EDGE, dst=str(backend.address), tos=tos, flags="DF", id=0, ttl=64, proto=protocol)


def _outer6(backend: Backend, number: int, tos: int, protocol: int) -> Any:
    source = IPv6Address(int(w.OUTER6.network_address) + number)
    return scapy6().IPv6(src=str(source), dst=str(backend.address), tc=tos, fl=number & 0xFFFFF, hlim=64, nh=protocol)


def returned(frame: bytes, answer: bytes) -> bytes:
    """An answer in a frame that goes back to where `frame` came from, in the same VLANs."""
    return frame[6:12] + frame[:6] + frame[12 : ip_at(frame)] + answer


def echo_reply(frame: bytes) -> bytes:
    """The answer to an echo request."""
    asked = packet_of(frame)
    if asked[0] >> 4 == 6:
        request = scapy6().IPv6(asked)
        reply = icmp6(request.dst, request.src, 129, 0, asked[44:])
        answer = scapy6().IPv6(src=request.dst, dst=request.src, tc=request.tc, fl=request.fl, hlim=64, nh=58)
        return returned(frame, bytes(answer / reply))
    request = scapy().IP(asked)
    answer = scapy().IP(src=request.dst, dst=request.src, tos=request.tos, id=0, flags="DF", ttl=64, proto=1)
    return returned(frame, bytes(answer / icmp(0, 0, asked[24:])))


def too_big(frame: bytes, mtu: int) -> bytes:
    """What answers a frame: ICMP 3/4 of 576 bytes or ICMPv6 2 of 1280, with as much quoted as fits."""
    refused = packet_of(frame)
    if refused[0] >> 4 == 6:
        source, vip = (str(IPv6Address(refused[at : at + 16])) for at in (8, 24))
        told = icmp6(vip, source, 2, 0, struct.pack("!I", mtu) + refused[:1232])
        return returned(frame, bytes(scapy6().IPv6(src=vip, dst=source, hlim=64, nh=58) / told))
    source, vip = (str(IPv4Address(refused[at : at + 4])) for at in (12, 16))
    told = icmp(3, 4, struct.pack("!HH", 0, mtu) + refused[:548])
    return returned(frame, bytes(scapy().IP(src=vip, dst=source, tos=0xC0, id=0, flags=0, ttl=64, proto=1) / told))
