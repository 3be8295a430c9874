"""Runs frames through a program and its oracle side by side, fast: the program's counters must follow the oracle's.

The process stays on one CPU while it compares, so that one value of each per-CPU counter tells everything.
"""

import contextlib
import ctypes
import os
import struct
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from edge.datapath import abi
from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.bpf_map import possible_cpus
from edge.datapath.headers import checksum
from edge.datapath.libbpf import TestRunOpts, library, options
from edge.datapath.outcome import Outcome
from tests.datapath.rig import POISON, Rig

_ROOM = 8192
_SIZE = abi.TOTALS_FORMAT.size
_FIRST = struct.pack("=I", 0)
_SENT = (Verdict.TX, Verdict.REDIRECT)


@dataclass(frozen=True, slots=True)
class Divergence:
    """A frame that program and oracle see differently."""

    frame: bytes
    wanted: Outcome
    verdict: int
    after: bytes
    counted: dict[str, int]

    def __str__(self) -> str:
        wanted = self.wanted
        return "\n".join(
            (
                f"frame   {self.frame.hex()}",
                f"oracle  {wanted.verdict.name} {wanted.reason.label} {sorted(n.label for n in wanted.notes)}",
                f"        {wanted.frame.hex()}",
                f"program {Verdict(self.verdict).name} {self.counted}",
                f"        {self.after.hex()}",
            )
        )

    def row(self) -> str:
        """A row for the tables, as the oracle has it; whoever adds it decides who is right."""
        if self.wanted.verdict is Verdict.DROP:
            expect = f"Drop(Reason.{self.wanted.reason.name})"
        elif self.wanted.verdict is Verdict.PASS:
            expect = f"Pass(notes({', '.join(f'Note.{n.name}' for n in sorted(self.wanted.notes))}))"
        else:
            expect = f"...  # {self.wanted.verdict.name}"
        return f'Row("H01", "found by the hunt", lambda: bytes.fromhex("{self.frame.hex()}"), {expect}),'


@dataclass(slots=True)
class Reached:
    """How often what came up, and where the two differ."""

    frames: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[Reason] = field(default_factory=Counter)
    notes: Counter[Note] = field(default_factory=Counter)
    divergences: list[Divergence] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.frames += 1
        self.verdicts[outcome.verdict.name] += 1
        self.reasons[outcome.reason] += 1
        for note in outcome.notes:
            self.notes[note] += 1

    def merge(self, other: "Reached") -> None:
        """Add what another comparison reached."""
        self.frames += other.frames
        self.verdicts += other.verdicts
        self.reasons += other.reasons
        self.notes += other.notes
        self.divergences += other.divergences


class Differ:
    """One program in one state, and its oracle."""

    def __init__(self, rig: Rig, judge: Callable[[bytes], Outcome]) -> None:
        self._judge = judge
        self._program = rig.program.fileno()
        self._totals = rig.maps[abi.TOTALS].fileno()
        self._raw = ctypes.create_string_buffer(_SIZE * possible_cpus())
        self._given, self._out = ctypes.create_string_buffer(_ROOM), ctypes.create_string_buffer(_ROOM)
        self._context = ctypes.create_string_buffer(24)
        self._run = library().bpf_prog_test_run_opts
        self._lookup = library().bpf_map_lookup_elem
        self._options = options(
            TestRunOpts,
            data_in=ctypes.addressof(self._given),
            data_out=ctypes.addressof(self._out),
            ctx_in=ctypes.addressof(self._context),
            ctx_size_in=24,
            repeat=1,
        )
        self._reference = ctypes.byref(self._options)

    def compare(self, frames: Iterable[bytes], most: int = 1) -> Reached:
        """Run frames through both; stops at the divergence number `most`. Every third has no poison before it."""
        reached = Reached()
        with _one_cpu() as cpu:
            expected = self._counted(cpu)
            for number, frame in enumerate(frames):
                wanted = self._judge(frame)
                verdict, after = self.run(frame, POISON if number % 3 else 0)
                _expect(expected, wanted)
                counted = self._counted(cpu)
                same = verdict == wanted.verdict and counted == expected
                if not same or (verdict != Verdict.DROP and after != wanted.frame) or not _is_sound(wanted):
                    reached.divergences.append(
                        Divergence(frame, wanted, verdict, after, _named(counted, expected, wanted))
                    )
                    if len(reached.divergences) >= most:
                        break
                    expected = counted
                reached.add(wanted)
        return reached

    def run(self, frame: bytes, poison: int) -> tuple[int, bytes]:
        """BPF_PROG_TEST_RUN with `poison` bytes of 0xff as metadata; the XDP action and the frame afterwards."""
        length = poison + len(frame)
        ctypes.memmove(self._given, b"\xff" * poison + frame, length)
        struct.pack_into("=6I", self._context, 0, poison, length, 0, 0, 0, 0)
        run = self._options
        run.data_size_in, run.data_size_out, run.ctx_size_in = length, _ROOM, 24
        failed = self._run(self._program, self._reference)
        assert not failed, f"test run of {len(frame)} bytes failed: {failed}"
        return run.retval, ctypes.string_at(ctypes.addressof(self._out) + poison, run.data_size_out - poison)

    def _counted(self, cpu: int) -> "array[int]":
        failed = self._lookup(self._totals, _FIRST, self._raw)
        assert not failed, f"totals cannot be read: {failed}"
        start = ctypes.addressof(self._raw) + cpu * _SIZE
        return array("Q", ctypes.string_at(start, _SIZE))


def _expect(totals: "array[int]", wanted: Outcome) -> None:
    """Count as the program must: rx = tx + passed + sum(drops)."""
    totals[0] += 1
    if wanted.reason:
        totals[3 + wanted.reason] += 1
    else:
        totals[2 if wanted.verdict is Verdict.PASS else 1] += 1
    for note in wanted.notes:
        totals[3 + abi.DROP_COUNT + note] += 1


def _is_sound(wanted: Outcome) -> bool:
    """The checksum of an IPv4 header that leaves (E15) is right, whoever computed it."""
    frame = wanted.frame
    return wanted.verdict not in _SENT or frame[12:14] != b"\x08\0" or checksum(frame[14:34]) == 0


def _named(counted: "array[int]", expected: "array[int]", wanted: Outcome) -> dict[str, int]:
    """What the program counted for this frame, by name."""
    before = array("Q", expected)
    _uncount(before, wanted)
    names = [
        "rx",
        "tx",
        "passed",
        *(f"drop {n}" for n in range(abi.DROP_COUNT)),
        *(f"note {n}" for n in range(abi.NOTE_COUNT)),
    ]
    for reason in Reason:
        names[3 + reason] = reason.label
    for note in Note:
        names[3 + abi.DROP_COUNT + note] = note.label
    return {name: now - then for name, now, then in zip(names, counted, before, strict=True) if now != then}


def _uncount(totals: "array[int]", wanted: Outcome) -> None:
    more = array("Q", bytes(_SIZE))
    _expect(more, wanted)
    for index, value in enumerate(more):
        totals[index] -= value


@contextlib.contextmanager
def _one_cpu() -> Iterator[int]:
    """Keep this process on one CPU."""
    allowed = os.sched_getaffinity(0)
    cpu = max(allowed)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, allowed)
