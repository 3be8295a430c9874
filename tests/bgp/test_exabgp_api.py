"""The text API: what goes out is known to the last character, what comes in never raises."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp import exabgp_api as api
from bgp.rib import Change
from bgp.route import GRACEFUL_SHUTDOWN, Attributes, Route

VIP = IPv4Network("203.0.113.10/32")
VIP6 = IPv6Network("2001:db8:1::10/128")
HOPS = (
    (IPv4Address("10.0.5.0"), IPv6Address("fd00:0:0:5::1")),
    (IPv4Address("10.0.6.0"), IPv6Address("fd00:0:0:6::1")),
)
UP = (
    b'{ "exabgp": "5.0.0", "time": 1795227409.7391286, "host" : "vm", "pid" : 18608, "ppid" : 18607, "counter": 2, '
    b'"type": "state", "neighbor": { "address": { "local": "127.0.0.78", "peer": "127.0.0.77" }, "asn": { '
    b'"local": 65110, "peer": 65101 }, "router-id": "1.1.1.1" , "state": "up" } }'
)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (Change(VIP, Route(VIP), None), b"announce route 203.0.113.10/32 next-hop self\n"),
        (Change(VIP, Route(VIP, med=0), None), b"announce route 203.0.113.10/32 next-hop self med 0\n"),
        (
            Change(VIP, Route(VIP, med=9, communities=("65110:2", GRACEFUL_SHUTDOWN, "65110:10")), None),
            b"announce route 203.0.113.10/32 next-hop self med 9 community [ 65110:2 65110:10 65535:0 ]\n",
        ),
        (Change(VIP, None, None), b"withdraw route 203.0.113.10/32 next-hop self\n"),
        (Change(VIP, None, Route(VIP, med=9)), b"withdraw route 203.0.113.10/32 next-hop self med 9\n"),
    ],
)
def test_commands(change: Change, line: bytes) -> None:
    assert api.encode(change) == (line,)


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            Change(VIP6, Route(VIP6, HOPS, communities=(GRACEFUL_SHUTDOWN,)), None),
            (
                b"neighbor 10.0.5.0 announce route 2001:db8:1::10/128 next-hop fd00:0:0:5::1 community [ 65535:0 ]\n",
                b"neighbor 10.0.6.0 announce route 2001:db8:1::10/128 next-hop fd00:0:0:6::1 community [ 65535:0 ]\n",
            ),
        ),
        (
            Change(VIP6, None, Route(VIP6, HOPS[:1], med=9)),
            (b"neighbor 10.0.5.0 withdraw route 2001:db8:1::10/128 next-hop fd00:0:0:5::1 med 9\n",),
        ),
        (Change(VIP6, None, None), (b"withdraw route 2001:db8:1::10/128\n",)),
    ],
)
def test_an_ipv6_prefix_has_one_command_for_each_peer(change: Change, lines: tuple[bytes, ...]) -> None:
    assert api.encode(change) == lines


PEERS = tuple(peer for peer, _ in HOPS)


def test_all_kinds_of_attributes_and_a_peer_of_its_own() -> None:
    own = Attributes(communities=("65535:65281",), extended_communities=("bandwidth:65110:1250000",))
    route = Route(VIP6, HOPS, 7, as_path=(65110, 65110), large_communities=("1:2:3",), overrides=((PEERS[1], own),))
    assert api.encode(Change(VIP6, None, route)) == (
        b"neighbor 10.0.5.0 withdraw route 2001:db8:1::10/128 next-hop fd00:0:0:5::1 med 7 as-path [ 65110 65110 ] "
        b"large-community [ 1:2:3 ]\n",
        b"neighbor 10.0.6.0 withdraw route 2001:db8:1::10/128 next-hop fd00:0:0:6::1 community [ 65535:65281 ] "
        b"extended-community [ bandwidth:65110:1250000 ]\n",
    )
    with pytest.raises(api.CommandError, match="expected one for each peer"):
        api.encode(Change(VIP, Route(VIP, overrides=((PEERS[1], own),)), None))


def test_changes_that_say_the_same_share_a_command_but_for_one_that_was_refused() -> None:
    prefixes = [IPv4Network(f"203.0.113.{n}/32") for n in range(12)]
    batch = [Change(p, None, Route(p)) for p in prefixes[:2]] + [Change(p, Route(p), None) for p in prefixes[2:8]]
    batch += [Change(prefixes[8], Route(prefixes[8]), None, alone=True)]
    batch += [Change(p, Route(p, med=1), None) for p in prefixes[9:]]
    commands = api.encode_batch(batch)
    assert [command.changes for command in commands] == [1, 1, 6, 1, 1, 1, 1]
    shared = " ".join(map(str, prefixes[2:8]))
    assert commands[2].lines == (f"announce attributes next-hop self nlri {shared}\n".encode(),)
    gone = [Change(IPv6Network(f"2001:db8::{n}/128"), None, None) for n in range(8)]
    assert [command.changes for command in api.encode_batch(gone)] == [1] * 8


def test_the_end_of_rib_is_told_each_peer_for_each_family() -> None:
    assert api.end_of_rib(PEERS[:1], {6, 4}) == (
        b"neighbor 10.0.5.0 announce eor ipv4 unicast\n",
        b"neighbor 10.0.5.0 announce eor ipv6 unicast\n",
    )


def test_an_ipv6_route_without_next_hops_never_reaches_exabgp() -> None:
    with pytest.raises(api.CommandError, match="expected one for each peer"):
        api.encode(Change(VIP6, Route(VIP6), None))


def test_no_command_holds_the_word_that_stops_exabgp() -> None:
    for route in (Route(VIP, communities=(GRACEFUL_SHUTDOWN,)), Route(VIP6, HOPS, communities=(GRACEFUL_SHUTDOWN,))):
        assert b"shutdown" not in b"".join(api.encode(Change(route.prefix, route, None)))


@pytest.mark.parametrize("smuggled", ["65535:0 ]\nshutdown", "65535:0\r", "65535:0\0", "65535:0;", "65535:0\x1b"])
def test_a_value_that_got_past_the_route_is_refused_here(smuggled: str) -> None:
    route = Route(VIP)
    object.__setattr__(route, "communities", (smuggled,))
    with pytest.raises(api.CommandError, match="expected only lower case letters"):
        api.encode(Change(VIP, route, None))


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"done", api.Done()),
        (b"error", api.Refused()),
        (UP, api.PeerChange(IPv4Address("127.0.0.77"), True, "")),
        (
            UP.replace(b'"up"', b'"down", "reason": "closing connection"'),
            api.PeerChange(IPv4Address("127.0.0.77"), False, "closing connection"),
        ),
        (UP.replace(b'"up"', b'"connected"'), api.Other()),
        (b'{ "exabgp": "5.0.0", "type": "notification", "notification": "shutdown" }', api.Other()),
        (
            b'[{"state": "down", "fsm": "ESTABLISHED", "peer": {"address": "10.0.5.0"}},'
            b' {"state": "down", "fsm": "ACTIVE", "peer": {"address": "10.0.6.0"}}]',
            api.Neighbors(((IPv4Address("10.0.5.0"), True), (IPv4Address("10.0.6.0"), False))),
        ),
        (b"shutdown in progress", api.Other()),
        (b"[" * 100_000, api.Other()),
        (b"", api.Other()),
    ],
)
def test_answers_and_events(line: bytes, event: api.Event) -> None:
    assert api.decode(line) == event


@given(st.binary() | st.builds(lambda cut: UP[:cut], st.integers(0, len(UP))))
def test_no_line_raises(line: bytes) -> None:
    api.decode(line)
    api.decode(b"{" + line)


def test_the_limit_counts_from_the_last_progress() -> None:
    clock = api.AckClock(2.0)
    assert clock.next_deadline() is None and not clock.overdue(1e9)
    clock.sent(2, 10.0)
    assert not clock.overdue(11.9) and clock.overdue(12.0)
    assert clock.answered(11.9) and clock.next_deadline() == pytest.approx(13.9)
    assert clock.answered(12.0) and clock.owed == 0 and not clock.overdue(1e9)
    assert not clock.answered(12.0), "an answer to nothing must be noticed"
