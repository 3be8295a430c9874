"""Whether a backend is up: the rise/fall machine, fed with probe results.

One door, `observe`. The first result decides at once, so that a node knows its backends after one round; from then on
`fall` failures in a row take a backend down and `rise` successes bring it back (HAProxy's terms).
"""

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """UNKNOWN until the first result."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Result:
    """What one probe saw. `latency` is in seconds; `detail` says why it failed, or what it got."""

    ok: bool
    detail: str
    latency: float


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state, with the result that caused it."""

    old: State
    new: State
    reason: str


# (state, the result is good) -> (the state it argues for, whether it takes a streak)
_RULES = {
    (State.UNKNOWN, True): (State.UP, False),
    (State.UNKNOWN, False): (State.DOWN, False),
    (State.UP, True): (State.UP, False),
    (State.UP, False): (State.DOWN, True),
    (State.DOWN, True): (State.UP, True),
    (State.DOWN, False): (State.DOWN, False),
}


class Health:
    """The health of one backend of one pool. Times are monotonic seconds given by the caller."""

    def __init__(self, rise: int, fall: int, now: float) -> None:
        self._needed = {State.UP: rise, State.DOWN: fall}
        self.state = State.UNKNOWN
        self.since = now
        self.streak = 0
        self.last: Result | None = None

    def observe(self, result: Result, now: float) -> Transition | None:
        """Take one probe result; returns the transition it caused, if any."""
        self.last = result
        target, takes_streak = _RULES[self.state, result.ok]
        if target is self.state:
            self.streak = 0
            return None
        self.streak += 1
        if takes_streak and self.streak < self._needed[target]:
            return None
        old, self.state, self.since, self.streak = self.state, target, now, 0
        return Transition(old, target, result.detail)
