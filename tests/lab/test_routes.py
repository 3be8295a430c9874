"""The route watch: the fold of route messages, and real kernels whose routes change."""

import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgp.route import Prefix
from edge.datapath.netlink import NetlinkError, messages
from lab.observe.fib import Fib, Hop, RouteEvent, Snapshot, differences
from lab.observe.routes import RouteWatch
from lab.observe.rtnetlink import read_route
from lab.runtime import LabError
from tests.lab.privatenet import ip, namespace, needs_root, run

WEB, ECHO, OTHER = (IPv4Network(f"203.0.113.{n}/32") for n in (10, 11, 99))
WEB6 = IPv6Network("2001:db8:1::10/128")
LINKS = {2: "eth1", 3: "eth2"}
PORT, ZEBRA = 4711, 812
NEWLINK, NEWROUTE, DELROUTE, NEXTHOP, DONE, ERROR = 16, 24, 25, 104, 3, 2


def message(kind: int, payload: bytes, port: int = ZEBRA, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, 7, port) + payload


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def route(prefix: Prefix, hops: Sequence[tuple[str, int, int]], metric: int = 20, table: int = 254) -> bytes:
    """A unicast route: hops are (gateway, index, flags); one hop is written as the kernel writes one."""
    body = attribute(1, prefix.network_address.packed) + attribute(15, struct.pack("=I", table))
    body += attribute(6, struct.pack("=I", metric))
    flags = 0
    if len(hops) == 1:
        ((gateway, index, flags),) = hops
        body += attribute(5, ip_address(gateway).packed) + attribute(4, struct.pack("=I", index))
    else:
        legs = (
            struct.pack("=HBBi", 12 + len(ip_address(gateway).packed), state, 0, index)
            + attribute(5, ip_address(gateway).packed)
            for gateway, index, state in hops
        )
        body += attribute(9, b"".join(legs))
    return (
        struct.pack("=BBBBBBBBI", 2 if prefix.version == 4 else 10, prefix.prefixlen, 0, 0, 0, 186, 0, 1, flags) + body
    )


def link(index: int, name: str) -> bytes:
    return message(NEWLINK, struct.pack("=BxHiII", 0, 1, index, 0, 0) + attribute(3, name.encode() + b"\0"))


ONE, TWO = ("10.0.5.1", 2, 0), ("10.0.7.1", 3, 0)
HOP_ONE, HOP_TWO = Hop("10.0.5.1", "eth1"), Hop("10.0.7.1", "eth2")


def synchronised(*routes: bytes) -> Fib:
    fib = Fib("a-r1", [WEB, ECHO, WEB6], LINKS, PORT)
    assert fib.request() is not None
    answers = b"".join(message(NEWROUTE, each, PORT) for each in routes)
    assert fib.fold(answers + message(DONE, bytes(4), PORT), 1.0) == []
    assert fib.synchronised
    return fib


def test_the_first_table_is_where_changes_start_from() -> None:
    fib = synchronised(route(WEB, [TWO, ONE]), route(OTHER, [ONE]), route(ECHO, [ONE], table=255))
    assert fib.table() == {WEB: (HOP_ONE, HOP_TWO)}
    assert fib.request() is None


def test_routes_that_come_and_go_are_events() -> None:
    fib = synchronised(route(WEB, [ONE, TWO]))
    assert fib.fold(message(NEWROUTE, route(WEB, [TWO])), 2.0) == [RouteEvent(2.0, "a-r1", WEB, (HOP_TWO,))]
    assert fib.fold(message(NEWROUTE, route(WEB, [TWO])), 3.0) == []
    assert fib.fold(message(NEWROUTE, route(OTHER, [TWO])), 3.5) == []
    assert fib.fold(message(DELROUTE, route(WEB, [TWO])), 4.0) == [RouteEvent(4.0, "a-r1", WEB, ())]
    assert fib.table() == {}


def test_the_route_with_the_lowest_metric_is_in_use() -> None:
    fib = synchronised(route(WEB, [ONE], metric=20), route(WEB, [TWO], metric=100))
    assert fib.table() == {WEB: (HOP_ONE,)}
    (event,) = fib.fold(message(DELROUTE, route(WEB, [ONE], metric=20)), 2.0)
    assert event.hops == (HOP_TWO,)


