"""One line of a verdict, and the simplest way to it. No I/O."""

from dataclasses import dataclass

from lab.scenario.bounds import Limits, shown

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict. Not `judged`: the bound is what another system promises, this one is only compared."""

    name: str
    passed: bool
    value: str
    bound: str
    judged: bool = True

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against passing: what is not judged never does."""
        return self.passed or not self.judged

    @property
    def word(self) -> str:
        """PASS or FAIL, or NOTE for what is measured and not judged."""
        return "NOTE" if not self.judged else "PASS" if self.passed else "FAIL"

    @property
    def facts(self) -> str:
        """The line without its word."""
        line = f"{self.name}: {self.value} (expected {self.bound})"
        return line if self.judged else f"{line}: {'met' if self.passed else 'not met'}"

    def __str__(self) -> str:
        return f"[{self.word}] {self.facts}"


def number(title: str, limits: Limits, value: float | None) -> Check:
    """A count against a bound; None was not measured, and fails."""
    if value is None:
        return Check(title, False, NOT_MEASURED, limits.shown())
    return Check(title, limits.hold(value), shown(value), limits.shown())
