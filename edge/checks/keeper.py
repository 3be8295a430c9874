"""The life of the checker process as a table: started, heard of, killed when it is silent, started again (no I/O).

What ran for a while is started again at once; what ends again and again is given pauses that grow to 2 s.
"""

import enum
from typing import Final

from bgp.life import Action, Life, Rules

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


_REASONS: Final = {
    Phase.STARTING: f"it has said nothing for {START_LIMIT:g} s after its start",
    Phase.RUNNING: f"it has been silent for {SILENCE_LIMIT:g} s",
    Phase.KILLING: f"it has not ended for {KILL_LIMIT:g} s after SIGKILL",
    Phase.WAITING: "the pause is over",
}
RULES: Final = Rules(
    steps=TABLE,
    limits={Phase.STARTING: START_LIMIT, Phase.RUNNING: SILENCE_LIMIT, Phase.KILLING: KILL_LIMIT},
    reasons=_REASONS,
    timeout=Event.TIMEOUT,
    death=Event.ENDED,
    running=Phase.RUNNING,
    stable_after=STABLE_AFTER,
    pause=Phase.WAITING,
    delays=DELAYS,
)


class Keeper(Life[Phase, Event]):
    """The machine for the checker process."""

    def __init__(self) -> None:
        super().__init__(RULES, Phase.STOPPED)