def test_a_route_that_refuses_packets_has_no_next_hop() -> None:
    fib = synchronised(route(WEB, [ONE], metric=5))
    unreachable = bytearray(route(WEB, [ONE], metric=0))
    unreachable[7] = 7
    (event,) = fib.fold(message(NEWROUTE, bytes(unreachable)), 2.0)
    assert event.hops == ()


ONE6, TWO6 = ("fd00:0:0:5::1", 2, 0), ("fd00:0:0:7::1", 3, 0)


def test_routes_of_both_families_are_told() -> None:
    fib = synchronised(route(WEB, [ONE]), route(WEB6, [ONE6, TWO6]))
    assert fib.table() == {WEB: (HOP_ONE,), WEB6: (Hop("fd00:0:0:5::1", "eth1"), Hop("fd00:0:0:7::1", "eth2"))}
    news = message(NEWROUTE, route(WEB6, [TWO6])) + message(DELROUTE, route(WEB, [ONE]))
    assert fib.fold(news, 2.0) == [
        RouteEvent(2.0, "a-r1", WEB, ()),
        RouteEvent(2.0, "a-r1", WEB6, (Hop("fd00:0:0:7::1", "eth2"),)),
    ]
    assert fib.fold(message(DELROUTE, route(WEB6, [TWO6])), 3.0) == [RouteEvent(3.0, "a-r1", WEB6, ())]
    assert fib.request() is None


def test_one_next_hop_of_an_ipv6_route_that_is_deleted_makes_it_read_again() -> None:
    fib = synchronised(route(WEB6, [ONE6, TWO6]))
    assert fib.fold(message(DELROUTE, route(WEB6, [ONE6])), 5.0) == []
    assert fib.request() is not None
    fib.fold(message(NEWROUTE, route(WEB6, [TWO6]), PORT), 5.1)
    event = RouteEvent(5.0, "a-r1", WEB6, (Hop("fd00:0:0:7::1", "eth2"),))
    assert fib.fold(message(DONE, bytes(4), PORT), 5.2) == [event]


def test_routes_for_one_tos_and_of_other_families_are_not_ours() -> None:
    for at, value in ((0, 28), (3, 0x10)):
        odd = bytearray(route(WEB, [ONE]))
        odd[at] = value
        assert read_route(bytes(odd)) is None
        assert synchronised(bytes(odd)).table() == {}


def test_a_next_hop_of_an_ipv6_neighbour_is_told_by_its_address() -> None:
    via = attribute(18, struct.pack("=H", 10) + IPv6Address("fe80::1").packed) + attribute(4, struct.pack("=I", 3))
    six = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 186, 0, 1, 0) + attribute(1, WEB.network_address.packed) + via
    assert synchronised(six).table() == {WEB: (Hop("fe80::1", "eth2"),)}


def test_a_next_hop_without_carrier_is_in_use_unless_the_kernel_says_that_it_is_dead() -> None:
    assert synchronised(route(WEB, [(*ONE[:2], 16), (*TWO[:2], 17)])).table() == {WEB: (HOP_ONE,)}


@pytest.mark.parametrize("news", [link(2, "eth1"), message(NEXTHOP, bytes(8))])
def test_a_next_hop_that_dies_in_silence_is_found_by_reading_again(news: bytes) -> None:
    fib = synchronised(route(WEB, [ONE, TWO]))
    assert fib.fold(news, 5.0) == []
    assert fib.request() is not None
    assert fib.request() is None, "one reading at a time"
    dead = message(NEWROUTE, route(WEB, [(*ONE[:2], 1), TWO]), PORT)
    assert fib.fold(dead, 5.1) == [], "the table in use stays until the new one is whole"
    event = RouteEvent(5.0, "a-r1", WEB, (HOP_TWO,))
    assert fib.fold(message(DONE, bytes(4), PORT), 5.2) == [event], "the time is that of the news"
    assert fib.request() is None


