"""How long a lookup_table takes to build, by the library and by its twin in Python."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edge import maglev
from edge.maglev import LookupTable, Member
from edge.native import maglev as native
from lab.bench.figures import Figure, Verdict
from lab.bench.harness import BenchError

COUNTS = (10, 100, 1000)
SIZES = (65537, 655373)
MOST = 2.0  # ms for the largest count at the smaller size


@dataclass(frozen=True, slots=True)
class BuildRow:
    """From a list of members to the finished table, in milliseconds; `native` is None where there is no library."""

    members: int
    size: int
    native: Figure | None
    python: Figure

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        figures = {"native": self.native.to_json() if self.native else None, "python": self.python.to_json()}
        return {"members": self.members, "size": self.size, **figures}

    def verdicts(self) -> Iterator[Verdict]:
        """The target is for 1,000 backends and 65,537 slots, however the product builds them here."""
        if (self.members, self.size) == (COUNTS[-1], SIZES[0]):
            yield Verdict(f"lookup_table of {self.size} slots for {self.members}", self.native or self.python, MOST)


def measure(rounds: int, tell: Callable[[str], None], sizes: tuple[int, ...] = SIZES) -> list[BuildRow]:
    """Both ways in interleaved rounds. Raises `BenchError` when their tables differ."""
    pools = {count: [Member(f"10.64.{number // 250}.{number % 250}") for number in range(count)] for count in COUNTS}
    taken: dict[tuple[int, int], tuple[list[float], list[float]]] = {
        (count, size): ([], []) for size in sizes for count in COUNTS
    }
    for number in range(rounds):
        tell(f"lookup_tables: round {number + 1} of {rounds}")
        for (count, size), (by_library, by_python) in taken.items():
            fast, table = _timed(native.build, pools[count], size)
            slow, twin = _timed(maglev.build, pools[count], size)
            if table != twin:
                raise BenchError(f"the tables of {count} members and {size} slots differ between C and Python")
            by_library.append(fast)
            by_python.append(slow)
    return [
        BuildRow(count, size, None if native.missing else Figure.of(fast, "ms"), Figure.of(slow, "ms"))
        for (count, size), (fast, slow) in taken.items()
    ]


def _timed(
    build: Callable[[list[Member], int], LookupTable], members: list[Member], size: int
) -> tuple[float, LookupTable]:
    began = time.perf_counter()
    table = build(members, size)
    return 1000 * (time.perf_counter() - began), table
