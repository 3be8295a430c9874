"""When each check is due: one heap, steady places in the interval, jitter, and no burst at the start (no I/O).

A check's place is a hash of its key, which has the node's name in it: 32 edges that start together do not ask a backend
together. While a state is being decided the next probe is `fast_interval` after the last one began.
"""

import hashlib
import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_ROUND = 1e-4  # seconds of spread for each check of the first round


@dataclass(slots=True)
class Slot:
    """One check's place. `due` is None while its probe runs."""

    id: int
    interval: float
    jitter: float
    phase: float
    due: float | None = None
    serial: int = 0


@dataclass(slots=True)
class Schedule:
    """Times are monotonic seconds. `draw` gives numbers in [0, 1)."""

    draw: Callable[[], float]
    slots: dict[int, Slot] = field(default_factory=dict)
    _heap: list[tuple[float, int, int]] = field(default_factory=list)
    _serial: int = 0

    def add(self, number: int, interval: float, jitter: float, key: str, now: float) -> None:
        """Schedule the first probe of a check: at once, but spread where there are many."""
        slot = Slot(number, interval, jitter, phase_of(key))
        self.slots[number] = slot
        self._at(slot, now + slot.phase * min(interval, FIRST_ROUND * len(self.slots)))

    def remove(self, number: int) -> None:
        """Forget a check."""
        self.slots.pop(number, None)

    def take(self, now: float, most: int) -> list[tuple[int, float]]:
        """Checks that are due, at most so many, each with the time it was due; each waits until `again`."""
        taken: list[tuple[int, float]] = []
        while self._heap and len(taken) < most and (self._heap[0][0] <= now or not self._valid(self._heap[0])):
            entry = heapq.heappop(self._heap)
            if self._valid(entry):
                self.slots[entry[2]].due = None
                taken.append((entry[2], entry[0]))
        return taken

    def again(self, number: int, began: float, pace: float, now: float) -> None:
        """Schedule the next probe after one that began at `began`: `pace` seconds later, or at the steady place."""
        slot = self.slots.get(number)
        if slot is None or slot.due is not None:
            return
        if pace < slot.interval:
            self._at(slot, max(began + pace, now))
            return
        # The place nearest to a whole interval later, so that a late probe moves none of those behind it.
        turn = math.floor((began + slot.interval) / slot.interval - slot.phase + 0.5)
        place = (turn + slot.phase) * slot.interval
        if place < began + slot.interval / 2:
            place += slot.interval
        self._at(slot, max(place + slot.jitter * slot.interval * (self.draw() - 0.5), now))

    def next_due(self) -> float | None:
        """When the next check is due."""
        while self._heap and not self._valid(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _at(self, slot: Slot, due: float) -> None:
        self._serial += 1
        slot.due, slot.serial = due, self._serial
        heapq.heappush(self._heap, (due, self._serial, slot.id))

    def _valid(self, entry: tuple[float, int, int]) -> bool:
        slot = self.slots.get(entry[2])
        return slot is not None and slot.due is not None and slot.serial == entry[1]


def phase_of(key: str) -> float:
    """A check's place in its interval, in [0, 1)."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") / 2**32