def test_a_change_while_the_table_is_read_makes_it_read_again() -> None:
    fib = synchronised(route(WEB, [ONE]))
    fib.lost(5.0)
    fib.request()
    fib.fold(link(2, "eth1"), 5.1)
    fib.fold(message(DONE, bytes(4), PORT), 5.2)
    assert fib.request() is not None
    fib.fold(message(DONE, bytes(4), PORT, flags=0x10), 5.3)
    assert fib.request() is not None, "the kernel says that the table changed meanwhile"


def test_news_during_a_reading_outlive_it() -> None:
    fib = synchronised()
    fib.lost(5.0)
    fib.request()
    fib.fold(message(NEWROUTE, route(WEB, [ONE]), PORT) + message(NEWROUTE, route(ECHO, [ONE]), PORT), 5.1)
    fib.fold(message(DELROUTE, route(WEB, [ONE])), 5.2)
    fib.fold(message(NEWROUTE, route(ECHO, [TWO])), 5.3)
    fib.fold(message(DONE, bytes(4), PORT), 5.4)
    assert fib.table() == {ECHO: (HOP_TWO,)}


def test_the_end_of_somebody_elses_dump_is_not_ours() -> None:
    fib = Fib("a-r1", [WEB], LINKS, PORT)
    fib.request()
    fib.fold(message(DONE, bytes(4), ZEBRA), 1.0)
    assert not fib.synchronised


def test_an_interface_is_named_by_its_last_name() -> None:
    fib = synchronised()
    fib.fold(link(9, "late"), 2.0)
    (event,) = fib.fold(message(NEWROUTE, route(WEB, [("10.0.9.1", 9, 0)])), 2.1)
    assert event.hops == (Hop("10.0.9.1", "late"),)


def test_a_refusal_by_the_kernel_is_an_error_and_an_acknowledgement_is_none() -> None:
    fib = synchronised()
    assert fib.fold(message(ERROR, bytes(20)), 2.0) == []
    with pytest.raises(NetlinkError, match=r"a-r1: .*errno 1\)"):
        fib.fold(message(ERROR, struct.pack("=i", -1) + bytes(16)), 2.0)


HOPS = st.lists(st.sampled_from([ONE, TWO]), min_size=1, max_size=2, unique=True)
Change = tuple[bool, IPv4Network, list[tuple[str, int, int]], int]
CHANGE = st.tuples(st.booleans(), st.sampled_from([WEB, ECHO]), HOPS, st.sampled_from([0, 20]))


