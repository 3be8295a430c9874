"""The life of a process that is watched over, without I/O: a table of steps, limits, and pauses that grow; one door.

Who watches which process is a table of its own (`bgp.supervisor`, `edge.checks.keeper`). `now` is monotonic seconds.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

P = TypeVar("P", bound=enum.Enum)
E = TypeVar("E", bound=enum.Enum)


class Action(enum.Enum):
    """What the shell must do."""

    NOTHING = enum.auto()
    SPAWN = enum.auto()
    KILL = enum.auto()


@dataclass(frozen=True)  # without slots, which a generic dataclass that is frozen too cannot have in 3.11
class Transition(Generic[P]):
    """One change of phase."""

    old: P
    new: P
    reason: str


@dataclass(frozen=True, slots=True)
class Rules(Generic[P, E]):
    """One kind of process; times in seconds.

    `steps`: a pair that is not there changes nothing. `limits`: how long a phase may last until `timeout`, which
    `reasons` explain. In `pause` it is the next of `delays`; they begin again once the process was `running` for
    `stable_after`, and with an event of `afresh`. `death` is an end that nobody wanted.
    """

    steps: Mapping[tuple[P, E], tuple[P, Action]]
    limits: Mapping[P, float]
    reasons: Mapping[P, str]
    timeout: E
    death: E
    running: P
    stable_after: float
    pause: P
    delays: tuple[float, ...]
    afresh: frozenset[E] = frozenset()


class Life(Generic[P, E]):
    """The machine. `since` is the time of the last change of phase, `deaths` counts unwanted ends."""

    def __init__(self, rules: Rules[P, E], phase: P) -> None:
        self.rules = rules
        self.phase = phase
        self.reason = "not started"
        self.since = 0.0
        self.deaths = 0
        self.deadline: float | None = None
        """When the phase has lasted too long; None if it may last for ever."""
        self._delay = 0

    def handle(self, event: E, reason: str, now: float) -> tuple[Action, Transition[P] | None]:
        """The one door: what to do, and the change of phase if there was one."""
        step = self.rules.steps.get((self.phase, event))
        if step is None:
            return Action.NOTHING, None
        old, (new, action) = self.phase, step
        self.deaths += event is self.rules.death
        lasted = old is self.rules.running and new is not old and now - self.since >= self.rules.stable_after
        if lasted or event in self.rules.afresh:
            self._delay = 0
        self.deadline = self._limit(new, now)
        if new is old:
            return action, None
        self.phase, self.reason, self.since = new, reason, now
        return action, Transition(old, new, reason)

    def tick(self, now: float) -> tuple[Action, Transition[P] | None]:
        """Let time pass; call after all input was handled."""
        if self.deadline is None or now < self.deadline:
            return Action.NOTHING, None
        return self.handle(self.rules.timeout, self.rules.reasons[self.phase], now)

    def away(self, gap: float) -> None:
        """The watching one was itself away for so long, which is nobody else's fault."""
        self.deadline = None if self.deadline is None else self.deadline + gap

    def _limit(self, phase: P, now: float) -> float | None:
        if phase is self.rules.pause:
            delay = self.rules.delays[self._delay]
            self._delay = min(self._delay + 1, len(self.rules.delays) - 1)
            return now + delay
        limit = self.rules.limits.get(phase)
        return None if limit is None else now + limit
