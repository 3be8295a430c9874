"""Who carried what: the fold of two readings, and the filter on a router's real interfaces."""

import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.datapath.bpf.build import build
from lab.observe.flowtap import batch
from lab.observe.flowtap.flows import Carriage, Reading, Seen, add_up, carriage, read_flow, read_rows
from lab.observe.flowtap.tap import OBJECT, FlowTap
from lab.observe.inside import inside
from lab.observe.rates import RateWatch
from lab.observe.taps import Tap, edge_taps
from lab.planning import plan
from lab.runtime import LabError
from lab.topology.parse import load
from lab.traffic.flow import TCP, UDP, Flow, make_flow
from tests.lab.machine import wait_until
from tests.lab.privatenet import ip, namespace, needs_root

ROOT = Path(__file__).parents[2]
CLIENT, VIP, OTHER = "198.51.100.9", "203.0.113.11", "192.0.2.1"
CLIENT6, VIP6 = "2001:db8:c::9", "2001:db8:1::11"
VIPS: list[IPv4Address | IPv6Address] = [IPv4Address(VIP), IPv6Address(VIP6)]
FLOW6 = make_flow(CLIENT6, 40000, VIP6, 7000, UDP)
Steps = list[tuple[Flow, str]]
FLOW, FLOW_TWO = (make_flow(CLIENT, port, VIP, 7000, UDP) for port in (40000, 40001))
E1, E2 = frozenset({"a-e1"}), frozenset({"a-e2"})


def row(flow: Flow, index: int, packets: int, last: int) -> tuple[bytes, bytes]:
    mapped = [bytes(10) + b"\xff\xff" + a.packed if a.version == 4 else a.packed for a in (flow.client, flow.vip)]
    key = b"".join(mapped) + struct.pack("!HH", flow.client_port, flow.vip_port)
    return key + struct.pack("=II", flow.protocol, index), struct.pack("=QQ", packets, last)


def packed(flow: Flow) -> bytes:
    return row(flow, 0, 0, 0)[0][:40]


def reading(seen: Mapping[tuple[Flow, str], Seen]) -> Reading:
    return {(packed(flow), edge): each for (flow, edge), each in seen.items()}


def test_rows_become_flows_at_edges_and_routers_add_up() -> None:
    edges = {2: "a-e1", 3: "a-e2"}
    rows = [row(FLOW, 2, 5, 10**9), row(FLOW, 3, 1, 2 * 10**9), row(FLOW, 9, 7, 1), row(FLOW_TWO, 2, 1, 1)]
    elsewhere = row(make_flow(CLIENT, 40000, OTHER, 7000, UDP), 2, 1, 1)
    one = list(read_rows([*rows, elsewhere], edges))
    other_router = list(read_rows([row(FLOW, 7, 2, 3 * 10**9)], {7: "a-e1"}))
    assert add_up([*one, *other_router], VIPS) == reading(
        {(FLOW, "a-e1"): Seen(7, 3.0), (FLOW, "a-e2"): Seen(1, 2.0), (FLOW_TWO, "a-e1"): Seen(1, 1e-9)}
    )
    assert [read_flow(packed(flow)) for flow in (FLOW, FLOW6)] == [FLOW, FLOW6]
    assert set(add_up(read_rows([row(FLOW6, 2, 5, 10**9)], edges), VIPS)) == {(packed(FLOW6), "a-e1")}


def test_a_flow_that_changes_its_edge_moved_and_one_that_stays_did_not() -> None:
    before = {(FLOW, "a-e1"): Seen(5, 1.0), (FLOW_TWO, "a-e1"): Seen(5, 1.0), (FLOW_TWO, "a-e2"): Seen(9, 0.5)}
    after = before | {(FLOW, "a-e2"): Seen(1, 2.0), (FLOW_TWO, "a-e1"): Seen(6, 2.0)}
    found = carriage(reading(before), reading(after))
    assert found.edges == {FLOW: E2, FLOW_TWO: E1}
    assert found.before == {FLOW: "a-e1", FLOW_TWO: "a-e1"}
    assert found.moved == {FLOW: E1 | E2}
    assert found.flows_per_edge == {"a-e1": 1, "a-e2": 1}
    assert found.only([FLOW_TWO]) == Carriage({FLOW_TWO: E1}, {FLOW_TWO: "a-e1"})


def test_a_new_flow_has_not_moved_unless_it_used_two_edges() -> None:
    assert carriage({}, reading({(FLOW, "a-e1"): Seen(1, 1.0)})).moved == {}
    both = reading({(FLOW, "a-e1"): Seen(1, 1.0), (FLOW, "a-e2"): Seen(1, 1.1)})
    assert carriage({}, both).moved == {FLOW: E1 | E2}


