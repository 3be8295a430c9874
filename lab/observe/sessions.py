"""The BGP sessions of every router, whatever program it runs: their states, and how often one went down.

Looked at only when asked: a call of vtysh costs 50 ms. FRR and GoBGP count the drops themselves, so none is missed
between two marks; of BIRD several drops of one session between two marks look like one. A GoBGP that was started
anew counts from 0 and tells no age: sessions that had never dropped and are up again at the next mark go unnoticed.
"""

import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from lab.observe.session_text import COMMANDS, Sessions, drops, read_sessions
from lab.runtime import LabError, Runtime

_AT_ONCE = 4
_WITHIN = 10.0  # seconds

# Which program runs is told by its control socket, GoBGP's by the port 50051 that it listens on.
_BIRD, _FRR, _GOBGP = (shlex.join(COMMANDS[program]) for program in ("bird", "frr", "gobgp"))
_ASK = f"""
if [ -S /run/bird/bird.ctl ]; then echo bird; exec {_BIRD}
elif [ -S /run/frr/bgpd.vty ]; then echo frr; exec {_FRR}
elif grep -qs ':C383 [0-9A-F]*:0000 0A' /proc/net/tcp /proc/net/tcp6; then echo gobgp; exec {_GOBGP}
else echo none; fi
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What a mark tells: router -> peer -> session now, and how many went down since the mark before, by router.

    A router that does not run, or no BGP program in it, has no sessions now; all that it had went down.
    """

    sessions: Mapping[str, Sessions] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)

    @property
    def total_drops(self) -> int:
        """Drops of all routers; a session between two of them counts at both ends."""
        return sum(self.drops.values())


class SessionWatch:
    """Asks `routers` at each mark."""

    def __init__(self, runtime: Runtime, routers: Sequence[str]) -> None:
        self._runtime, self._routers = runtime, tuple(routers)
        self._before = self.peek()
        self._answered = time.monotonic()

    def mark(self) -> Told:
        """The sessions now, and what went down since the mark before. Raises LabError."""
        between, now = time.monotonic() - self._answered, self.peek()
        self._answered = time.monotonic()
        dropped = {router: drops(self._before[router], now[router], between) for router in self._routers}
        self._before = now
        return Told(now, dropped)

    def peek(self) -> dict[str, Sessions]:
        """The sessions now. Raises LabError."""
        running = {status.name for status in self._runtime.nodes() if status.pid}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = pool.map(lambda router: self._ask(router) if router in running else {}, self._routers)
            return dict(zip(self._routers, answers, strict=True))

    def _ask(self, router: str) -> Sessions:
        done = self._runtime.exec(router, ["sh", "-c", _ASK], _WITHIN)
        program, _, text = done.stdout.partition("\n")
        if program == "none" or done.returncode:  # a socket that a dead program left
            return {}
        try:
            return read_sessions(program, text)
        except ValueError as error:
            raise LabError(f"{router}: cannot read its BGP sessions: {error}") from error
