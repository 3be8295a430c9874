"""When a pool that is used whole, because too few of it look healthy, may be used in part again (core: no I/O).

Checks come back one after the other. A pool that shrank to the first ones believed again would move the connections of
all the others, and move them once more a moment later. So a pool that has been in panic is used whole until all of it
looks well, or until nothing about its health has changed for `settle`, `longest` at most: what is dead leaves then, at
the pace of `edge.policy.velocity`. Nothing but the pool's own health and time decides, so that nodes that see the same
do the same. Times are monotonic seconds given by the caller.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, Self


class Phase(Enum):
    """How a pool is used."""

    CALM = "each backend by its checks"
    PANIC = "whole: too few look healthy"
    LEAVING = "whole: enough look healthy again, and the others may be about to"


class _Check(Protocol):
    """What `PanicRules.of` reads of a configured check."""

    @property
    def rise(self) -> int: ...
    @property
    def interval(self) -> float: ...
    @property
    def jitter(self) -> float: ...
    @property
    def timeout(self) -> float: ...


@dataclass(frozen=True, slots=True)
class PanicRules:
    """Seconds: for how long health has to stand still, and how long the leaving takes at most."""

    settle: float = 5.0
    longest: float = 30.0

    def of(self, checks: Iterable[_Check]) -> Self:
        """The rules of a pool with these checks: never less than backends that are well at once are believed apart.

        The first is believed when `hold_down` after its last failure is over, which may be an interval earlier than
        another's; the last one has all of `rise` before it. Two intervals at least lie between, therefore.
        """
        apart = [max(2, each.rise) * each.interval * (1 + each.jitter) + each.timeout for each in checks]
        settle = max(self.settle, *apart)
        return type(self)(settle, max(self.longest, settle))


@dataclass(frozen=True, slots=True)
class Looks:
    """A pool just now: whether too few look healthy, whose checks are believed, and whose have had no result yet.

    `able` are those that would have slots if they were well: neither drained nor of weight 0.
    """

    ill: bool
    able: frozenset[str]
    healthy: frozenset[str]
    unknown: Set[str] = frozenset()


class Panic:
    """One pool."""

    def __init__(self, rules: PanicRules) -> None:
        self.rules = rules
        self.phase = Phase.CALM
        self._newcomers = False  # it is used whole for want of results, not for bad ones
        self._healthy: frozenset[str] = frozenset()
        self._began = self._changed = 0.0

    @property
    def whole(self) -> bool:
        """Whether everybody willing is used, whatever the checks say."""
        return self.phase is not Phase.CALM

    def judge(self, looks: Looks, now: float) -> Phase:
        """Take how the pool looks now; returns how it is to be used."""
        if self.phase is Phase.LEAVING and now >= self._deadline:  # before what is new now could put it off
            self.phase = Phase.CALM
        if looks.ill:
            self._newcomers = bool(looks.unknown) and (self._newcomers or self.phase is Phase.CALM)
            self.phase = Phase.PANIC
        elif self.phase is not Phase.CALM:
            self._leave(looks, now)
        return self.phase

    def _leave(self, looks: Looks, now: float) -> None:
        if self.phase is Phase.PANIC:
            self.phase, self._began, self._changed, self._healthy = Phase.LEAVING, now, now, looks.healthy
        if looks.healthy != self._healthy:
            self._changed, self._healthy = now, looks.healthy
        judged = self._newcomers and not looks.unknown  # a first result decides, and no second one is waited for
        if judged or looks.healthy >= looks.able or now >= self._deadline:
            self.phase = Phase.CALM

    @property
    def _deadline(self) -> float:
        return min(self._changed + self.rules.settle, self._began + self.rules.longest)

    def next_deadline(self) -> float | None:
        """When time alone ends the leaving, None while it is not begun."""
        return self._deadline if self.phase is Phase.LEAVING else None
