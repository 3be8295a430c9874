"""BMP and the BGP inside it: what is read, what is refused, and that no bytes raise anything but BmpError."""

import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.bmp.cursor import BmpError
from bgp.bmp.packet import (
    MESSAGE_MAX,
    Initiation,
    Message,
    Messages,
    PeerDown,
    PeerUp,
    RouteMonitoring,
    Statistics,
    Termination,
)
from bgp.bmp.update import IPV4, IPV6, Update, parse_update
from tests.bgp.bmp.bytes_of import (
    INITIATION,
    PEER_DOWN,
    STATISTICS,
    TERMINATION,
    add_path,
    as_path,
    attribute,
    attributes,
    bgp,
    bmp,
    monitor,
    nlri,
    opened,
    peer,
    peer_up,
    reach6,
    texts,
    unreach6,
    update,
)

VIP, OTHER, VIP6 = IPv4Network("203.0.113.10/32"), IPv4Network("198.51.100.0/24"), IPv6Network("2001:db8:1::10/128")


def one(data: bytes) -> Message:
    (message,) = Messages().feed(data)
    return message


def test_a_peer_is_told_with_its_address_as_and_table() -> None:
    message = one(monitor(peer(post=True), update()))
    assert isinstance(message, RouteMonitoring)
    assert (message.peer.address, message.peer.asn) == (IPv4Address("10.0.5.1"), 65110)
    assert (message.peer.bgp_id, message.peer.post, message.peer.as_size) == (IPv4Address("10.255.0.6"), True, 4)
    six = one(bmp(PEER_DOWN, peer("fd00::1", legacy=True) + b"\2"))
    assert isinstance(six, PeerDown)
    assert (six.peer.address, six.peer.as_size, six.reason) == (IPv6Address("fd00::1"), 2, 2)


@pytest.mark.parametrize(("kind", "flags"), [(3, 0), (0, 0x10)], ids=["loc-rib", "adj-rib-out"])
def test_other_tables_than_the_adj_rib_in_are_told_apart(kind: int, flags: int) -> None:
    message = one(monitor(peer(kind=kind, flags=flags), update()))
    assert isinstance(message, RouteMonitoring)
    assert not message.peer.inbound


def test_a_peer_up_tells_the_routers_as_and_where_there_are_path_ids() -> None:
    message = one(peer_up(peer()))
    assert isinstance(message, PeerUp)
    assert (message.local_address, message.router_asn) == (IPv4Address("10.0.5.0"), 65101)
    assert message.add_path == frozenset()
    large = one(peer_up(peer(), opened(4_200_000_000, add_path(1)), opened(65110, add_path(3))))
    assert isinstance(large, PeerUp)
    assert (large.router_asn, large.add_path) == (4_200_000_000, frozenset({IPV4}))
    alone = one(peer_up(peer(), opened(65101, add_path(2)), opened(65110, add_path(2))))
    assert isinstance(alone, PeerUp)
    assert alone.add_path == frozenset()


def test_what_a_router_says_of_itself() -> None:
    assert one(bmp(INITIATION, texts((1, b"FRRouting 8.4.4"), (2, b"r1")))) == Initiation("r1", "FRRouting 8.4.4")
    assert one(bmp(TERMINATION, texts((1, b"\0\1"), (0, b"bye")))) == Termination("reason 1, bye")
    gauge = struct.pack("!IHHIHHQ", 2, 7, 4, 12, 9, 8, 1 << 40)
    message = one(bmp(STATISTICS, peer() + gauge))
    assert isinstance(message, Statistics)
    assert message.counters == {7: 12, 9: 1 << 40}


def test_messages_come_in_pieces_and_unknown_kinds_are_stepped_over() -> None:
    data = bmp(6, b"mirror") + bmp(99, b"new") + monitor(peer(), update()) + bmp(TERMINATION, b"")
    whole = list(Messages().feed(data))
    pieces = Messages()
    assert [message for byte in data for message in pieces.feed(bytes((byte,)))] == whole
    assert [type(message) for message in whole] == [RouteMonitoring, Termination]


@pytest.mark.parametrize(
    "head",
    [b"\2\0\0\0\6\4", b"\3\0\0\0\5\4", struct.pack("!BIB", 3, MESSAGE_MAX + 1, 0), b"GET / HTTP/1.1\r\n"],
    ids=["version", "short", "long", "http"],
)
def test_what_is_no_bmp_is_refused_at_once(head: bytes) -> None:
    with pytest.raises(BmpError, match="expected version 3 and 6 to"):
        list(Messages().feed(head))


