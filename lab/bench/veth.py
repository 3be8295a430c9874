"""Millions of packets a second over veth, native: what one core forwards, and what one core does for the whole path.

Runs in a network namespace of its own, with /sys of that namespace: see `lab.bench.inside`. Frames are made by
BPF_PROG_TEST_RUN with live frames and never seen by a stack.
"""

import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from edge.datapath.bpf_error import Step
from edge.datapath.bpf_map import BpfMap
from edge.datapath.bpf_object import BpfObject
from edge.datapath.libbpf import TestRunOpts, call, options
from edge.datapath.xdp import Link, Mode, Program, interface_index
from lab.bench import cases
from lab.bench.harness import DRIVER, FLOOR, BenchError, constants
from lab.bench.world import OWN_MAC, ROUTER_MAC

_LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES
_BATCH = 64
_CASE, _MASK = cases.CASES[0], cases.MANY
_FIRST = bytes(4)
_SETTLED = 0.02  # seconds without a packet
CORE, PATH = "core", "path"


@dataclass(slots=True)
class Pair:
    """A veth pair: `edge` carries the program under test, `router` swallows what comes back."""

    edge: str
    router: str
    rates: dict[str, list[float]] = field(default_factory=lambda: {CORE: [], PATH: []})

    def lay(self) -> None:
        """Make both ends in the calling thread's namespace. Raises `BenchError`."""
        queues = "numtxqueues 1 numrxqueues 1"
        _ip(f"link add {self.edge} address {OWN_MAC.hex(':')} {queues} type veth peer name {self.router} {queues}")
        _ip(f"link set {self.router} address {ROUTER_MAC.hex(':')}")
        for end in (self.edge, self.router):
            Path(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6").write_text("1")
            _ip(f"link set {end} up")

    @property
    def received(self) -> int:
        """Packets that the program under test has met."""
        return int(Path(f"/sys/class/net/{self.edge}/statistics/rx_packets").read_text())

    def thread_napi(self, on: bool) -> None:
        """Let each end be polled by a thread of its own, or by the softirq of whoever sends."""
        for end in (self.edge, self.router):
            Path(f"/sys/class/net/{end}/threaded").write_text(str(int(on)))


class Generator:
    """Sends TCP packets of 64 k flows out of a pair's `router` end, and counts what comes back longer."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        with ExitStack() as held, BpfObject(DRIVER) as opened:
            opened.set_rodata(constants(_CASE, _MASK))
            opened.load("generate")
            self._program = held.enter_context(opened.program("generate"))
            self._swallowed: BpfMap = held.enter_context(opened.map("swallowed"))
            self.floor: Program = held.enter_context(opened.program(FLOOR))
            with opened.program("swallow") as swallow:
                held.enter_context(Link.create(swallow, pair.router, Mode.NATIVE))
            self._held = held.pop_all()

    @property
    def swallowed(self) -> int:
        """Encapsulated packets that came back."""
        return sum(int.from_bytes(count, "little") for count in self._swallowed.lookup_percpu(_FIRST))

    def send(self, count: int) -> int:
        """Send `count` frames and wait for the last; returns ns of CPU time that this thread took."""
        frame = _CASE.frame
        data = ctypes.create_string_buffer(frame, len(frame))
        context = b"".join(
            n.to_bytes(4, "little") for n in (0, len(frame), 0, interface_index(self._pair.router), 0, 0)
        )
        held = ctypes.create_string_buffer(context, len(context))
        run = options(
            TestRunOpts,
            data_in=ctypes.addressof(data),
            data_size_in=len(frame),
            ctx_in=ctypes.addressof(held),
            ctx_size_in=len(context),
            repeat=count,
            flags=_LIVE_FRAMES,
            batch_size=_BATCH,
        )
        began = time.thread_time_ns()
        call(Step.RUN, f"send {count} live frames", "bpf_prog_test_run_opts", self._program.fileno(), ctypes.byref(run))
        took = time.thread_time_ns() - began
        before = -1
        while before != (before := self._pair.received):
            time.sleep(_SETTLED)
        return took

    def close(self) -> None:
        """Take the program off the router's end."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def core_rate(pair: Pair, generator: Generator, count: int, cpus: tuple[int, int]) -> float:
    """Mpps by the CPU time of the thread that runs the program under test, alone on the second of two CPUs."""
    pair.thread_napi(on=True)
    edge, router = _napi_thread(pair.edge), _napi_thread(pair.router)
    os.sched_setaffinity(edge, {cpus[1]})
    os.sched_setaffinity(router, {cpus[0]})
    packets, took = -pair.received, -_cpu_time(edge)
    came = -generator.swallowed
    generator.send(count)
    packets, took = packets + pair.received, took + _cpu_time(edge)
    came += generator.swallowed
    pair.thread_napi(on=False)
    _expect(0 < came <= packets <= count, f"{pair.edge}: {count} sent, {packets} met the program, {came} came back")
    return 1000 * packets / took


def path_rate(pair: Pair, generator: Generator, count: int, cpu: int) -> float:
    """Mpps of one core that makes the packets, forwards them and receives them."""
    softirq = _thread(f"ksoftirqd/{cpu}")
    came, took = -generator.swallowed, -_cpu_time(softirq)
    took += generator.send(count) + _cpu_time(softirq)
    came += generator.swallowed
    _expect(came == count, f"{pair.edge}: {count} sent on one core, {came} came back")
    return 1000 * came / took


def measure(
    pairs: Mapping[str, Pair], rounds: int, count: int, tell: Callable[[str], None]
) -> dict[tuple[str, str], list[float]]:
    """(name, CORE or PATH) -> Mpps in each round. The floor is put on its pair; the others carry their program already.

    Raises `BenchError`, `BpfError`.
    """
    cpus = sorted(os.sched_getaffinity(0))
    rates: dict[tuple[str, str], list[float]] = {(name, kind): [] for name in pairs for kind in (CORE, PATH)}
    with ExitStack() as held:
        generators = {name: held.enter_context(Generator(pair)) for name, pair in pairs.items()}
        if FLOOR in pairs:
            held.enter_context(Link.create(generators[FLOOR].floor, pairs[FLOOR].edge, Mode.NATIVE))
        os.sched_setaffinity(0, {cpus[0]})
        held.callback(os.sched_setaffinity, 0, set(cpus))
        for number in range(rounds):
            tell(f"veth: round {number + 1} of {rounds}")
            for name, pair in pairs.items():
                rates[name, PATH].append(path_rate(pair, generators[name], count, cpus[0]))
                if len(cpus) > 1:
                    rates[name, CORE].append(core_rate(pair, generators[name], count, (cpus[0], cpus[1])))
    return rates


def _ip(words: str) -> None:
    done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
    _expect(done.returncode == 0, f"ip {words}: {done.stderr.strip()}")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BenchError(otherwise)


def _threads() -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            yield int(path.parent.name), path.read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            continue


def _thread(name: str) -> int:
    found = [process for process, comm in _threads() if comm == name]
    _expect(len(found) == 1, f"{len(found)} kernel threads are called {name}, expected 1")
    return found[0]


def _napi_thread(interface: str) -> int:
    found = [process for process, comm in _threads() if comm.startswith(f"napi/{interface}-")]
    _expect(len(found) == 1, f"{len(found)} threads poll {interface}, expected 1")
    return found[0]


def _cpu_time(process: int) -> int:
    """Nanoseconds on a CPU (proc(5), /proc/PID/schedstat)."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
