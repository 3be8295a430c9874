"""The forwarder on a veth with real traffic: apply, swap, outlive its process, succeed, detach."""

import dataclasses
import hashlib
import pickle
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from edge.datapath import abi, xdp
from edge.datapath.abi import Reason, Verdict
from edge.datapath.bpf_error import BpfError
from edge.datapath.bpf_map import BpfMap
from edge.datapath.encode import EncodeError, encode_pool
from edge.datapath.forwarder import Forwarder
from edge.datapath.model import Backend, Counted, Encap, ForwarderState, NextHop, Pool, Protocol, Service
from edge.datapath.trace import NOBODY, Wanted
from edge.datapath.tracing import Tracer
from edge.datapath.xdp import Mode
from tests.datapath import frames, kernel
from tests.datapath.conftest import Pair
from tests.datapath.rig import need_programs

pytestmark = pytest.mark.kernel
TABLE_SIZE = 251
VIP, OTHER_VIP = IPv4Address("203.0.113.10"), IPv4Address("203.0.113.11")
TUNNELLED_BY = {Encap.GRE: 24, Encap.IPIP: 20}
SEQUENCE_AT = 14 + 20 + 4  # Ethernet, IPv4, TCP ports


def pool(*ids: int, seed: int = 1) -> Pool:
    chosen = random.Random(seed)
    return Pool(tuple(chosen.choice(ids) for _ in range(TABLE_SIZE)))


@dataclasses.dataclass
class World:
    """The pair of namespaces, the frames that fit it, and states with two pools of two backends each."""

    pair: Pair
    pin_dir: Path
    near: bytes
    far: bytes
    ifindex: int

    def state(self, *pools: Pool, generation: int = 1) -> ForwarderState:
        hop = NextHop(self.ifindex, self.near, self.far)
        backends = tuple(
            Backend(number, f"b{number}", IPv4Address(f"10.9.0.{number}"), encap, hop)
            for number, encap in ((1, Encap.GRE), (2, Encap.GRE), (3, Encap.IPIP), (4, Encap.IPIP))
        )
        services = (Service(1, VIP, Protocol.TCP, 80, 0), Service(2, OTHER_VIP, Protocol.TCP, 7000, 1))
        chosen = pools or (pool(1, 2), pool(3, 4))
        source = IPv4Network("10.0.1.1/32")
        return ForwarderState(
            271828, TABLE_SIZE, source, 1500, services[: len(chosen)], chosen, backends, generation=generation
        )

    def frame(self, vip: IPv4Address = VIP, port: int = 80, client_port: int = 40000) -> bytes:
        segment = frames.scapy().TCP(sport=client_port, dport=port, flags="A", seq=0)
        return self.near + self.far + b"\x08\0" + frames.packet(str(vip), segment)

    @contextmanager
    def open(self, mode: str = "auto") -> Iterator[Forwarder]:
        with self.pair.edge.inside(), Forwarder.open(self.pin_dir, ["e0"], mode, TABLE_SIZE) as forwarder:
            yield forwarder

    @contextmanager
    def owner(self, state: ForwarderState) -> Iterator["subprocess.Popen[bytes]"]:
        command = [sys.executable, "-m", "tests.datapath.owner", "forwarder", str(self.pin_dir)]
        pipe = subprocess.PIPE
        with self.pair.edge.inside(), subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            pickle.dump(state, process.stdin)
            process.stdin.close()
            try:
                assert process.stdout.readline() == b"ready\n"
                yield process
            finally:
                process.kill()

    @contextmanager
    def traffic(self, gap: float = 0.0003) -> Iterator["Flow"]:
        with kernel.packet_socket(self.pair.router, "r0") as raw, Flow(raw, self.frame(), SEQUENCE_AT, gap) as flow:
            yield flow


class Flow(kernel.Stream):
    """TCP segments of one flow; collects them as they come back in GRE, and counts to which backend."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self.backends: Counter[str] = Counter()

    def is_ours(self, frame: bytes) -> bool:
        ours = len(frame) > 62 and frame[23] == Encap.GRE
        if ours:
            self.backends[str(IPv4Address(frame[30:34]))] += 1
        return ours

    def number_of(self, frame: bytes) -> bytes:
        at = SEQUENCE_AT + TUNNELLED_BY[Encap.GRE]
        return frame[at : at + 4]


@pytest.fixture
def world(pair: Pair, pins: Path) -> World:
    return world_of(pair, pins)


def world_of(pair: Pair, pins: Path) -> World:
    need_programs()
    with pair.router.inside():
        far = xdp.mac_address("r0")
    with pair.edge.inside():
        return World(pair, pins / "fairhop", xdp.mac_address("e0"), far, xdp.interface_index("e0"))


@pytest.fixture
def swaps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every swap of an inner map from now on: (outer map, index)."""
    seen: list[tuple[str, int]] = []
    original = BpfMap.put_map

    def spy(self: BpfMap, key: bytes, inner: BpfMap) -> None:
        seen.append((self.name, int.from_bytes(key, "little")))
        original(self, key, inner)

    monkeypatch.setattr(BpfMap, "put_map", spy)
    return seen