@settings(deadline=None)
@given(st.lists(CHANGE, max_size=20), st.integers(0, 20))
def test_events_replay_to_the_table_whatever_is_read_again(changes: list[Change], reread: int) -> None:
    fib, replayed = synchronised(), dict[Prefix, tuple[Hop, ...]]()
    kernel: dict[tuple[IPv4Network, int], list[tuple[str, int, int]]] = {}
    for number, (add, prefix, hops, metric) in enumerate(changes):
        if add:
            kernel[prefix, metric] = hops
        elif kernel.pop((prefix, metric), None) is None:
            continue
        events = fib.fold(message(NEWROUTE if add else DELROUTE, route(prefix, hops, metric)), number)
        if number == reread:
            fib.lost(number)
            fib.request()
            rows = (message(NEWROUTE, route(p, h, m), PORT) for (p, m), h in kernel.items())
            assert fib.fold(b"".join(rows) + message(DONE, bytes(4), PORT), number) == []
        replayed |= {event.prefix: event.hops for event in events}
    want = {}
    for prefix, metric in sorted(kernel, reverse=True):
        want[prefix] = tuple(sorted(Hop(gateway, LINKS[index]) for gateway, index, _ in kernel[prefix, metric]))
    assert fib.table() == want
    assert {prefix: hops for prefix, hops in replayed.items() if hops} == want


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_parser_raise_anything_but_its_error(data: bytes) -> None:
    fib = synchronised()
    for body in (
        data,
        message(NEWROUTE, data),
        message(NEWLINK, data),
        message(NEWROUTE, route(WEB, [ONE])[:-4] + data),
    ):
        with suppress(NetlinkError):
            fib.fold(body, 1.0)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"x" * 15, "a message of 15 bytes, expected 16 or more"),
        (struct.pack("=IHHII", 40, 24, 0, 0, 0), "says it has 40 bytes, 16 are there"),
        (message(NEWROUTE, bytes(11)), "route message of 11 bytes"),
        (message(NEWROUTE, bytes([2, 32]) + bytes(10) + b"\xff\x00\x01\x00"), "says it has 255 bytes, 4 are there"),
        (message(NEWROUTE, bytes([2, 33]) + bytes(10)), "4 bytes, 33 bits of them, are no IPv4 prefix"),
        (message(NEWROUTE, bytes([2, 24]) + bytes(10) + attribute(1, b"\x0a\0")), "2 bytes, 24 bits of them, are no"),
        (message(NEWROUTE, bytes([2] + [0] * 6 + [1]) + bytes(4) + attribute(5, bytes(3))), "a gateway of 3 bytes"),
        (message(NEWROUTE, bytes([10, 129]) + bytes(10)), "16 bytes, 129 bits of them, are no IPv6 prefix"),
        (message(NEWROUTE, bytes([10, 32]) + bytes(10) + attribute(1, bytes(4))), "4 bytes, 32 bits of them, are no"),
        (message(NEWROUTE, bytes([2] + [0] * 6 + [1]) + bytes(4) + attribute(6, bytes(2))), "a number of 2 bytes"),
    ],
)
def test_what_is_no_message_says_why(data: bytes, complaint: str) -> None:
    with pytest.raises(NetlinkError, match=complaint):
        for each in messages(data):
            read_route(each.payload)


def test_differences_name_router_prefix_and_both_sides() -> None:
    snapshot: Snapshot = {"a-r1": {WEB: (HOP_ONE, HOP_TWO)}, "a-r2": {WEB: (HOP_ONE,)}}
    both: dict[Prefix, list[str]] = {WEB: ["10.0.7.1", "10.0.5.1"]}
    assert differences(snapshot, {"a-r1": both}) == []
    assert differences(snapshot, {"a-r2": both, "b-r1": both}) == [
        "a-r2: 203.0.113.10/32 has 10.0.5.1@eth1, expected 10.0.5.1 10.0.7.1",
        "b-r1: 203.0.113.10/32 has no next hop, expected 10.0.5.1 10.0.7.1",
    ]
    assert differences(snapshot, {"a-r1": {WEB: []}}) == [
        "a-r1: 203.0.113.10/32 has 10.0.5.1@eth1 10.0.7.1@eth2, expected none"
    ]


@pytest.fixture
def routers() -> Iterator[dict[str, Path]]:
    """Two routers, each with two links to nowhere: eth1 (10.0.1.0/31) and eth2 (10.0.2.0/31)."""
    links = [
        words
        for n in (1, 2)
        for words in (
            f"link add eth{n} type veth peer name far{n}",
            f"address add 10.0.{n}.0/31 dev eth{n}",
            f"link set eth{n} up",
            f"link set far{n} up",
            f"address add fd00:{n}::/127 dev eth{n} nodad",
        )
    ]
    with namespace("routes", *links) as one, namespace("routes", *links) as two:
        yield {"a-r1": one, "a-r2": two}


BOTH = "nexthop via 10.0.1.1 dev eth1 nexthop via 10.0.2.1 dev eth2"
GATEWAYS = ["10.0.1.1", "10.0.2.1"]
BOTH6 = "nexthop via fd00:1::1 dev eth1 nexthop via fd00:2::1 dev eth2"
ALL: dict[str, dict[Prefix, list[str]]] = {"a-r1": {WEB: GATEWAYS}, "a-r2": {WEB: GATEWAYS}}


def descriptors() -> set[str]:
    """What this process holds open that a watch may have opened: by inode, so nothing is mistaken for another."""
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists
            names.append(str(entry.readlink()))
    return {name for name in names if name.startswith(("socket:", "net:", "/run/netns"))}


