"""Loads the shipped forwarder and the driver in front of it, and times runs of them. Sends nothing."""

import contextlib
import ctypes
import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from edge.datapath import abi, counting
from edge.datapath.bpf_error import Step
from edge.datapath.bpf_map import BpfMap
from edge.datapath.bpf_object import BpfObject
from edge.datapath.encode import NO_LIMITS, encode
from edge.datapath.forwarder import OBJECTS
from edge.datapath.libbpf import TestRunOpts, call, options
from edge.datapath.model import ForwarderState
from edge.datapath.tables import filled, write_directory
from edge.datapath.xdp import Program
from lab.bench.cases import Case
from lab.bench.world import LOOPBACK, OWN_MAC

DRIVER = Path(__file__).with_name("driver.bpf.o")
BASELINES = ("nothing", "grow", "grow_twice")
FLOOR = "bare"
_HEAD_WORDS, _ROOM = 16, 256
_INSTALLED = (abi.POOLS, abi.DIRECTORY)
_WORD = struct.Struct("<I")
_FIRST = struct.pack("=I", 0)


class BenchError(Exception):
    """What was to be measured does something else than it is measured for; the text says what."""


@dataclass(frozen=True, slots=True)
class Ran:
    """One run: ns of CPU time a packet, the kernel's own whole number for it, the last verdict and frame size."""

    ns: float
    kernel_ns: int
    verdict: int
    size: int


class Subject:
    """The shipped forwarder, unmodified, with `state` installed, attached to nothing. Rates are unlimited."""

    def __init__(self, state: ForwarderState, objects: Path = OBJECTS) -> None:
        with ExitStack() as held, BpfObject(objects / abi.FORWARD_OBJECT) as opened:
            opened.set_rodata({abi.RODATA_TABLE_SIZE: abi.RODATA_FORMATS[abi.RODATA_TABLE_SIZE].pack(state.table_size)})
            opened.set_inner_value_size(abi.POOLS, state.table_size * abi.SLOT_SIZE)
            inner = {name: opened.inner_spec(name) for name in _INSTALLED}
            opened.load(abi.FORWARD_PROGRAM)
            maps = {name: held.enter_context(opened.map(name)) for name in (abi.TOTALS, abi.SERVICE_COUNT, *_INSTALLED)}
            self.program: Program = held.enter_context(opened.program(abi.FORWARD_PROGRAM))
            writes = encode(state, {LOOPBACK: OWN_MAC}, limits=NO_LIMITS)
            for index, value in writes.pools.items():
                with filled(inner[abi.POOLS], f"pool{index}", value) as table:
                    maps[abi.POOLS].put_map(struct.pack("=I", index), table)
            write_directory(maps[abi.DIRECTORY], inner[abi.DIRECTORY], writes.directory)
            self._totals, self._services = maps[abi.TOTALS], maps[abi.SERVICE_COUNT]
            self._held = held.pop_all()

    def count(self, case: Case) -> int:
        """How many packets met the fate that `case` is about."""
        words = counting.read_totals(self._totals)
        if case.verdict is abi.Verdict.DROP:
            return words[3 + case.reason]
        return words[2] if case.verdict is abi.Verdict.PASS else words[1]

    def sent_by_service(self, ids: Iterable[int]) -> dict[int, int]:
        """Packets sent to backends so far, by service id."""
        return {
            number: words[0]
            for number, words in counting.read_column(self._services, abi.SERVICE_COUNT_FORMAT, ids).items()
        }

    def close(self) -> None:
        """Let the kernel forget it."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Driver:
    """Restores a case's frame, makes it the next flow's, and tail-calls what it is aimed at."""

    def __init__(
        self, case: Case, mask: int, services: int = 1, overhead: int = 24, *, settle: bool = True, path: Path = DRIVER
    ) -> None:
        self.case, self.mask = case, mask
        self._size = 0
        self._data = ctypes.create_string_buffer(case.frame, len(case.frame))
        self._out = ctypes.create_string_buffer(len(case.frame) + _ROOM)
        with ExitStack() as held, BpfObject(path) as opened:
            opened.set_rodata(constants(case, mask, services, overhead, settle=settle))
            opened.load("drive")
            self._drive = held.enter_context(opened.program("drive"))
            self._target: BpfMap = held.enter_context(opened.map("target"))
            self.own: Mapping[str, Program] = {
                name: held.enter_context(opened.program(name)) for name in (*BASELINES, FLOOR)
            }
            self._held = held.pop_all()

    @property
    def frame(self) -> bytes:
        """The frame as the last run left it."""
        return self._out.raw[: self._size]

    def run(self, target: Program, repeat: int) -> Ran:
        """Drive `repeat` packets through `target`. Raises `BpfError`."""
        self._target.update(_FIRST, _WORD.pack(target.fileno()))
        run = options(
            TestRunOpts,
            data_in=ctypes.addressof(self._data),
            data_size_in=len(self.case.frame),
            data_out=ctypes.addressof(self._out),
            data_size_out=len(self._out),
            repeat=repeat,
        )
        fd, arguments = self._drive.fileno(), ctypes.byref(run)
        began = time.thread_time_ns()
        call(Step.RUN, f"run the bench's {self.case.name}", "bpf_prog_test_run_opts", fd, arguments)
        took = time.thread_time_ns() - began
        self._size = run.data_size_out
        return Ran(took / repeat, run.duration, run.retval, run.data_size_out)

    def close(self) -> None:
        """Let the kernel forget it."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def constants(case: Case, mask: int, services: int = 1, overhead: int = 24, *, settle: bool = True) -> dict[str, bytes]:
    """What driver.bpf.c is told before it is loaded, by the names of its constants."""
    head = case.frame[: case.head].ljust(_HEAD_WORDS * 8, b"\0")
    numbers = {
        "frame_length": len(case.frame),
        "head_words": case.head // 8,
        "flow_mask": mask,
        "port_at": case.port_at,
        "address_at": case.address_at,
        "checksum_at": case.checksum_at,
        "vip_at": case.vip_at,
        "vip_port_at": case.vip_port_at,
        "services": services,
        "settle": settle,
        "overhead": overhead,
    }
    return {"head": head} | {name: _WORD.pack(number) for name, number in numbers.items()}


@contextlib.contextmanager
def on_one_cpu() -> Iterator[None]:
    """Keep this thread on the last CPU it may use, so that no run is split between two caches."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
