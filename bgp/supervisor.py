"""The rules by which the daemon watches over ExaBGP and its relay, without I/O: one table, one door.

Whatever keeps the relay silent (stopped, killed and not returned, never started) ends ExaBGP: its sessions close, its
routes go, and it is started anew with a growing delay. `now` is monotonic seconds.
"""

import enum
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bgp import life
from bgp.life import Action

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


Transition = life.Transition[Phase]
RULES: Final = life.Rules(
    steps=TABLE,
    limits={
        Phase.STARTING: START_LIMIT,
        Phase.WAITING: SILENCE_LIMIT,
        Phase.RUNNING: SILENCE_LIMIT,
        Phase.KILLING: KILL_LIMIT,
    },
    reasons=REASONS,
    timeout=Event.TIMEOUT,
    death=Event.EXITED,
    running=Phase.RUNNING,
    stable_after=STABLE_AFTER,
    pause=Phase.BACKOFF,
    delays=DELAYS,
    afresh=frozenset({Event.START, Event.STOP, Event.ENDED}),
)


class Supervisor(life.Life[Phase, Event]):
    """The machine for ExaBGP, and with other words for BFD's process."""

    def __init__(self, phase: Phase = Phase.STOPPED, reasons: Mapping[Phase, str] = REASONS) -> None:
        super().__init__(replace(RULES, reasons=reasons), phase)
        self._tick_at: float | None = None

    def tick(self, now: float) -> tuple[Action, Transition | None]:
        """Call every 0.1 s or so, after all input was handled. A late call moves the deadline by the delay."""
        gap = 0.0 if self._tick_at is None else now - self._tick_at
        self._tick_at = now
        if gap > STALL:
            self.away(gap)
        return super().tick(now)