@needs_root
def test_a_watch_sees_every_routers_changes_and_their_time(routers: dict[str, Path]) -> None:
    ip(routers["a-r1"], f"route add {WEB} proto bgp metric 20 {BOTH}")
    with RouteWatch(routers, [WEB, ECHO]) as watch:
        assert watch.snapshot() == {"a-r1": {WEB: (Hop("10.0.1.1", "eth1"), Hop("10.0.2.1", "eth2"))}, "a-r2": {}}
        start = time.monotonic()
        ip(routers["a-r2"], f"route add {WEB} proto bgp metric 20 {BOTH}")
        at = watch.wait_for(ALL, 2)
        end = time.monotonic()
        assert start < at < end
        ip(routers["a-r1"], f"route replace {WEB} proto bgp metric 20 via 10.0.2.1")
        watch.wait_for({"a-r1": {WEB: ["10.0.2.1"]}}, 2)
        ip(routers["a-r1"], f"route del {WEB} metric 20")
        watch.wait_for({"a-r1": {WEB: []}}, 2)
        watch.wait_quiet(0.05, 2)
        assert [(event.router, len(event.hops)) for event in watch.events(start)] == [
            ("a-r2", 2),
            ("a-r1", 1),
            ("a-r1", 0),
        ]
        first = watch.last_change(start, end)
        assert first is not None
        assert (first.router, first.prefix) == ("a-r2", WEB)
        assert watch.last_change(time.monotonic()) is None


@needs_root
def test_a_watch_sees_ipv6_routes_come_change_and_go(routers: dict[str, Path]) -> None:
    node = routers["a-r1"]
    with RouteWatch(routers, [WEB6]) as watch:
        for words, gateways in (
            (f"add {WEB6} proto bgp metric 20 {BOTH6}", ["fd00:1::1", "fd00:2::1"]),
            (f"replace {WEB6} proto bgp metric 20 via fd00:2::1", ["fd00:2::1"]),
            (f"replace {WEB6} proto bgp metric 20 {BOTH6}", ["fd00:1::1", "fd00:2::1"]),
            (f"del {WEB6} metric 20 nexthop via fd00:1::1 dev eth1", ["fd00:2::1"]),
            (f"append {WEB6} proto bgp metric 20 via fd00:1::1 dev eth1", ["fd00:1::1", "fd00:2::1"]),
            (f"del {WEB6} metric 20", []),
        ):
            ip(node, f"-6 route {words}")
            watch.wait_for({"a-r1": {WEB6: gateways}}, 2)
        ip(node, f"-6 route add {WEB6} proto bgp metric 20 {BOTH6}")
        ip(node, "link set eth1 down")
        watch.wait_for({"a-r1": {WEB6: ["fd00:2::1"]}}, 2)


@needs_root
def test_a_next_hop_lost_with_its_interface_is_seen(routers: dict[str, Path]) -> None:
    ip(routers["a-r1"], f"route add {WEB} proto bgp metric 20 {BOTH}")
    with RouteWatch(routers, [WEB]) as watch:
        ip(routers["a-r1"], "link set eth1 down")
        watch.wait_for({"a-r1": {WEB: ["10.0.2.1"]}}, 2)
        ip(routers["a-r1"], "link set eth2 down")
        watch.wait_for({"a-r1": {WEB: []}}, 2)


@needs_root
def test_a_router_is_followed_into_another_namespace(routers: dict[str, Path]) -> None:
    """As on containerlab, where a router that is started again has another one."""
    former, other = routers["a-r1"], routers.pop("a-r2")
    ip(former, f"route add {WEB} proto bgp metric 20 {BOTH}")
    ip(other, f"route add {WEB} proto bgp metric 20 via 10.0.2.1")
    ip(other, f"route add {ECHO} proto bgp metric 20 {BOTH}")
    with RouteWatch({"a-r1": former}, [WEB, ECHO]) as watch:
        start = time.monotonic()
        watch.follow("a-r1", other)
        assert watch.snapshot() == {
            "a-r1": {WEB: (Hop("10.0.2.1", "eth2"),), ECHO: (Hop("10.0.1.1", "eth1"), Hop("10.0.2.1", "eth2"))}
        }
        assert [(event.prefix, len(event.hops)) for event in watch.events(start)] == [(WEB, 1), (ECHO, 2)]
        ip(former, f"route del {WEB} metric 20")  # nobody listens there any more
        ip(other, f"route del {ECHO} metric 20")
        watch.wait_for({"a-r1": {WEB: ["10.0.2.1"], ECHO: []}}, 2)
        watch.follow("a-r1", former)
        assert watch.snapshot() == {"a-r1": {}}
    assert not [name for name in descriptors() if name.startswith("net:")]


