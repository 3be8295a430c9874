"""Figures with their spread, and the verdicts over them (core: no I/O)."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity over all rounds of a run."""

    median: float
    min: float
    max: float
    unit: str = "ns"

    @classmethod
    def of(cls, rounds: Iterable[float], unit: str = "ns") -> "Figure":
        """The figure of at least one value."""
        values = list(rounds)
        return cls(round(statistics.median(values), 4), round(min(values), 4), round(max(values), 4), unit)

    def __str__(self) -> str:
        return f"{self.median:.4g} {self.unit} ({self.min:.4g}..{self.max:.4g})"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the median of `figure` meets its target: at most `bound`, or at least it where `at_least`."""

    name: str
    figure: Figure
    bound: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """The median decides."""
        return self.figure.median >= self.bound if self.at_least else self.figure.median <= self.bound

    def __str__(self) -> str:
        bound = f"{'at least' if self.at_least else 'at most'} {self.bound:g}"
        return f"[{'PASS' if self.passed else 'FAIL'}] {self.name}: {self.figure}, {bound}"

    def to_json(self) -> dict[str, Any]:
        """Plain values, with the verdict."""
        return {**asdict(self), "passed": self.passed}
