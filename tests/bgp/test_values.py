"""Routes, leases and the lines between daemon and relay: what is valid, and that a bad one is refused whole."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.lease import LEASE_MAX, LeaseTable
from bgp.report import Event, changes, word
from bgp.rib import UNKNOWN, PrefixView
from bgp.route import Attributes, Route, RouteError, from_plain, parse_prefix, to_plain
from bgp.wire import (
    LINE_MAX,
    Declare,
    LineBuffer,
    PeerView,
    State,
    WireError,
    decode_declare,
    decode_state,
    encode_declare,
    encode_state,
)

VIP, OTHER = IPv4Network("203.0.113.10/32"), IPv4Network("203.0.113.11/32")
VIP6 = IPv6Network("2001:db8:1::10/128")
PEER, HOP = IPv4Address("10.0.5.0"), IPv6Address("fd00:0:0:5::1")
COMMUNITY = st.builds(lambda a, b: f"{a}:{b}", st.integers(0, 65535), st.integers(0, 65535))
SAID: dict[str, st.SearchStrategy[Any]] = {
    "med": st.none() | st.integers(0, 2**32 - 1),
    "communities": st.lists(COMMUNITY, max_size=4).map(tuple),
    "as_path": st.lists(st.integers(1, 2**32 - 1), max_size=3).map(tuple),
    "large_communities": st.sets(st.sampled_from(["1:2:3", "65110:0:4294967295"])).map(tuple),
    "extended_communities": st.sets(st.sampled_from(["target:1:2", "bandwidth:65110:1250000"])).map(tuple),
}
OVERRIDES = st.dictionaries(st.ip_addresses(), st.builds(Attributes, **SAID), max_size=2).map(
    lambda overrides: tuple(overrides.items())
)
ATTRIBUTES: dict[str, st.SearchStrategy[Any]] = {**SAID, "overrides": OVERRIDES}
HOPS = st.dictionaries(st.ip_addresses(v=4), st.ip_addresses(v=6), min_size=1, max_size=3).map(
    lambda hops: tuple(hops.items())
)
ROUTES = st.builds(Route, st.sampled_from([VIP, OTHER]), **ATTRIBUTES) | st.builds(
    Route, st.just(VIP6), HOPS, **ATTRIBUTES
)


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("med", -1, "from 0 to 4294967295"),
        ("med", 2**32, "from 0 to 4294967295"),
        ("med", True, "from 0 to 4294967295"),
        ("communities", ("65536:0",), "each 0 to 65535"),
        ("communities", ("graceful-shutdown",), "each 0 to 65535"),
        ("communities", ("1:2\nshutdown",), "each 0 to 65535"),
        ("communities", ("01:2",), "each 0 to 65535"),
        ("communities", (7,), "each 0 to 65535"),
        ("next_hop", "192.0.2.1", "expected 'self'"),
    ],
)
def test_a_wrong_route_does_not_come_to_be(field: str, value: object, expected: str) -> None:
    with pytest.raises(RouteError, match=f"203.0.113.10/32: .*{expected}"):
        Route(**{"prefix": VIP, field: value})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("hops", "expected"),
    [
        ((), "pairs"),
        (((PEER,),), "pairs"),
        (((HOP, PEER),), "pairs"),
        (((PEER, PEER),), "pairs"),
        ("fd00::1", "pairs"),
        (((PEER, HOP), (PEER, HOP)), "names a peer twice"),
    ],
)
def test_wrong_next_hops_of_an_ipv6_route(hops: object, expected: str) -> None:
    with pytest.raises(RouteError, match=f"{VIP6}: next_hop .*{expected}"):
        Route(VIP6, hops)  # type: ignore[arg-type]  # wrong on purpose


def test_next_hops_are_a_set_too() -> None:
    other = (IPv4Address("10.0.4.0"), HOP)
    assert Route(VIP6, ((PEER, HOP), other)) == Route(VIP6, (other, (PEER, HOP)))


def test_an_ipv4_route_is_its_own_next_hop() -> None:
    with pytest.raises(RouteError, match=f"{VIP}: next_hop is .*, expected 'self'"):
        Route(VIP, ((PEER, HOP),))


def test_communities_are_a_set() -> None:
    assert Route(VIP, communities=("9:1", "10:1", "9:1")) == Route(VIP, communities=("10:1", "9:1"))


@pytest.mark.parametrize(
    "text",
    [
        *("203.0.113.10", "203.0.113.10/24", "203.0.113.10/33", "", None, 7),
        *("2001:db8::1", "2001:db8::1/64", "2001:db8::/129", "fe80::1%eth0/128", "::ffff:300.0.0.1/128"),
    ],
)
def test_prefixes_are_exact(text: object) -> None:
    with pytest.raises(RouteError, match="expected an IPv4 or IPv6 prefix"):
        parse_prefix(text)


@pytest.mark.parametrize("prefix", [VIP, VIP6, IPv6Network("2001:db8::/64")])
def test_prefixes_of_both_families_are_read(prefix: IPv4Network | IPv6Network) -> None:
    assert parse_prefix(str(prefix)) == prefix


@given(ROUTES)
def test_routes_survive_the_wire(route: Route) -> None:
    assert from_plain(route.prefix, to_plain(route)) == route
    message = Declare(7, {route.prefix: (route, 12.5)})
    assert decode_declare(encode_declare(message).strip()) == message


@given(ROUTES, st.booleans())
def test_states_survive_the_wire(route: Route, up: bool) -> None:
    views = {route.prefix: PrefixView(route, UNKNOWN, None, 3)}
    state = State(3, up, None if up else "hung", views, {IPv4Address("10.0.5.0"): PeerView(up, 4.25, "gone")})
    assert decode_state(encode_state(state).strip()) == state


GOOD = encode_declare(Declare(1, {VIP: (Route(VIP), 9.0), OTHER: None})).strip()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b'"declare"', b'"state"', "not of type declare"),
        (b'"seq":1', b'"seq":"1"', "seq is '1', expected an integer"),
        (b'"seq":1', b'"seq":true', "seq is True, expected an integer"),
        (b'"until":9.0', b'"until":NaN', "until is nan, expected seconds"),
        (b'"until":9.0', b'"until":null', "until is None, expected seconds"),
        (b'"med":null', b'"med":1.5', "med is 1.5"),
        (b'"med":null,', b"", "expected next_hop, med and communities"),
        (b'"communities":[]', b'"communities":"1:2"', "expected a list"),
        (b"203.0.113.11/32", b"203.0.113.11", "expected an IPv4 or IPv6 prefix"),
        (b"203.0.113.10/32", b"2001:db8:1::10/128", "next_hop is 'self', expected one for each peer"),
        (b'"next_hop":"self"', b'"next_hop":{"10.0.5.0":"fd00::1"}', "expected 'self'"),
        (b'"next_hop":"self"', b'"next_hop":["10.0.5.0"]', "expected 'self'"),
        (b"}", b"", "is not JSON"),
    ],
)
def test_a_declaration_with_one_fault_is_refused_whole(old: bytes, new: bytes, text: str) -> None:
    assert decode_declare(GOOD).seq == 1
    with pytest.raises(WireError, match=text):
        decode_declare(GOOD.replace(old, new))


def test_a_state_may_leave_its_prefixes_as_they_were() -> None:
    views: dict[IPv4Network | IPv6Network, PrefixView] = {VIP: PrefixView(Route(VIP), None, UNKNOWN, 0)}
    first, second = State(3, False, None, views, {}), State(4, True, None, views, {PEER: PeerView(True, 1.0, "")})
    line = encode_state(second, repeat=False)
    assert decode_state(line.strip(), first) == second
    assert str(VIP).encode() not in line
    with pytest.raises(WireError):
        decode_state(line.strip())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"as_path": (0,)}, "as_path is"),
        ({"as_path": (65110,) * 17}, "as_path is .*, expected at most 16 AS numbers"),
        ({"large_communities": ("1:2",)}, "large_community is '1:2', expected three numbers"),
        ({"large_communities": ("1:2:4294967296",)}, "large_community is"),
        ({"extended_communities": ("target:65536:1",)}, "extended_community is 'target:65536:1'"),
        ({"extended_communities": ("0x4004000000000000",)}, "extended_community is"),
        ({"extended_communities": ("redirect:1:2",)}, "extended_community is"),
        ({"overrides": ((PEER, Attributes()), (PEER, Attributes()))}, "overrides names a peer twice"),
    ],
)
def test_wrong_attributes_do_not_come_to_be(said: dict[str, Any], expected: str) -> None:
    with pytest.raises(RouteError, match=f"203.0.113.10/32: {expected}"):
        Route(VIP, **said)


@given(st.binary())
def test_noise_raises_nothing_but_wire_errors(line: bytes) -> None:
    for decode in (decode_declare, decode_state):
        with pytest.raises(WireError):
            decode(line)
        with pytest.raises(WireError):
            decode(b'{"type":"state","seq":1,"converged":true,"abort":null,"prefixes":{},"peers":[%d]}' % len(line))


@given(st.lists(st.binary(max_size=20)))
def test_lines_are_the_same_however_the_bytes_are_cut(chunks: list[bytes]) -> None:
    buffer = LineBuffer()
    lines = [line for chunk in chunks for line in buffer.feed(chunk)]
    assert lines == b"".join(chunks).split(b"\n")[:-1]


def test_a_line_without_end_is_no_line() -> None:
    with pytest.raises(WireError, match="no end"):
        LineBuffer().feed(b"x" * (LINE_MAX + 1))


def test_a_lease_ends_at_its_moment_and_is_never_added_to() -> None:
    leases = LeaseTable()
    leases.renew(VIP, 10.0, 8.0)
    leases.renew(VIP, 9.0, 8.0)
    assert leases.next_deadline() == 9.0
    assert leases.expire(8.9) == frozenset() and leases.held() == {VIP}
    assert leases.expire(9.0) == {VIP} and leases.held() == frozenset()


def test_a_lease_that_is_over_or_too_long() -> None:
    leases = LeaseTable()
    leases.renew(VIP, 1e12, 8.0)
    assert leases.next_deadline() == 8.0 + LEASE_MAX
    leases.renew(VIP, 8.0, 8.0)
    assert leases.held() == frozenset() and leases.next_deadline() is None


def test_changes_are_told_once_with_old_new_and_reason() -> None:
    peer, route = IPv4Address("10.0.5.0"), Route(VIP, med=5, communities=("65535:0",))
    first = State(1, False, None, {VIP: PrefixView(route, None, None, 0)}, {peer: PeerView(True, 1.0, "")})
    second = State(2, True, None, {VIP: PrefixView(route, route, route, 0)}, {peer: PeerView(False, 2.0, "lost")})
    assert list(changes(None, first, {peer: "r1"})) == [
        Event("peer r1", "unknown", "up", "session"),
        Event(f"prefix {VIP}", "unknown", "withdrawn", "on the way to announced, med 5, community 65535:0"),
    ]
    assert list(changes(first, second, {peer: "r1"})) == [
        Event("peer r1", "up", "down", "lost"),
        Event(f"prefix {VIP}", "withdrawn", "announced, med 5, community 65535:0", "as declared"),
    ]
    assert list(changes(second, second, {})) == []
    assert word(UNKNOWN) == "unknown"
