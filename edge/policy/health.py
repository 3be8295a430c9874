"""Whether a backend, or a local service, is up: the rise/fall machine of each of its checks, fed with probe results.

One door, `observe`. The first result decides at once, so that a node knows its backends after one round; from then on
`fall` failures in a row take a check down and `rise` successes bring it back (HAProxy's terms). What has fallen stays
down until `hold_down` seconds have passed without any failure, and longer if it fell often (RFC 2439). A certain
failure, such as a process that has ended, needs no streak. Times are monotonic seconds given by the caller.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, Self

PENALTY = 1000.0  # of each fall (RFC 2439, 4.2, and every router's default)


class State(Enum):
    """UNKNOWN until the first result."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Result:
    """What one probe saw. `latency` is in seconds; `detail` says why it failed, or what it got.

    `check` is the place of the check in its list. `certain`: a failure that needs no second one to be believed.
    """

    ok: bool
    detail: str
    latency: float
    check: int = 0
    certain: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state, with the result that caused it."""

    old: State
    new: State
    reason: str


class _Check(Protocol):
    """What `Rules.of` reads of a configured check."""

    @property
    def rise(self) -> int: ...
    @property
    def fall(self) -> int: ...
    @property
    def hold_down(self) -> float: ...
    @property
    def interval(self) -> float: ...
    @property
    def fast_interval(self) -> float: ...
    @property
    def type(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Damped:
    """RFC 2439 with our own limits: from `suppress` on it stays down until `reuse`, `longest` seconds at most."""

    half_life: float
    suppress: float
    reuse: float
    longest: float


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides about one check; times in seconds. `label` is said in front of reasons where there are several."""

    rise: int = 1
    fall: int = 1
    hold_down: float = 0.0
    damping: Damped | None = None
    interval: float = 1.0
    fast_interval: float = 1.0
    label: str = ""


# (state, the result is good) -> (the state it argues for, it takes a streak, it takes an end of all holding down)
_TABLE = {
    (State.UNKNOWN, True): (State.UP, False, False),
    (State.UNKNOWN, False): (State.DOWN, False, False),
    (State.UP, True): (State.UP, False, False),
    (State.UP, False): (State.DOWN, True, False),
    (State.DOWN, True): (State.UP, True, True),
    (State.DOWN, False): (State.DOWN, False, False),
}
_NEVER = -math.inf


class CheckHealth:
    """One check of one backend."""

    def __init__(self, rules: Rules, now: float) -> None:
        self.rules = rules
        self.state = State.UNKNOWN
        self.since = now
        self.streak = 0
        self.last: Result | None = None
        self._needed = {State.UP: rules.rise, State.DOWN: rules.fall}
        self._penalty, self._penalty_at = 0.0, now
        self._fallen_until = _NEVER  # it was up, and fell: nothing before this counts
        self._failed_at = _NEVER

    def observe(self, result: Result, now: float) -> Transition | None:
        """Take one probe result; returns the transition it caused, if any."""
        self.last = result
        if not result.ok:
            self._failed_at = now
        target, by_streak, by_hold = _TABLE[self.state, result.ok]
        if target is self.state:
            self.streak = 0
            return None
        self.streak += 1
        certain = result.certain and not result.ok
        if by_streak and not certain and self.streak < self._needed[target]:
            return None
        if by_hold and now < self.held_until:
            return None
        if self.state is State.UP:
            self._fall(now)
        old, self.state, self.since, self.streak = self.state, target, now, 0
        return Transition(old, target, result.detail)

    def _fall(self, now: float) -> None:
        self._fallen_until = now
        damping = self.rules.damping
        if damping is None:
            return
        # RFC 2439, 4.2: the ceiling is what decays to `reuse` in the longest time.
        ceiling = damping.reuse * 2 ** (damping.longest / damping.half_life)
        self._penalty = min(self.penalty(now) + PENALTY, ceiling)
        self._penalty_at = now
        if self._penalty >= min(damping.suppress, ceiling):
            self._fallen_until = now + damping.half_life * math.log2(self._penalty / damping.reuse)

    def penalty(self, now: float) -> float:
        """RFC 2439's figure of merit just now."""
        damping = self.rules.damping
        return self._penalty * 2 ** ((self._penalty_at - now) / damping.half_life) if damping else 0.0

    @property
    def held_until(self) -> float:
        """Until when no success counts; what has never been up is not held."""
        if self._fallen_until == _NEVER:
            return _NEVER
        return max(self._fallen_until, self._failed_at + self.rules.hold_down)

    def pace(self, now: float) -> float:
        """Seconds from the beginning of the last probe to that of the next: fewer while a state is being decided."""
        fast, slow = min(self.rules.fast_interval, self.rules.interval), self.rules.interval
        if self.state is State.UNKNOWN:
            return fast
        if not self.streak:
            return slow
        held = self.held_until - now if self.state is State.DOWN else 0.0
        return min(slow, max(fast, held))


class Health:
    """One backend of one pool, or one local service: up when all its checks are."""

    def __init__(self, rules: Sequence[Rules], now: float) -> None:
        self.checks = tuple(CheckHealth(each, now) for each in rules)
        self.state = State.UNKNOWN
        self.since = now
        self.last: Result | None = None

    @classmethod
    def of(cls, checks: Sequence[_Check], now: float) -> Self:
        """As a pool's or a service's list of checks says."""
        return cls(rules_of(checks), now)

    def observe(self, result: Result, now: float) -> Transition | None:
        """Take one probe result of the check that it names; returns the transition of the whole, if any."""
        if not 0 <= result.check < len(self.checks):
            return None
        check = self.checks[result.check]
        check.observe(result, now)
        found = self._together()
        down = next((each for each in self.checks if each.state is State.DOWN), None)
        self.last = down.last if down else result
        if found is self.state:
            return None
        old, self.state, self.since = self.state, found, now
        label = f"{check.rules.label}: " if check.rules.label and len(self.checks) > 1 else ""
        return Transition(old, found, label + result.detail)

    def _together(self) -> State:
        states = {check.state for check in self.checks}
        return next((state for state in (State.DOWN, State.UNKNOWN) if state in states), State.UP)


def rules_of(checks: Sequence[_Check]) -> tuple[Rules, ...]:
    """The rules of configured checks."""
    return tuple(
        Rules(
            each.rise,
            each.fall,
            each.hold_down,
            _damped(getattr(each, "damping", None)),
            each.interval,
            min(each.fast_interval, each.interval),
            each.type,
        )
        for each in checks
    )


def _damped(damping: Any) -> Damped | None:
    """As `edge.config.checks.DampingConfig`, which the checker's process does not import: it would take 0.2 s."""
    return None if damping is None else Damped(damping.half_life, damping.suppress, damping.reuse, damping.longest)
