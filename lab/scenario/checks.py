"""One line of a verdict, and the simplest way to it. No I/O."""

from dataclasses import dataclass

from lab.scenario.bounds import Limits, shown

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict."""

    name: str
    passed: bool
    value: str
    bound: str

    def __str__(self) -> str:
        return f"[{'PASS' if self.passed else 'FAIL'}] {self.name}: {self.value} (expected {self.bound})"


def number(title: str, limits: Limits, value: float | None) -> Check:
    """A count against a bound; None was not measured, and fails."""
    if value is None:
        return Check(title, False, NOT_MEASURED, limits.shown())
    return Check(title, limits.hold(value), shown(value), limits.shown())
