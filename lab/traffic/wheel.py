"""Whose turn it is: members of a population, spread evenly over an interval. No I/O."""

from collections.abc import Sequence


class Wheel:
    """`count` members, each with its turn once in `interval`, counted in turns of `tick` (all in seconds)."""

    def __init__(self, count: int, interval: float, tick: float) -> None:
        turns = max(1, round(interval / tick))
        self._due: list[list[int]] = [[] for _ in range(turns)]
        for index in range(count):
            self._due[index * turns // count].append(index)

    def due(self, turn: int) -> Sequence[int]:
        """The indices of those whose turn it is."""
        return self._due[turn % len(self._due)]
