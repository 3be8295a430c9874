"""Whether the machine itself stood still: a witness on each core that wants to run every millisecond, before all else.

A session that goes down while no witness ran was not failed by BFD: nothing on the machine could have sent or received.
"""

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Final

TOLD: Final = 0.005  # s: a shorter wait is the scheduler's everyday life
_EVERY: Final = 0.001  # s
_FIRST: Final = 99  # of SCHED_FIFO; only SCHED_DEADLINE comes before it


@dataclass(frozen=True, slots=True)
class Pause:
    """A core on which the witness did not run; times of CLOCK_MONOTONIC in seconds."""

    core: int
    start: float
    end: float


class Pauses:
    """What the witnesses have told so far."""

    def __init__(self) -> None:
        self._wires: list[Connection] = []
        self._found: list[Pause] = []

    def listen(self, wire: Connection) -> None:
        """Hear one more witness. Raises PermissionError if it ended."""
        try:
            wire.recv()
        except EOFError:
            raise PermissionError("a witness ended: it needs the right to SCHED_FIFO") from None
        self._wires.append(wire)

    @property
    def found(self) -> list[Pause]:
        """All until now, but for those that still last."""
        time.sleep(2 * TOLD)  # a witness whose core has just come back tells so first
        for wire in self._wires:
            while wire.poll():
                self._found.append(wire.recv())
        return list(self._found)


def covering(pauses: Sequence[Pause], at: float, detection: float, least: float) -> list[Pause]:
    """The pauses in the detection time before `at`, when a session left Up, if they make `least` seconds together.

    What stood in a queue during a pause is worked off after it, so a few milliseconds more are looked at on both sides.
    """
    near = [pause for pause in pauses if pause.start <= at + TOLD and pause.end >= at - detection - TOLD]
    return near if sum(pause.end - pause.start for pause in near) >= least else []


def _watch(core: int, wire: Connection) -> None:
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_FIRST))
    wire.send("ready")
    last = time.monotonic()
    while True:
        time.sleep(_EVERY)
        now = time.monotonic()
        if now - last > TOLD:
            wire.send(Pause(core, last, now))
        last = now


@contextmanager
def witnessed() -> Iterator[Pauses]:
    """Watch every core meanwhile. Raises PermissionError without the right to SCHED_FIFO."""
    pauses, watchers = Pauses(), []
    try:
        for core in sorted(os.sched_getaffinity(0)):
            ours, its = multiprocessing.Pipe()
            process = multiprocessing.Process(target=_watch, args=(core, its), daemon=True)
            process.start()
            its.close()
            watchers.append((process, ours))
            pauses.listen(ours)
        yield pauses
    finally:
        for process, ours in watchers:
            process.kill()
            process.join()
            ours.close()
