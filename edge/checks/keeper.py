"""The life of the checker process as a table: started, heard of, killed when it is silent, started again (no I/O).

What ran for a while is started again at once; what ends again and again is given pauses that grow to 2 s.
"""

import enum
from dataclasses import dataclass
from typing import Final

START_LIMIT: Final = 2.0
SILENCE_LIMIT: Final = 1.0
KILL_LIMIT: Final = 1.0
STABLE_AFTER: Final = 5.0
DELAYS: Final = (0.0, 0.1, 0.5, 1.0, 2.0)


class Phase(enum.Enum):
    """Where the process stands."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    KILLING = "killing"
    WAITING = "waiting before it is started again"


class Event(enum.Enum):
    """What may happen."""

    START = enum.auto()
    HEARD = enum.auto()
    MISBEHAVED = enum.auto()
    ENDED = enum.auto()
    TIMEOUT = enum.auto()
    STOP = enum.auto()


class Action(enum.Enum):
    """What the shell must do."""

    NOTHING = enum.auto()
    SPAWN = enum.auto()
    KILL = enum.auto()


TABLE: Final[dict[tuple[Phase, Event], tuple[Phase, Action]]] = {
    (Phase.STOPPED, Event.START): (Phase.STARTING, Action.SPAWN),
    (Phase.STARTING, Event.HEARD): (Phase.RUNNING, Action.NOTHING),
    (Phase.STARTING, Event.MISBEHAVED): (Phase.KILLING, Action.KILL),
    (Phase.STARTING, Event.TIMEOUT): (Phase.KILLING, Action.KILL),
    (Phase.STARTING, Event.ENDED): (Phase.WAITING, Action.NOTHING),
    (Phase.RUNNING, Event.HEARD): (Phase.RUNNING, Action.NOTHING),
    (Phase.RUNNING, Event.MISBEHAVED): (Phase.KILLING, Action.KILL),
    (Phase.RUNNING, Event.TIMEOUT): (Phase.KILLING, Action.KILL),
    (Phase.RUNNING, Event.ENDED): (Phase.WAITING, Action.NOTHING),
    (Phase.KILLING, Event.ENDED): (Phase.WAITING, Action.NOTHING),
    (Phase.KILLING, Event.TIMEOUT): (Phase.KILLING, Action.KILL),
    (Phase.WAITING, Event.TIMEOUT): (Phase.STARTING, Action.SPAWN),
    **{(phase, Event.STOP): (Phase.STOPPED, Action.KILL) for phase in Phase},
}
"""Every pair that is not here changes nothing."""


@dataclass(slots=True)
class Keeper:
    """The machine. Times are monotonic seconds, `since` that of the last change of phase; `deaths` counts ends."""

    phase: Phase = Phase.STOPPED
    reason: str = "not started"
    deaths: int = 0
    deadline: float | None = None
    since: float = 0.0
    _delay: int = 0

    def handle(self, event: Event, reason: str, now: float) -> Action:
        """The one door: what to do."""
        step = TABLE.get((self.phase, event))
        if step is None:
            return Action.NOTHING
        old, (new, action) = self.phase, step
        if event is Event.ENDED:
            self.deaths += 1
        if old is Phase.RUNNING and new is not old and now - self.since >= STABLE_AFTER:
            self._delay = 0
        self.deadline = self._limit(new, now)
        if new is not old:
            self.phase, self.reason, self.since = new, reason, now
        return action

    def tick(self, now: float) -> Action:
        """Let time pass."""
        if self.deadline is None or now < self.deadline:
            return Action.NOTHING
        return self.handle(Event.TIMEOUT, _REASONS[self.phase], now)

    def away(self, gap: float) -> None:
        """We ourselves were away for so long."""
        self.deadline = None if self.deadline is None else self.deadline + gap

    def _limit(self, phase: Phase, now: float) -> float | None:
        if phase is Phase.WAITING:
            delay = DELAYS[self._delay]
            self._delay = min(self._delay + 1, len(DELAYS) - 1)
            return now + delay
        limits = {Phase.STARTING: START_LIMIT, Phase.RUNNING: SILENCE_LIMIT, Phase.KILLING: KILL_LIMIT}
        return now + limits[phase] if phase in limits else None


_REASONS: Final = {
    Phase.STARTING: f"it has said nothing for {START_LIMIT:g} s after its start",
    Phase.RUNNING: f"it has been silent for {SILENCE_LIMIT:g} s",
    Phase.KILLING: f"it has not ended for {KILL_LIMIT:g} s after SIGKILL",
    Phase.WAITING: "the pause is over",
}