@needs_root
def test_a_next_hop_object_that_changes_is_seen(routers: dict[str, Path]) -> None:
    node = routers["a-r1"]
    for words in ("nexthop add id 1 via 10.0.1.1 dev eth1", "nexthop add id 2 via 10.0.2.1 dev eth2"):
        ip(node, words)
    ip(node, "nexthop add id 10 group 1/2")
    ip(node, f"route add {WEB} proto bgp metric 20 nhid 10")
    with RouteWatch(routers, [WEB]) as watch:
        watch.wait_for({"a-r1": {WEB: GATEWAYS}}, 2)
        ip(node, "nexthop del id 1")
        watch.wait_for({"a-r1": {WEB: ["10.0.2.1"]}}, 2)


@needs_root
def test_many_changes_at_once_end_in_the_right_table(routers: dict[str, Path]) -> None:
    noise = [IPv4Network(f"192.0.2.{n}/32") for n in range(200)]
    with RouteWatch(routers, [*noise, WEB]) as watch:
        node = routers["a-r1"]
        lines = "".join(f"route add {prefix} via 10.0.1.1\n" for prefix in noise)
        batch = node.parent.parent / f"{node.name}.batch"
        batch.write_text(lines + f"route add {WEB} via 10.0.2.1\n")
        try:
            run("ip", "-n", node.name, "-batch", str(batch))
        finally:
            batch.unlink()
        wanted: dict[Prefix, list[str]] = {WEB: ["10.0.2.1"], **{prefix: ["10.0.1.1"] for prefix in noise}}
        watch.wait_for({"a-r1": wanted}, 2)
        assert len(watch.events()) == 201


@needs_root
def test_what_does_not_come_is_said(routers: dict[str, Path]) -> None:
    with RouteWatch(routers, [WEB]) as watch:
        with pytest.raises(LabError, match=r"within 0\.05 s: a-r1: 203\.0\.113\.10/32 has no next hop, expected 10"):
            watch.wait_for({"a-r1": {WEB: ["10.0.1.1"]}}, 0.05)
        with pytest.raises(LabError, match="did not stay unchanged"):
            watch.wait_quiet(1.0, 0.05)
    with pytest.raises(LabError, match="closed"):
        watch.snapshot()
    with pytest.raises(LabError, match="nowhere: cannot enter the network namespace"):
        RouteWatch({"a-r1": Path("/run/netns/nowhere")}, [WEB])


@needs_root
def test_a_closed_watch_leaves_no_descriptor_and_keeps_no_namespace(routers: dict[str, Path]) -> None:
    before = descriptors()
    name = f"{routers['a-r1'].name}-gone"
    run("ip", "netns", "add", name)
    try:
        ip(routers["a-r1"], f"link add mine type veth peer name theirs netns {name}")
        watch = RouteWatch(routers | {"b-r1": Path("/run/netns") / name}, [WEB])
    finally:
        run("ip", "netns", "del", name)
    time.sleep(0.1)
    assert "mine" in ip(routers["a-r1"], "link show"), "an open watch holds its namespace: else this proves nothing"
    watch.close()
    watch.close()
    assert descriptors() == before
    end = time.monotonic() + 3
    while "mine" in ip(routers["a-r1"], "link show"):
        assert time.monotonic() < end, "the namespace is still alive"
        time.sleep(0.02)
    with pytest.raises(LabError):
        RouteWatch(routers | {"b-r1": Path("/run/netns/nowhere")}, [WEB])
    assert descriptors() == before