def test_an_update_tells_prefixes_and_attributes_of_both_families() -> None:
    said = attributes((65102, 65110), med=7, communities=[(65535, 0), (1, 2)], large=[(65110, 1, 2)]) + reach6(
        "2001:db8:1::10/128"
    )
    found = parse_update(update(nlri("203.0.113.10/32"), said, nlri("198.51.100.0/24")), 4)
    assert found.announced == ((VIP, 0), (VIP6, 0))
    assert found.withdrawn == ((OTHER, 0),)
    path = found.path
    assert (path.as_path, path.origin_as, path.med, path.origin) == ((65102, 65110), 65110, 7, 0)
    assert (path.communities, path.large_communities) == (("1:2", "65535:0"), ("65110:1:2",))
    assert parse_update(update(said=unreach6("2001:db8:1::10/128")), 4).withdrawn == ((VIP6, 0),)


def test_an_end_of_rib_is_one_of_its_family() -> None:
    assert parse_update(update(), 4).end_of_rib == IPV4
    assert parse_update(update(said=unreach6()), 4).end_of_rib == IPV6
    assert parse_update(update(nlri("0.0.0.0/0"), attributes()), 4).end_of_rib is None
    assert parse_update(update(withdrawn=nlri("0.0.0.0/0")), 4).end_of_rib is None


def test_the_legacy_as_path_is_mended_by_as4_path() -> None:
    said = attribute(2, as_path((64500, 23456), 2)) + attribute(17, as_path((4_200_000_000,)))
    assert parse_update(update(nlri("0.0.0.0/0"), said), 2).path.as_path == (64500, 4_200_000_000)


def test_path_ids_are_read_where_they_are_agreed() -> None:
    found = parse_update(update(nlri("203.0.113.10/32", 9), attributes()), 4, {IPV4})
    assert found.announced == ((VIP, 9),)


def test_other_families_and_attributes_are_stepped_over() -> None:
    evpn = attribute(14, struct.pack("!HBB", 25, 70, 4) + b"\0" * 40, 0x80) + attribute(200, b"?" * 300, 0xC0)
    assert parse_update(update(said=evpn), 4) == Update()


WRONG = {
    "marker": b"\0" * 16 + struct.pack("!HB", 23, 2) + bytes(4),
    "type": bgp(4, b""),
    "length": b"\xff" * 16 + struct.pack("!HB", 18, 2),
    "attributes beyond the end": bgp(2, struct.pack("!HH", 0, 9)),
    "prefix too long": update(b"\x21\1\2\3\4\5", attributes()),
    "prefix cut": update(b"\x20\1\2", attributes()),
    "next hop": update(said=attribute(3, b"\1\2\3")),
    "mp next hop": update(said=attribute(14, struct.pack("!HBB", 2, 1, 3) + b"\1\2\3\0")),
    "communities": update(said=attribute(8, b"\1\2\3")),
    "large communities": update(said=attribute(32, bytes(8))),
    "segment": update(said=attribute(2, b"\x09\1" + bytes(4))),
    "segment cut": update(said=attribute(2, b"\2\5" + bytes(4))),
}


@pytest.mark.parametrize("message", WRONG.values(), ids=WRONG.keys())
def test_a_malformed_update_is_refused(message: bytes) -> None:
    with pytest.raises(BmpError):
        parse_update(message, 4)


GOOD = [
    peer_up(peer(), opened(65101, add_path(3)), opened(65110, add_path(3))),
    monitor(peer(), update(nlri("203.0.113.10/32"), attributes(med=1, communities=[(1, 2)], large=[(1, 2, 3)]))),
    monitor(peer(post=True), update(said=attributes() + reach6("2001:db8:1::10/128"), withdrawn=nlri("0.0.0.0/0"))),
    bmp(STATISTICS, peer() + struct.pack("!IHHI", 1, 7, 4, 12)),
    bmp(INITIATION, texts((1, b"FRRouting"), (2, b"r1"))),
    bmp(TERMINATION, texts((1, b"\0\1"))),
    bmp(PEER_DOWN, peer() + b"\2"),
]


def read(data: bytes) -> None:
    """Everything that the station does with bytes; BmpError is the one error there may be."""
    try:
        for message in Messages().feed(data):
            if isinstance(message, RouteMonitoring):
                parse_update(message.update, message.peer.as_size, {IPV4, IPV6} if message.peer.post else frozenset())
    except BmpError:
        pass


@given(st.data())
def test_changed_messages_raise_nothing_else(data: st.DataObject) -> None:
    message = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(message) - 1))
        message[at] = data.draw(st.sampled_from([0, 1, 2, 0x10, 0x7F, 0x80, 0xFF, 32, 33, 129]))
    cut = data.draw(st.integers(6, len(message)))
    if data.draw(st.booleans()):
        message = message[:cut]
        message[1:5] = struct.pack("!I", len(message))
    read(bytes(message))


@given(st.integers(0, 6), st.binary(max_size=300))
def test_any_bytes_raise_nothing_else(kind: int, body: bytes) -> None:
    read(bmp(kind, body))
    read(monitor(peer(), bgp(2, body)))
    read(monitor(peer(post=True), update(body[:20], body[20:])))
    read(peer_up(peer(), bgp(1, body)))
