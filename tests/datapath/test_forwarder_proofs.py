"""What no change may cost, under load on a live interface: a packet lost, or one that met anything but one generation.

A generation g sends everything to 10.9.(g/256).(g%256), by a backend id that those beside it give another address: a
packet that met the table of one generation and the backends of another comes out at 10.8.0.1.
"""

import contextlib
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from edge.datapath import xdp
from edge.datapath.abi import Verdict
from edge.datapath.bpf_error import BpfError
from edge.datapath.bpf_map import BpfMap
from edge.datapath.bpf_object import BpfObject
from edge.datapath.forwarder import Forwarder
from edge.datapath.model import Encap, ForwarderState, Pool
from edge.datapath.xdp import Link, Mode
from tests.datapath import kernel
from tests.datapath.conftest import Pair
from tests.datapath.test_forwarder_lifecycle import SEQUENCE_AT, TABLE_SIZE, TUNNELLED_BY, World, adds_up, world_of

pytestmark = pytest.mark.kernel
GENERATIONS, REPLACEMENTS = 500, 100
NOBODY = IPv4Address("10.8.0.1")
ABORTING_C = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
SEC("xdp") int tiny(struct xdp_md *ctx) { return XDP_ABORTED; }
"""


@pytest.fixture
def world(pair: Pair, pins: Path) -> World:
    return world_of(pair, pins)


def generation(world: World, number: int) -> ForwarderState:
    """Generation `number`: its table names one of four backend ids in turn, which alone has an address of use."""
    used, owner = 1 + number % 4, IPv4Address("10.9.0.0") + number
    state = world.state(Pool((used,) * TABLE_SIZE), generation=number)
    backends = tuple(
        dataclasses.replace(each, address=owner if each.id == used else NOBODY, encap=Encap.GRE)
        for each in state.backends
    )
    return dataclasses.replace(state, backends=backends)


class Watch(kernel.Stream):
    """TCP segments through the edge; each must come back once, by a generation that was in force meanwhile.

    `committed` is the last generation whose installation has ended, `begun` the last one whose has begun.
    """

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]
        self.committed = self.begun = 0
        self.met: Counter[int] = Counter()
        self.windows: Counter[int] = Counter()
        self.wrong: list[tuple[int, str, int]] = []
        self._since: dict[int, int] = {}

    @contextlib.contextmanager
    def change(self, number: int) -> Iterator[None]:
        """Say that generation `number` is being installed."""
        self.begun = number
        yield
        self.committed = number

    def _send(self) -> None:
        while not self._stop.is_set():
            self._since[self.sent + 1] = self.committed
            number = (self.sent + 1).to_bytes(4, "big")
            self._raw.send(self._head[: self._at] + number + self._head[self._at + 4 :])
            self.sent += 1
            time.sleep(self._gap)

    def is_ours(self, frame: bytes) -> bool:
        return len(frame) > 62 and frame[23] == Encap.GRE

    def number_of(self, frame: bytes) -> bytes:
        at = SEQUENCE_AT + TUNNELLED_BY[Encap.GRE]
        number, owner = int.from_bytes(frame[at : at + 4], "big"), IPv4Address(frame[30:34])
        since, until = self._since[number], self.begun
        met = int(owner) - int(IPv4Address("10.9.0.0"))
        if not since <= met <= until or number in self.returned:
            self.wrong.append((since, str(owner), until))
        self.met[met] += 1
        self.windows[until - since] += 1
        return frame[at : at + 4]


@contextlib.contextmanager
def watch(world: World, gap: float) -> Iterator[Watch]:
    with kernel.packet_socket(world.pair.router, "r0") as raw, Watch(raw, world.frame(), SEQUENCE_AT, gap) as running:
        yield running


@contextlib.contextmanager
def exceptions() -> Iterator[list[str]]:
    """Lines of the kernel's xdp_exception tracepoint, there when the context ends (P9)."""
    found = list[str]()
    at = Path(tempfile.mkdtemp(prefix=kernel.PREFIX))
    try:
        subprocess.run(["mount", "-t", "tracefs", "tracefs", str(at)], check=True)
        own = at / "instances" / at.name
        own.mkdir()
        event = own / "events" / "xdp" / "xdp_exception" / "enable"
        try:
            event.write_text("1")
            yield found
            found += [line for line in (own / "trace").read_text().splitlines() if " xdp_exception: " in line]
        finally:
            event.write_text("0")
            own.rmdir()
            subprocess.run(["umount", str(at)], check=True)
    finally:
        at.rmdir()