def adds_up(forwarder: Forwarder) -> bool:
    found = forwarder.counters()
    return found.rx == found.tx + found.passed + sum(found.drops.values())


def test_packets_come_back_in_the_tunnel_of_their_backend_and_every_one_is_counted(world: World) -> None:
    with world.open() as forwarder:
        assert [(a.interface, a.mode) for a in forwarder.attachments] == [("e0", Mode.NATIVE)]
        before = forwarder.generation
        assert forwarder.apply(world.state(pool(2), pool(3)))
        assert (before, forwarder.generation) == (None, 1)
        with world.traffic() as flow:
            flow.more(300)
        assert flow.lost == 0
        assert set(flow.backends) == {"10.9.0.2"}
        counted = forwarder.counters()
        assert adds_up(forwarder)
        length = len(world.frame()) - 14
        all_of_it, nothing = Counted(flow.sent, flow.sent * length), Counted(0, 0)
        assert counted.services == {1: all_of_it, 2: nothing}
        assert counted.backends == {1: nothing, 2: all_of_it, 3: nothing, 4: nothing}
        assert counted.tx == flow.sent
        assert set(counted.drops) == {reason.label for reason in Reason} - {"none"}
        assert forwarder.tunnel_errors() == dict.fromkeys((1, 2, 3, 4), (0, 0))


def test_digests_are_those_of_the_tables_that_the_kernel_holds(world: World) -> None:
    with world.open() as forwarder:
        assert forwarder.digests() == ()
        state = world.state()
        forwarder.apply(state)
        expected = tuple(hashlib.sha256(encode_pool(p, TABLE_SIZE)).hexdigest() for p in state.pools)
        assert forwarder.digests() == expected
        assert expected[0] != expected[1]


def test_only_differences_are_written_and_never_into_a_table_that_packets_read(
    world: World, swaps: list[tuple[str, int]]
) -> None:
    bank = abi.MAX_POOLS
    with world.open() as forwarder:
        assert forwarder.apply(world.state())
        assert swaps == [("pools", 0), ("pools", 1), ("directory", 0)]
        swaps.clear()
        assert not forwarder.apply(world.state())
        assert swaps == []
        assert forwarder.apply(world.state(generation=2))
        assert swaps == [("directory", 0)]
        swaps.clear()
        changed = pool(1, 2, seed=9)
        forwarder.apply(world.state(changed, pool(3, 4)))
        assert swaps == [("pools", bank), ("pools", bank + 1), ("directory", 0)]
        swaps.clear()
        forwarder.apply(world.state())
        assert swaps == [("directory", 0)], "the former generation still hangs in the other bank"
        swaps.clear()
        forwarder.apply(world.state(changed, pool(4)))
        assert swaps == [("pools", bank + 1), ("directory", 0)]


def test_a_pool_that_goes_is_removed_last_and_its_place_is_empty(world: World) -> None:
    with world.open() as forwarder:
        forwarder.apply(world.state())
        forwarder.apply(world.state(pool(2), pool(3, 4)))
        forwarder.apply(world.state(pool(2)))
        assert len(forwarder.digests()) == 1
        assert forwarder.run(world.frame(OTHER_VIP, 7000), world.ifindex).verdict is Verdict.PASS
        outer = forwarder._maps[abi.POOLS]
        for index in (1, abi.MAX_POOLS + 1):
            with pytest.raises(BpfError, match="No such file"):
                outer.lookup(index.to_bytes(4, "little"))
        assert int.from_bytes(outer.lookup(bytes(4)), "little") > 0