def test_a_flow_that_the_map_forgot_and_saw_anew_was_carried() -> None:
    before = reading({(FLOW, "a-e1"): Seen(50, 1.0)})
    assert carriage(before, reading({(FLOW, "a-e1"): Seen(2, 9.0)})).edges == {FLOW: E1}
    assert carriage(before, {}).edges == {}


STEP = st.tuples(st.sampled_from([FLOW, FLOW_TWO]), st.sampled_from(["a-e1", "a-e2"]))


@settings(deadline=None)
@given(st.lists(STEP, max_size=20), st.lists(STEP, max_size=20))
def test_two_readings_tell_exactly_what_was_sent_between_them(first: Steps, then: Steps) -> None:
    def counted(steps: Steps) -> Reading:
        last = {step: number for number, step in enumerate(steps)}
        return reading({step: Seen(steps.count(step), last[step]) for step in steps})

    found = carriage(counted(first), counted(first + then))
    assert found.edges == {flow: frozenset(e for f, e in then if f == flow) for flow, _ in then}
    last = dict(first)
    assert found.before == {flow: last.get(flow, "") for flow, _ in then}
    moved = {flow for flow, edge in then if last.get(flow, edge) != edge}
    moved |= {flow for flow in found.edges if len({edge for f, edge in then if f == flow}) > 1}
    assert set(found.moved) == moved


def test_the_labs_taps_are_the_routers_links_to_edges() -> None:
    file = ROOT / "containerlab" / "two-site.clab.yml"
    taps = edge_taps(plan(load(file.read_text(), str(file))))
    assert {(tap.router, tap.edge) for tap in taps} == {
        (f"{site}-r{router}", f"{site}-e{edge}") for site in "ab" for router in (1, 2) for edge in (1, 2)
    }
    assert len(taps) == 8
    assert len({(tap.router, tap.interface) for tap in taps}) == 8


@contextmanager
def a_router() -> Iterator[Path]:
    """A router with a client's address, and two edges behind eth1 and eth2 that it believes in without ARP."""
    commands = [f"address add {CLIENT}/32 dev lo", f"address add {CLIENT6}/128 dev lo nodad"]
    for n in (1, 2):
        commands += [
            f"link add eth{n} type veth peer name far{n}",
            f"address add 10.0.{n}.0/31 dev eth{n}",
            f"link set eth{n} up",
            f"link set far{n} up",
            f"address add fd00:{n}::/127 dev eth{n} nodad",
            f"neigh add 10.0.{n}.1 lladdr 02:00:00:00:00:0{n} dev eth{n}",
            f"neigh add fd00:{n}::1 lladdr 02:00:00:00:00:0{n} dev eth{n}",
        ]
    with namespace("flowtap", *commands) as path:
        yield path


@pytest.fixture(scope="module")
def router() -> Iterator[Path]:
    build(OBJECT.parent)
    with a_router() as path:
        yield path


TAPS = (Tap("a-r1", "eth1", "a-e1"), Tap("a-r1", "eth2", "a-e2"))


def towards(router: Path, edge: int, destination: str = VIP) -> None:
    ip(router, f"route replace {destination} via 10.0.{edge}.1 dev eth{edge} src {CLIENT}")


def send(router: Path, flow: Flow, size: int = 10) -> None:
    def go() -> None:
        family = socket.AF_INET if flow.client.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((str(flow.client), flow.client_port))
            sock.sendto(b"x" * size, (str(flow.vip), flow.vip_port))

    inside(router, go)


@needs_root
def test_the_filter_sees_what_leaves_towards_each_edge(router: Path) -> None:
    with FlowTap({"a-r1": router}, TAPS, VIPS) as tap:
        towards(router, 1)
        send(router, FLOW)
        send(router, FLOW)
        send(router, FLOW_TWO)
        start = tap.peek()
        assert start.edges == {FLOW: E1, FLOW_TWO: E1}
        assert tap.mark() == start
        towards(router, 2)
        send(router, FLOW)
        moved = tap.mark()
        assert (moved.edges, moved.before, set(moved.moved)) == ({FLOW: E2}, {FLOW: "a-e1"}, {FLOW})
        assert tap.mark().edges == {}
        towards(router, 1)
        send(router, FLOW)
        assert tap.mark().before == {FLOW: "a-e2"}, "the later of the two edges"


