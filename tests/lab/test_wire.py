"""The wire tap: a strict parser, and packets that arrive at a router's real interface."""

import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.datapath.model import Encap
from lab.observe.inside import inside
from lab.observe.taps import Tap
from lab.observe.tunnel import TunnelError, Tunnelled, checksum, parse_tunnel
from lab.observe.wire import Capture, WireTap
from lab.runtime import LabError
from lab.traffic.flow import TCP, UDP, make_flow
from tests.lab.privatenet import namespace, needs_root

EDGE, BACKEND, OTHER_BACKEND = (IPv4Address(f"10.0.{n}.1") for n in (5, 9, 10))
CLIENT, VIP = IPv4Address("198.51.100.9"), IPv4Address("203.0.113.11")
FLOW = make_flow(str(CLIENT), 40000, str(VIP), 7000, TCP)
FLOW6 = make_flow("2001:db8:c::9", 40000, "2001:db8:1::11", 7000, TCP)
ETHERNET = bytes(12) + b"\x08\0"
GRE, GRE6 = b"\0\0\x08\0", b"\0\0\x86\xdd"
IPV6_IN_IPV4 = 41


def ipv4(source: IPv4Address, destination: IPv4Address, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0)
    head += source.packed + destination.packed
    return head[:10] + checksum(head).to_bytes(2, "big") + head[12:] + payload


INNER = ipv4(CLIENT, VIP, TCP, struct.pack("!HH", FLOW.client_port, FLOW.vip_port) + bytes(16))
INNER6 = (
    struct.pack("!IHBB", 6 << 28 | 7, 20, TCP, 64)
    + FLOW6.client.packed
    + FLOW6.vip.packed
    + struct.pack("!HH", FLOW6.client_port, FLOW6.vip_port)
    + bytes(16)
)
SIX_IN_FOUR = ETHERNET + ipv4(EDGE, BACKEND, IPV6_IN_IPV4, INNER6)
SIX_IN_GRE = ETHERNET + ipv4(EDGE, BACKEND, Encap.GRE, GRE6 + INNER6)
IPIP = ETHERNET + ipv4(EDGE, BACKEND, Encap.IPIP, INNER)
IN_GRE = ETHERNET + ipv4(EDGE, BACKEND, Encap.GRE, GRE + INNER)


@pytest.mark.parametrize(("frame", "encap"), [(IPIP, Encap.IPIP), (IN_GRE, Encap.GRE), (IPIP + bytes(6), Encap.IPIP)])
def test_a_tunnel_tells_flow_backend_and_edge(frame: bytes, encap: Encap) -> None:
    assert parse_tunnel(frame) == Tunnelled(FLOW, BACKEND, encap, EDGE)


@pytest.mark.parametrize(("frame", "encap"), [(SIX_IN_FOUR, Encap.IPIP), (SIX_IN_GRE, Encap.GRE)])
def test_ipv6_inside_is_parsed_too(frame: bytes, encap: Encap) -> None:
    assert parse_tunnel(frame) == Tunnelled(FLOW6, BACKEND, encap, EDGE)


def test_udp_is_parsed_too() -> None:
    inner = ipv4(CLIENT, VIP, UDP, struct.pack("!HHHH", 1, 2, 8, 0))
    parsed = parse_tunnel(ETHERNET + ipv4(EDGE, BACKEND, Encap.IPIP, inner))
    assert parsed.flow == make_flow("198.51.100.9", 1, "203.0.113.11", 2, UDP)


def test_the_checksum_is_that_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    assert checksum(bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")) == 0


def changed(frame: bytes, at: int, value: bytes, fix: int | None = None) -> bytes:
    """The frame with bytes replaced; `fix`: where the IPv4 header begins whose checksum shall be right again."""
    frame = frame[:at] + value + frame[at + len(value) :]
    if fix is not None:
        frame = frame[: fix + 10] + bytes(2) + frame[fix + 12 :]
        frame = changed(frame, fix + 10, checksum(frame[fix : fix + 20]).to_bytes(2, "big"))
    return frame


OUTER, INSIDE, INSIDE_GRE = 14, 34, 38


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        (IPIP[:13], "13 bytes that are no IPv4"),
        (changed(IPIP, 12, b"\x08\x06"), "no IPv4 in Ethernet"),
        (IPIP[:33], "outer header: 19 bytes"),
        (changed(IPIP, OUTER, b"\x46"), "outer header begins with 0x46"),
        (changed(IPIP, OUTER, b"\x65"), "outer header begins with 0x65"),
        (IPIP[:-1], "outer length is 60, 59 bytes are there"),
        (changed(IPIP, OUTER + 2, b"\0\x13"), "outer length is 19"),
        (changed(IPIP, OUTER + 6, b"\x20\0"), "outer packet is a fragment"),
        (changed(IPIP, OUTER + 6, b"\0\x01"), "outer packet is a fragment"),
        (changed(IPIP, OUTER + 8, b"\x01"), "outer header checksum is wrong"),
        (changed(IPIP, OUTER + 9, b"\x06", OUTER), "outer protocol 6, expected 4, 41 or 47"),
        (changed(SIX_IN_FOUR, INSIDE, b"\x45"), "inner header has version 4, expected 6"),
        (changed(SIX_IN_FOUR, INSIDE + 4, b"\0\x13"), "inner length is 19, 20 bytes are there"),
        (changed(SIX_IN_FOUR, INSIDE + 6, b"\x2c"), "inner protocol 44, expected 6 or 17"),
        (ETHERNET + ipv4(EDGE, BACKEND, IPV6_IN_IPV4, INNER6[:39]), "inner header: 39 bytes, expected 40"),
        (changed(SIX_IN_GRE, INSIDE + 2, b"\x08\0"), "inner header begins with 0x60"),
        (changed(IPIP, OUTER + 2, b"\0\x3d", OUTER) + b"x", "inner length is 40, 41 bytes are there"),
        (changed(IPIP, INSIDE + 2, b"\0\x29", INSIDE), "inner length is 41, 40 bytes are there"),
        (changed(IPIP, INSIDE + 8, b"\x01"), "inner header checksum is wrong"),
        (changed(IPIP, INSIDE + 9, b"\x01", INSIDE), "inner protocol 1, expected 6 or 17"),
        (changed(IN_GRE, INSIDE, b"\x20"), "GRE header has flags 0x2000"),
        (changed(IN_GRE, INSIDE + 2, b"\x86\xdd"), "inner header has version 4"),
        (ETHERNET + ipv4(EDGE, BACKEND, Encap.GRE, GRE[:3]), "GRE header: 3 bytes"),
        (ETHERNET + ipv4(EDGE, BACKEND, Encap.IPIP, ipv4(CLIENT, VIP, TCP, b"abc")), "3 bytes has no ports"),
    ],
)
def test_what_is_not_exactly_a_tunnel_says_why(frame: bytes, complaint: str) -> None:
    with pytest.raises(TunnelError, match=complaint):
        parse_tunnel(frame)