def test_a_table_in_both_banks_is_kept_as_long_as_one_of_them_needs_it(world: World) -> None:
    first, second = (pool(1), pool(2)), (pool(3), pool(4))
    with world.open() as forwarder:
        for chosen in ((0, 0), (1, 0), (1, 1), (1, 0), (0, 0), (0, 1), (1, 1)):
            state = world.state(first[chosen[0]], second[chosen[1]])
            assert forwarder.apply(state)
            expected = [hashlib.sha256(encode_pool(p, TABLE_SIZE)).hexdigest() for p in state.pools]
            assert list(forwarder.digests()) == expected


def test_generations_that_come_and_go_leave_no_descriptor(world: World) -> None:
    with world.open() as forwarder:
        counts = []
        for seed in range(12):
            forwarder.apply(world.state(pool(1, 2, seed=seed), pool(3, 4, seed=seed)))
            counts.append(len(list(Path("/proc/self/fd").iterdir())))
    assert counts[2:] == [counts[2]] * 10


def test_swapping_generations_under_traffic_loses_and_misroutes_nothing(world: World) -> None:
    tables = [pool(1), pool(2)]
    with world.open() as forwarder:
        forwarder.apply(world.state(tables[0], pool(3)))
        with world.traffic(gap=0.0001) as flow:
            for generation in range(2, 62):
                forwarder.apply(world.state(tables[generation % 2], pool(3), generation=generation))
                flow.more(20)
        assert flow.sent > 1000
        assert flow.lost == 0
        assert set(flow.backends) == {"10.9.0.1", "10.9.0.2"}
        assert sum(forwarder.counters().drops.values()) == 0
        assert adds_up(forwarder)


def test_kill_9_and_succession_lose_no_packet_and_keep_the_counters(world: World) -> None:
    with world.owner(world.state(pool(1), pool(3))) as first, world.traffic() as flow:
        flow.more(150)
        first.kill()
        first.wait()
        flow.more(150)
        with world.open() as successor:
            (adopted,) = successor.attachments
            assert adopted.adopted
            assert adopted.mode is Mode.NATIVE
            flow.more(100)
            before = flow.backends.copy()
            successor.apply(world.state(pool(2), pool(3), generation=2))
            flow.more(100)
            assert set(before) == {"10.9.0.1"}
        flow.more(100)
    assert set(flow.backends) == {"10.9.0.1", "10.9.0.2"}
    assert flow.sent > 500
    assert flow.lost == 0
    with world.open() as again:
        assert again.counters().tx == flow.sent


def test_a_state_that_does_not_fit_changes_nothing(world: World) -> None:
    with world.open() as forwarder:
        forwarder.apply(world.state(pool(2), pool(3)))
        short = dataclasses.replace(world.state(), pools=(Pool((1, 2)), pool(3)))
        with pytest.raises(EncodeError, match="pool 0 has 2 slots: expected 251"):
            forwarder.apply(short)
        with pytest.raises(ValueError, match="table_size 13: expected 251"):
            forwarder.apply(dataclasses.replace(world.state(), table_size=13))
        assert forwarder.generation == 1
        assert not forwarder.apply(world.state(pool(2), pool(3)))
        assert forwarder.run(world.frame(), world.ifindex).frame[30:34] == IPv4Address("10.9.0.2").packed