def of(lines: list[str], programs: set[int]) -> list[str]:
    """The lines about these programs: others may be at work on this machine."""
    return [line for line in lines if any(f"prog_id={number} " in line for number in programs)]


def test_a_thousand_swaps_of_tables_show_every_packet_one_generation(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    swapped: Counter[str] = Counter()
    original = BpfMap.put_map

    def count(self: BpfMap, key: bytes, inner: BpfMap) -> None:
        swapped[self.name] += 1
        original(self, key, inner)

    monkeypatch.setattr(BpfMap, "put_map", count)
    with world.open() as forwarder, exceptions() as aborted:
        forwarder.apply(generation(world, 0))
        with watch(world, gap=0.0003) as flow:
            for number in range(1, GENERATIONS + 1):
                with flow.change(number):
                    forwarder.apply(generation(world, number))
        assert (flow.wrong[:5], flow.lost) == ([], 0)
        assert sum(forwarder.counters().drops.values()) == 0
        assert adds_up(forwarder)
        number_of_program = xdp.query("e0").program_id
    assert of(aborted, {number_of_program}) == []
    assert min(swapped["pools"], swapped["directory"]) >= GENERATIONS
    assert len(flow.met) > GENERATIONS * 0.9, "nearly every generation was met by a packet"
    assert flow.windows[0] + flow.windows[1] > 0.9 * flow.sent, "g or g + 1: a packet is quicker than a swap"


def test_a_program_replaced_a_hundred_times_under_load_loses_and_misroutes_nothing(world: World) -> None:
    programs = set[int]()
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(world.open())
        held.apply(generation(world, 0))
        aborted = stack.enter_context(exceptions())
        with watch(world, gap=0.0002) as flow:
            for number in range(1, REPLACEMENTS + 1):
                held.close()
                programs.add(xdp.query("e0").program_id)
                held = stack.enter_context(world.open())
                with flow.change(number):
                    held.apply(generation(world, number))
        programs.add(xdp.query("e0").program_id)
        assert (flow.wrong[:5], flow.lost) == ([], 0)
        assert len(programs) == REPLACEMENTS + 1
        assert held.counters().tx == flow.sent, "the counters go on from program to program"
        assert set(flow.met) == set(range(REPLACEMENTS + 1))
        stack.pop_all().close()
    assert of(aborted, programs) == []


def test_the_watch_for_aborted_programs_sees_one(pair: Pair, tmp_path: Path) -> None:
    aborting = kernel.compile_c(ABORTING_C, tmp_path)
    with exceptions() as found, BpfObject(aborting) as opened:
        opened.load("tiny")
        with opened.program("tiny") as program, pair.edge.inside(), Link.create(program, "e0", Mode.NATIVE):
            number = program.id
            with kernel.packet_socket(pair.router, "r0") as raw:
                raw.send(b"\xff" * 60)
            time.sleep(0.2)
    assert len(of(found, {number})) == 1


def test_generic_where_native_is_refused_forwards_and_says_so(world: World) -> None:
    world.pair.router.ip("link", "set", "r0", "xdp", "off")
    world.pair.router.ip("link", "set", "r0", "mtu", "9500")
    with world.open() as forwarder:
        (found,) = forwarder.attachments
        assert found.mode is Mode.GENERIC
        assert "attach XDP to e0 in native mode" in found.remark
        forwarder.apply(generation(world, 1))
        with watch(world, gap=0.0005) as flow:
            flow.begun = 1
            flow.more(200)
        assert (flow.wrong[:5], flow.lost) == ([], 0)
        forwarder.detach()


def refusal(world: World, mode: str = "auto", pin_dir: Path | None = None) -> str:
    with (
        world.pair.edge.inside(),
        pytest.raises(BpfError) as caught,
        Forwarder.open(pin_dir or world.pin_dir, ["e0"], mode, TABLE_SIZE),
    ):
        pass
    return str(caught.value)


def test_each_refusal_says_what_is_wrong_and_what_to_do(world: World, tiny_object: Path, tmp_path: Path) -> None:
    said = refusal(world, pin_dir=tmp_path / "nowhere" / "fairhop")
    assert "is not on a BPF file system" in said
    assert f"mount -t bpf bpf {tmp_path}/nowhere" in said
    with BpfObject(tiny_object) as opened:
        opened.load("pass_all")
        with opened.program("pass_all") as program, world.pair.edge.inside():
            xdp.attach(program, "e0", Mode.GENERIC)
            said = refusal(world)
            assert "carries program id" in said
            assert "(pass_all) in generic mode" in said
            assert "ip link set dev IFACE xdp off" in said
            xdp.detach("e0", Mode.GENERIC)
            with Link.create(program, "e0", Mode.NATIVE):
                said = refusal(world)
                assert "holds the interface and is not replaced silently" in said
    with world.open() as running:
        running.apply(generation(world, 1))
        assert "another process drives it" in refusal(world)
        second = refusal(world, pin_dir=world.pin_dir.with_name("second"))
        assert "(forward) in native mode" in second
        running.detach()
    world.pair.router.ip("link", "set", "r0", "xdp", "off")
    world.pair.router.ip("link", "set", "r0", "mtu", "9500")
    said = refusal(world, Mode.NATIVE)
    assert "The MTU of the interface or of its veth peer is too large for native XDP" in said
    assert "or use mode generic" in said
    assert not world.pin_dir.exists()


def test_a_link_whose_peer_sends_on_more_queues_than_it_receives_on_is_refused_with_the_line_that_mends(
    world: World,
) -> None:
    edge, router = world.pair.edge, world.pair.router
    one, four = ("numtxqueues", "1", "numrxqueues", "1"), ("numtxqueues", "4", "numrxqueues", "4")
    edge.ip("link", "add", "e1", *one, "type", "veth", "peer", "name", "r1", *four, "netns", router.name)
    with (
        edge.inside(),
        pytest.raises(BpfError) as caught,
        Forwarder.open(world.pin_dir, ["e1"], Mode.NATIVE, TABLE_SIZE),
    ):
        pass
    assert "sends on more queues than this end receives on: `ethtool -L IFACE rx N`" in str(caught.value)


def test_a_process_without_capabilities_is_told_which_it_lacks(world: World) -> None:
    fairhop = Path(sys.executable).with_name("fairhop")
    docs = Path(__file__).parents[2] / "docs" / "fairhop.yaml"
    world.pin_dir.mkdir()
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", str(fairhop), "forwarder", "load"]
    done = subprocess.run(
        [*command, "--config", docs, "--pin", world.pin_dir, "--next-hop", "lo=02:00:00:00:00:02"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 77
    assert "This process lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON: run as root, or grant" in done.stderr


def test_a_run_beside_swaps_meets_one_generation_too(world: World) -> None:
    with world.open() as forwarder:
        for number in range(30):
            forwarder.apply(generation(world, number))
            trace = forwarder.run(world.frame(), world.ifindex)
            assert (trace.verdict, IPv4Address(trace.frame[30:34])) == (
                Verdict.TX,
                IPv4Address("10.9.0.0") + number,
            )