@settings(deadline=None)
@given(st.sampled_from([IPIP, IN_GRE]), st.integers(0, 74), st.integers(0, 255), st.integers(0, 80))
def test_no_frame_makes_the_parser_raise_anything_but_its_error(frame: bytes, at: int, byte: int, cut: int) -> None:
    try:
        parse_tunnel(changed(frame, at, bytes([byte]))[: len(frame) - cut])
    except TunnelError as error:
        assert str(error)


@pytest.fixture(scope="module")
def router() -> Iterator[Path]:
    commands = [
        words
        for n in (1, 2)
        for words in (f"link add eth{n} type veth peer name far{n}", f"link set eth{n} up", f"link set far{n} up")
    ]
    with namespace("wire", *commands) as path:
        yield path


TAPS = (Tap("a-r1", "eth1", "a-e1"), Tap("a-r1", "eth2", "a-e2"))


def send(router: Path, interface: str, *frames: bytes) -> None:
    def go() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
            sock.bind((interface, 0))
            for frame in frames:
                sock.send(frame)

    inside(router, go)


@needs_root
def test_tunnels_that_arrive_are_captured_with_their_edge_and_nothing_else(router: Path) -> None:
    plain = ETHERNET + INNER
    to_other = ETHERNET + ipv4(EDGE, OTHER_BACKEND, Encap.IPIP, INNER)
    with WireTap({"a-r1": router}, TAPS) as tap:
        send(router, "far1", plain, IPIP, IN_GRE, IPIP[:-1])
        send(router, "far2", to_other, SIX_IN_FOUR, SIX_IN_GRE)
        send(router, "eth1", IPIP, IPIP)  # leaves the router
        capture = tap.capture(2.0, 100, lambda c: len(c.packets) == 5 and len(c.malformed) == 1)
        assert tap.capture(0.05, 100) == Capture()
    assert sorted((each.router, each.edge, each.packet.encap) for each in capture.packets) == [
        ("a-r1", "a-e1", Encap.IPIP),
        ("a-r1", "a-e1", Encap.GRE),
        ("a-r1", "a-e2", Encap.IPIP),
        ("a-r1", "a-e2", Encap.IPIP),
        ("a-r1", "a-e2", Encap.GRE),
    ]
    assert capture.malformed == ["a-e1 to a-r1: outer length is 60, 59 bytes are there"]
    assert capture.backends() == {
        FLOW: {(BACKEND, Encap.IPIP), (BACKEND, Encap.GRE), (OTHER_BACKEND, Encap.IPIP)},
        FLOW6: {(BACKEND, Encap.IPIP), (BACKEND, Encap.GRE)},
    }


@needs_root
def test_a_capture_ends_at_its_limit_and_at_its_time(router: Path) -> None:
    with WireTap({"a-r1": router}, TAPS) as tap:
        send(router, "far1", *[IPIP] * 10)
        start = time.monotonic()
        assert len(tap.capture(2.0, 4).packets) == 4
        assert len(tap.capture(2.0, 6, lambda c: len(c.packets) == 6).packets) == 6
        assert time.monotonic() - start < 1.5
        start = time.monotonic()
        assert tap.capture(0.1, 4) == Capture()
        assert 0.1 <= time.monotonic() - start < 0.5


@needs_root
def test_a_tap_on_no_interface_is_refused_and_leaves_nothing_open(router: Path) -> None:
    def packets() -> int:
        return len(inside(router, lambda: Path("/proc/thread-self/net/packet").read_text()).splitlines())

    before = packets()
    with pytest.raises(LabError, match="a-r1: cannot capture on eth9: No such device"):
        WireTap({"a-r1": router}, [*TAPS, Tap("a-r1", "eth9", "a-e9")])
    assert packets() == before
