"""The values of a row, what they come to, and the verdict (core: no I/O)."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.announce.plan import Kind
from lab.announce.rows import BY_NAME, Row

PASS, FAIL, REFERENCE, NOT_MEASURED = "PASS", "FAIL", "REFERENCE", "NOT MEASURED"


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of at least one value; of 30 the 99th is the largest."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row at one router. `values` in the row's unit; infinity where the event had no effect within the time given.

    `reason` says why nothing was measured. `notes` says what else there is to know, `facts` what else was seen.
    """

    row: str
    kind: Kind
    values: tuple[float, ...] = ()
    reason: str = ""
    notes: str = ""
    revision: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def of(self) -> Row:
        """The row."""
        return BY_NAME[self.row]

    @property
    def bound(self) -> float | None:
        """What the router's verdict is held against."""
        return self.of.bounds.get(self.kind)

    @property
    def p99(self) -> float:
        """The value that counts: the 99th percentile, or the 1st where more is better."""
        return percentile(self.values, 0.01 if self.of.at_least else 0.99)

    @property
    def verdict(self) -> str:
        """PASS, FAIL, REFERENCE (no bound) or NOT MEASURED."""
        if not self.values:
            return NOT_MEASURED
        if self.bound is None:
            return REFERENCE
        met = self.p99 >= self.bound if self.of.at_least else self.p99 <= self.bound
        return PASS if met else FAIL

    def to_json(self) -> dict[str, Any]:
        """Plain values; infinity is null."""
        facts = {**asdict(self), "values": [_plain(value) for value in self.values]}
        if self.values:
            ordered = {"min": min(self.values), "median": statistics.median(self.values), "p99": self.p99,
                       "max": max(self.values)}  # fmt: skip
            facts |= {name: _plain(value) for name, value in ordered.items()}
        of = self.of
        words = {"event": of.event, "unit": of.unit, "bound": self.bound, "at_least": of.at_least}
        return facts | words | {"repetitions": len(self.values), "verdict": self.verdict}

    def cells(self) -> tuple[str, ...]:
        """Name, router, repetitions, min, median, p99, max, bound, verdict; for people."""
        head = (self.row, self.kind)
        if not self.values:
            return (*head, "0", "", "", "", "", _shown(self.bound), f"{NOT_MEASURED}: {self.reason}")
        figures = (min(self.values), statistics.median(self.values), self.p99, max(self.values))
        verdict = f"{self.verdict} ({self.notes})" if self.notes else self.verdict
        return (*head, str(len(self.values)), *map(_shown, figures), _shown(self.bound), verdict)


HEADINGS = ("ROW", "ROUTER", "N", "MIN", "MEDIAN", "P99", "MAX", "BOUND", "VERDICT")


def outcome_from_json(value: Mapping[str, Any]) -> Outcome:
    """Read what `Outcome.to_json` wrote; KeyError for anything else."""
    values = tuple(math.inf if each is None else float(each) for each in value["values"])
    texts = {name: value[name] for name in ("row", "kind", "reason", "notes", "revision", "facts")}
    return Outcome(values=values, **texts)


def _plain(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 4)


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    if math.isinf(value):
        return "never"
    return f"{value:.4g}" if value < 1000 else f"{value:,.0f}"