def test_a_refusal_half_way_leaves_the_former_generation_whole(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    original = BpfMap.put_map
    with world.open() as forwarder:
        forwarder.apply(world.state(pool(1), pool(3)))
        before = forwarder.digests()

        def fails_at(name: str, index: int) -> Callable[[BpfMap, bytes, BpfMap], None]:
            def put(self: BpfMap, key: bytes, inner: BpfMap) -> None:
                if (self.name, int.from_bytes(key, "little") % abi.MAX_POOLS) == (name, index):
                    raise RuntimeError("on purpose")
                original(self, key, inner)

            return put

        for place in (("pools", 1), ("directory", 0)):
            monkeypatch.setattr(BpfMap, "put_map", fails_at(*place))
            with pytest.raises(RuntimeError, match="on purpose"):
                forwarder.apply(world.state(pool(2), pool(4), generation=2))
            assert forwarder.digests() == before
            assert forwarder.generation == 1
            assert forwarder.run(world.frame(), world.ifindex).frame[30:34] == IPv4Address("10.9.0.1").packed
        monkeypatch.setattr(BpfMap, "put_map", original)
        assert forwarder.apply(world.state(pool(2), pool(4), generation=2))
        assert forwarder.run(world.frame(), world.ifindex).frame[30:34] == IPv4Address("10.9.0.2").packed


def test_a_run_says_what_happens_to_a_packet_and_why_and_moves_no_counter(world: World) -> None:
    with world.open() as forwarder:
        forwarder.apply(world.state())
        sent = forwarder.run(world.frame(), world.ifindex)
        assert (sent.verdict, sent.reason) == (Verdict.TX, Reason.NONE)
        assert sent.frame[:12] == world.far + world.near
        dropped = forwarder.run(world.frame(port=81), world.ifindex)
        assert (dropped.verdict, dropped.reason) == (Verdict.DROP, Reason.NO_SERVICE)
        passed = forwarder.run(world.frame(IPv4Address("192.0.2.1")), world.ifindex)
        assert (passed.verdict, passed.frame) == (Verdict.PASS, world.frame(IPv4Address("192.0.2.1")))
        forwarder.apply(world.state(pool(2), pool(3)))
        assert forwarder.run(world.frame(), world.ifindex).frame[30:34] == IPv4Address("10.9.0.2").packed
        assert forwarder.counters().rx == 0


def test_threads_may_apply_count_and_run_at_the_same_time(world: World) -> None:
    failures: list[BaseException] = []
    stop = threading.Event()

    def repeat(action: Callable[[], object]) -> None:
        try:
            while not stop.is_set():
                action()
        except BaseException as error:
            failures.append(error)

    with world.open() as forwarder:
        states = [world.state(pool(number), pool(3), generation=number) for number in (1, 2)]
        forwarder.apply(states[0])
        frame = world.frame()

        def check_run() -> None:
            assert forwarder.run(frame, world.ifindex).verdict is Verdict.TX

        actions: list[Callable[[], object]] = [
            lambda: forwarder.apply(states[0]),
            lambda: forwarder.apply(states[1]),
            forwarder.counters,
            check_run,
            forwarder.digests,
        ]
        threads = [threading.Thread(target=repeat, args=(action,)) for action in actions]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_capture_goes_on_over_a_restart_of_its_node(world: World) -> None:
    with world.open() as first:
        first.apply(world.state(pool(1), pool(3)))
        with Tracer(world.pin_dir) as tracer, world.traffic() as flow:
            tracer.start(Wanted(verdicts=frozenset({Verdict.TX})))
            flow.more(20)
            assert shown(tracer) == {"10.9.0.1"}
            first.close()
            with world.open() as successor:
                successor.apply(world.state(pool(2), pool(3)))
                flow.more(20)
                shown(tracer)
                flow.more(20)
                assert shown(tracer) == {"10.9.0.2"}


def shown(tracer: Tracer) -> set[str]:
    """The backends of all packets since the last look."""
    return {str(IPv4Address(event.frame[30:34])) for event in tracer.poll(0.5)}


def test_a_capture_that_died_is_forgotten_by_its_node(world: World) -> None:
    with world.open() as forwarder:
        control = forwarder._maps[abi.TRACE_CONTROL]
        running, dead = (Wanted().control(time.monotonic_ns() + more) for more in (10**10, -1))
        control.update(bytes(4), running)
        forwarder.tidy()
        assert control.lookup(bytes(4)) == running
        control.update(bytes(4), dead)
        forwarder.tidy()
        assert control.lookup(bytes(4)) == NOBODY


def test_detach_leaves_neither_program_nor_pin_nor_descriptor(world: World) -> None:
    with world.open() as forwarder:
        forwarder.apply(world.state())
        forwarder.detach()
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with world.open() as forwarder:
        forwarder.apply(world.state())
        forwarder.run(world.frame(), world.ifindex)
        assert len(list(Path("/proc/self/fd").iterdir())) > descriptors + 10
        forwarder.detach()
        assert xdp.query("e0").mode is None
    assert not world.pin_dir.exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_the_new_mac_of_a_recreated_interface_is_taken_with_the_next_apply(world: World) -> None:
    with world.open() as forwarder:
        forwarder.apply(world.state(pool(1), pool(3)))
        world.pair.edge.ip("link", "delete", "e0")
        assert forwarder.reattach()[0].mode is None
        kernel.veth(world.pair.edge, "e0", world.pair.router, "r0")
        assert forwarder.reattach()[0].mode is Mode.NATIVE
        world.near, world.ifindex = xdp.mac_address("e0"), xdp.interface_index("e0")
        assert forwarder.run(world.frame(), world.ifindex).verdict is Verdict.PASS
        assert forwarder.apply(world.state(pool(1), pool(3)))
        assert forwarder.run(world.frame(), world.ifindex).verdict is Verdict.TX
