"""What speaks to routers beside ExaBGP, where the configuration has it: BFD, and the station that reads routers back.

Both are processes of their own without privilege; this starts them, feeds them, and asks them.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bgp.bfd.config import BfdConfig, BfdConfigError
from bgp.bfd.gate import HOLD_MAX
from bgp.bfd.link import Bfd
from bgp.bfd.privileges import run_first
from bgp.bmp.config import ReadBackConfig
from bgp.bmp.link import Station
from bgp.bmp.readback import ReadBack
from bgp.report import Event
from bgp.route import Prefix, Route
from bgp.secrets import read_secret
from edge.announcer.companion_config import bfd_config, read_back_config, with_bfd
from edge.config.file import Config
from edge.policy.announce import Others

_PLANNED = HOLD_MAX  # seconds that BFD waits for the daemon that is started next
_CALM = 2.0  # seconds that a daemon has said everything, and beaten, before BFD judges its beats as ever
_PRIORITY = 5  # SCHED_FIFO of what beats: under full load an ordinary thread may pause for half a second


@dataclass(frozen=True, slots=True)
class Plan:
    """What the companions are to follow."""

    bfd: BfdConfig | None
    read_back: ReadBackConfig | None


class Companions:
    """BFD and read-back of one node. Use from one event loop; `forwarder_beat` may be called from any thread."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._bfd: Bfd | None = None
        self._station: Station | None = None
        self._admin_down = False
        self._silent = {"daemon", "forwarder"}  # who has not beaten yet
        self._held = True  # perhaps, by the daemon before this one
        self._calm_since: float | None = None

    async def start(self, config: Config, drained: bool) -> None:
        """Start what the configuration has, for a node that is drained or not; to be called by the main thread.

        Raises ProcessError (accounts, keys), BfdConfigError, OSError.
        """
        run_dir = Path(config.announcer.run_dir)
        bfd = bfd_config(config, _keys(config))
        if bfd is not None:
            self._bfd = Bfd(bfd, run_dir / "bfd", self._on_event)
            if drained:
                self._bfd.admin_down(True)
                self._admin_down = True
            await self._bfd.start()
            self.hurry("the work loop")
        asked = read_back_config(config)
        if asked is not None:
            self._station = Station(asked, run_dir, self._on_event)
            await self._station.start()

    def plan(self, config: Config) -> Plan:
        """What another configuration asks for. Raises as `start` does, and BfdConfigError for what needs a restart."""
        bfd = bfd_config(config, _keys(config))
        if (bfd is None) is not (self._bfd is None):
            raise BfdConfigError("bfd cannot be switched on or off while the daemon runs: restart it")
        return Plan(bfd, read_back_config(config))

    async def follow(self, plan: Plan, run_dir: Path) -> None:
        """Carry a plan out: BFD's sessions with unchanged peers go on. Raises ProcessError, OSError."""
        if self._bfd is not None and plan.bfd is not None and plan.bfd != self._bfd.config:
            self._bfd.reconfigure(plan.bfd)
        if plan.read_back != (self._station.config if self._station else None):
            await self._replace_station(plan.read_back, run_dir)

    async def _replace_station(self, asked: ReadBackConfig | None, run_dir: Path) -> None:
        if self._station is not None:
            await self._station.stop()
        self._station = Station(asked, run_dir, self._on_event) if asked else None
        if self._station is not None:
            await self._station.start()

    async def stop(self, hand_over: bool) -> None:
        """End both; with `hand_over`, BFD stays up for the daemon that is started next."""
        if self._station is not None:
            await self._station.stop()
        if self._bfd is not None:
            if hand_over:
                self._bfd.hold(_PLANNED)
            await self._bfd.stop(admin_down=not hand_over)

    def hurry(self, what: str) -> None:
        """Have the calling thread scheduled before ordinary ones, where there is BFD to beat for."""
        if self._bfd is not None and (refused := run_first(_PRIORITY)):
            self._on_event(Event("bfd", "running", "running", f"{what} beats {refused}"))

    def daemon_beat(self) -> None:
        """The work loop turns, and stands by what is announced."""
        self._beat("daemon")

    def forwarder_beat(self) -> None:
        """The program is on its interfaces."""
        self._beat("forwarder")

    def _beat(self, source: str) -> None:
        if self._bfd is None:
            return
        self._bfd.beat(source)
        self._silent.discard(source)

    def settle(self, said: bool, now: float) -> None:
        """Take back the time that the daemon before this one may have asked for, once this one has found its rhythm.

        `said`: routers' sessions have all that is declared. Until then a beat may come late: first tables and first
        results are made in the same process.
        """
        if self._bfd is None or not self._held:
            return
        if not said or self._silent:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= _CALM:
            self._bfd.hold(0)
            self._held = False

    @property
    def holding(self) -> bool:
        """Whether `settle` still has something to take back."""
        return self._bfd is not None and self._held

    def say(self, routes: Mapping[Prefix, Route | None], leaving: bool) -> None:
        """What is announced from now on; a node that has left tells its peers AdminDown (RFC 5882, 4.2)."""
        if self._station is not None:
            self._station.intend(routes)
        if self._bfd is not None and leaving != self._admin_down:
            self._bfd.admin_down(leaving)
        self._admin_down = leaving

    def others(self, prefixes: Iterable[Prefix]) -> dict[Prefix, Others]:
        """Who else announces each prefix; one of which no router tells is absent."""
        read_back = self.read_back()
        found = {prefix: read_back.others(prefix) for prefix in prefixes} if read_back else {}
        return {prefix: Others(*others) for prefix, others in found.items() if others is not None}

    def carried(self, prefixes: Iterable[Prefix]) -> dict[Prefix, dict[str, int | None]]:
        """What other nodes carry of their configuration, for each prefix of which a router tells."""
        read_back = self.read_back()
        found = {prefix: read_back.digests(prefix) for prefix in prefixes} if read_back else {}
        return {prefix: names for prefix, names in found.items() if names}

    def read_back(self) -> ReadBack | None:
        """What routers hold, None where none is asked."""
        return self._station.view() if self._station else None

    def up(self) -> dict[str, bool]:
        """Whether BFD's session with a peer is up, by the peer's name; a peer of which nothing is known is absent."""
        sessions = self._bfd.sessions() if self._bfd else ()
        return {session.name: session.up for session in sessions if session.state != "unknown"}

    def sessions(self) -> dict[str, dict[str, Any]]:
        """BFD's sessions by the peer's name."""
        return {session.name: asdict(session) for session in self._bfd.sessions()} if self._bfd else {}


def _keys(config: Config) -> dict[str, str]:
    """The BFD key of each peer that has one. Raises SecretError."""
    return {
        peer.name: read_secret(f"peer {peer.name}: bfd key_file", own.auth.key_file, os.environ)
        for peer, own in with_bfd(config)
        if own.auth
    }


class Pulse:
    """Beats for the daemon while its work loop turns: a loop that hangs stops it, and so does a blocked event loop."""

    def __init__(self, beat: Callable[[], None], limit: float) -> None:
        """`limit`: seconds after which a work loop that has not turned counts as hung."""
        self._beat, self._limit = beat, limit
        self._turned = time.monotonic()

    def turned(self) -> None:
        """The work loop has come round."""
        self._turned = time.monotonic()
        self.tick()

    def tick(self) -> None:
        """To be called by the event loop several times an interval of the gate."""
        if time.monotonic() - self._turned < self._limit:
            self._beat()