@needs_root
def test_a_router_is_followed_into_another_namespace(router: Path) -> None:
    """As on containerlab, where a router that is started again has another one: what it sends there counts, too."""
    netns = {"a-r1": router}
    with a_router() as other, FlowTap(netns, TAPS, VIPS) as tap, RateWatch(netns, TAPS, every=0.05) as rates:
        towards(router, 1)
        send(router, FLOW)
        tap.follow("a-r1", other)
        rates.follow("a-r1", other)
        towards(other, 2)
        for _ in range(100):
            send(other, FLOW_TWO)
        assert tap.mark().edges == {FLOW: E1, FLOW_TWO: E2}
        wait_until(lambda: sum(packets for _, edge, packets, _ in rates.series() if edge == "a-e2") >= 100, 2)
        assert tap.mark().edges == {}


@needs_root
def test_ipv6_flows_are_seen_alike(router: Path) -> None:
    with FlowTap({"a-r1": router}, TAPS, VIPS) as tap:
        ip(router, f"route replace {VIP6} via fd00:1::1 dev eth1 src {CLIENT6}")
        send(router, FLOW6)
        send(router, FLOW6, size=4000)  # fragments: behind an extension header, so not counted
        assert tap.mark().edges == {FLOW6: E1}
        ip(router, f"route replace {VIP6} via fd00:2::1 dev eth2 src {CLIENT6}")
        send(router, FLOW6)
        assert set(tap.mark().moved) == {FLOW6}


@needs_root
def test_tcp_counts_and_a_fragment_counts_once(router: Path) -> None:
    def syn() -> tuple[str, int]:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
            sock.bind((CLIENT, 0))
            sock.connect_ex((VIP, 80))
            name: tuple[str, int] = sock.getsockname()
            return name

    with FlowTap({"a-r1": router}, TAPS, VIPS) as tap:
        towards(router, 1)
        name = inside(router, syn)
        send(router, FLOW, size=4000)
        found = {(read_flow(flow), edge): seen for (flow, edge), seen in tap._read().items()}
    assert set(found) == {(make_flow(*name, VIP, 80, TCP), "a-e1"), (FLOW, "a-e1")}
    assert {seen.packets for seen in found.values()} == {1}
    assert abs(found[FLOW, "a-e1"].last - time.monotonic()) < 5, "the clock is CLOCK_MONOTONIC"


@needs_root
def test_what_arrives_or_goes_elsewhere_is_not_counted_and_user_space_gets_no_packet(router: Path) -> None:
    with FlowTap({"a-r1": router}, TAPS, VIPS) as tap:
        towards(router, 1)
        towards(router, 1, OTHER)
        send(router, make_flow(CLIENT, 40000, OTHER, 7000, UDP))
        inside(router, lambda: arrive("far1", b"\0" * 12 + b"\x08\0" + datagram(FLOW)))
        send(router, FLOW_TWO)
        assert tap.peek().edges == {FLOW_TWO: E1}
        sockets = [
            line.split()
            for line in inside(router, lambda: Path("/proc/thread-self/net/packet").read_text()).splitlines()[1:]
        ]
        assert len(sockets) == 2
        assert {row[6] for row in sockets} == {"0"}, "bytes queued"


def arrive(interface: str, frame: bytes) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        sock.send(frame)


def datagram(flow: Flow) -> bytes:
    ports = struct.pack("!HHHH", flow.client_port, flow.vip_port, 8, 0)
    return struct.pack("!BBHHHBBH", 0x45, 0, 28, 0, 0, 64, UDP, 0) + flow.client.packed + flow.vip.packed + ports


@needs_root
@pytest.mark.parametrize("at_once", [batch._AT_ONCE, 64])
def test_three_thousand_flows_are_read_back_whole(router: Path, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(batch, "_AT_ONCE", at_once)

    def go() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
            for port in range(1024, 4024):
                sock.sendto(datagram(FLOW._replace(client_port=port)), (VIP, 0))

    with FlowTap({"a-r1": router}, TAPS, VIPS) as tap:
        towards(router, 1)
        inside(router, go)
        start = time.monotonic()
        found = tap.mark()
        assert time.monotonic() - start < 1.0
    assert {flow.client_port for flow in found.edges} == set(range(1024, 4024))
    assert found.flows_per_edge == {"a-e1": 3000}


@needs_root
def test_a_tap_that_cannot_be_is_refused_and_leaves_nothing_open(router: Path) -> None:
    def packets() -> int:
        return len(inside(router, lambda: Path("/proc/thread-self/net/packet").read_text()).splitlines())

    before = packets()
    with pytest.raises(LabError, match=r"a-r1: cannot count its flows: .*No such device"):
        FlowTap({"a-r1": router}, [*TAPS, Tap("a-r1", "eth9", "a-e9")], VIPS)
    assert packets() == before
    tap = FlowTap({"a-r1": router}, TAPS, VIPS)
    assert packets() == before + 2
    tap.close()
    tap.close()
    assert packets() == before
