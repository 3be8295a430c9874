"""The rules by which the daemon watches over ExaBGP and its relay, without I/O: one table, one door.

Whatever keeps the relay silent (stopped, killed and not returned, never started) ends ExaBGP: its sessions close, its
routes go, and it is started anew with a growing delay. `now` is monotonic seconds.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

START_LIMIT: Final = 10.0
"""Seconds from the start of ExaBGP to its relay's first connection (0.3 on an idle machine)."""
SILENCE_LIMIT: Final = 2.0
"""Seconds without a word from the relay, or without a relay."""
KILL_LIMIT: Final = 1.0
STABLE_AFTER: Final = 30.0
"""Seconds of running after which a death starts the delays from the first one again."""
DELAYS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
STALL: Final = 0.5
"""Seconds between two ticks from which the daemon itself was away, which is nobody else's fault."""


class Phase(enum.Enum):
    """Where ExaBGP stands."""

    STOPPED = "stopped"
    STARTING = "starting"
    WAITING = "waiting for the relay"
    RUNNING = "running"
    KILLING = "killing"
    BACKOFF = "backing off"


class Event(enum.Enum):
    """What may happen."""

    START = enum.auto()
    ADOPT = enum.auto()
    CONNECTED = enum.auto()
    HEARD = enum.auto()
    DISCONNECTED = enum.auto()
    EXITED = enum.auto()
    ENDED = enum.auto()
    """It was ended on purpose, to close its sessions: no fault, so no longer delay."""
    TIMEOUT = enum.auto()
    STOP = enum.auto()


class Action(enum.Enum):
    """What the shell must do."""

    NOTHING = enum.auto()
    SPAWN = enum.auto()
    KILL = enum.auto()


TABLE: Final[dict[tuple[Phase, Event], tuple[Phase, Action]]] = {
    (Phase.STOPPED, Event.START): (Phase.STARTING, Action.SPAWN),
    (Phase.STOPPED, Event.ADOPT): (Phase.WAITING, Action.NOTHING),
    (Phase.STARTING, Event.CONNECTED): (Phase.RUNNING, Action.NOTHING),
    (Phase.STARTING, Event.EXITED): (Phase.BACKOFF, Action.NOTHING),
    (Phase.STARTING, Event.TIMEOUT): (Phase.KILLING, Action.KILL),
    (Phase.WAITING, Event.CONNECTED): (Phase.RUNNING, Action.NOTHING),
    (Phase.WAITING, Event.EXITED): (Phase.BACKOFF, Action.NOTHING),
    (Phase.WAITING, Event.TIMEOUT): (Phase.KILLING, Action.KILL),
    (Phase.RUNNING, Event.HEARD): (Phase.RUNNING, Action.NOTHING),
    (Phase.RUNNING, Event.DISCONNECTED): (Phase.WAITING, Action.NOTHING),
    (Phase.RUNNING, Event.EXITED): (Phase.BACKOFF, Action.NOTHING),
    (Phase.RUNNING, Event.TIMEOUT): (Phase.KILLING, Action.KILL),
    (Phase.KILLING, Event.EXITED): (Phase.BACKOFF, Action.NOTHING),
    (Phase.STARTING, Event.ENDED): (Phase.BACKOFF, Action.NOTHING),
    (Phase.WAITING, Event.ENDED): (Phase.BACKOFF, Action.NOTHING),
    (Phase.RUNNING, Event.ENDED): (Phase.BACKOFF, Action.NOTHING),
    (Phase.KILLING, Event.ENDED): (Phase.BACKOFF, Action.NOTHING),
    (Phase.KILLING, Event.TIMEOUT): (Phase.KILLING, Action.KILL),
    (Phase.BACKOFF, Event.TIMEOUT): (Phase.STARTING, Action.SPAWN),
    **{(phase, Event.STOP): (Phase.STOPPED, Action.NOTHING) for phase in Phase},
}
"""Every pair that is not here changes nothing."""

REASONS: Final = {
    Phase.STARTING: f"the relay has not connected for {START_LIMIT} s",
    Phase.WAITING: f"the relay has not come back for {SILENCE_LIMIT} s",
    Phase.RUNNING: f"the relay has been silent for {SILENCE_LIMIT} s",
    Phase.KILLING: f"ExaBGP has not ended for {KILL_LIMIT} s",
    Phase.BACKOFF: "the delay is over",
}
"""Why a deadline that passed in this phase matters."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of phase."""

    old: Phase
    new: Phase
    reason: str


@dataclass(slots=True)
class Supervisor:
    """The machine. `since` is the time of the last change of phase, `deaths` counts ExaBGP's unwanted ends."""

    phase: Phase = Phase.STOPPED
    reason: str = "not started"
    since: float = 0.0
    deaths: int = 0
    reasons: Mapping[Phase, str] = field(default_factory=lambda: REASONS, repr=False)
    _deadline: float | None = None
    _tick_at: float | None = None
    _delay: int = 0

    def handle(self, event: Event, reason: str, now: float) -> tuple[Action, Transition | None]:
        """The one door: what to do, and the change of phase if there was one."""
        step = TABLE.get((self.phase, event))
        if step is None:
            return Action.NOTHING, None
        old, (new, action) = self.phase, step
        if event is Event.EXITED:
            self.deaths += 1
            if old is Phase.RUNNING and now - self.since >= STABLE_AFTER:
                self._delay = 0
        if event in (Event.START, Event.STOP, Event.ENDED):
            self._delay = 0
        self._deadline = self._limit(new, now)
        if new is old:
            return action, None
        self.phase, self.reason, self.since = new, reason, now
        return action, Transition(old, new, reason)

    def _limit(self, phase: Phase, now: float) -> float | None:
        if phase is Phase.BACKOFF:
            delay = DELAYS[self._delay]
            self._delay = min(self._delay + 1, len(DELAYS) - 1)
            return now + delay
        limits = {Phase.STARTING: START_LIMIT, Phase.WAITING: SILENCE_LIMIT, Phase.RUNNING: SILENCE_LIMIT}
        limits[Phase.KILLING] = KILL_LIMIT
        return now + limits[phase] if phase in limits else None

    def tick(self, now: float) -> tuple[Action, Transition | None]:
        """Call every 0.1 s or so, after all input was handled. A late call moves the deadline by the delay."""
        gap = 0.0 if self._tick_at is None else now - self._tick_at
        self._tick_at = now
        if self._deadline is None:
            return Action.NOTHING, None
        if gap > STALL:
            self._deadline += gap
        if now < self._deadline:
            return Action.NOTHING, None
        return self.handle(Event.TIMEOUT, self.reasons[self.phase], now)
