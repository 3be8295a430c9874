"""The announcer as the daemon sees it: ExaBGP and its relay, started, adopted, fed, watched and ended.

The daemon's work loop calls `heartbeat` (or `declare`) at least four times a lease. Nothing else renews the leases: if
that loop hangs, they run out, and the relay withdraws. The timer here watches ExaBGP and never feeds it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from bgp.exabgp_process import STOP_LIMIT, ExaBGP
from bgp.life import Action
from bgp.link import RelayLink
from bgp.process import ProcessError, parent_of
from bgp.report import Event, PeerStatus, SpeakerState, changes, sessions, snapshot
from bgp.route import Prefix, Route
from bgp.speaker_config import SpeakerConfig, SpeakerConfigError
from bgp.supervisor import Event as Happening
from bgp.supervisor import Supervisor, Transition
from bgp.wire import Declare, State, encode_declare

TICK: Final = 0.1
UPDATE_GRACE: Final = 0.05
"""Seconds between ExaBGP's last answer and its end, for the UPDATE to leave."""
CLOSE_FROM: Final = 200
"""Prefixes from which taking all of them off is faster by ending ExaBGP than by as many withdrawals (measured)."""
ADRIFT_LIMIT: Final = 3.0
"""Seconds without a relay after which routers that keep stale routes must hear of it in another way."""

HAND_OVER: Final = 10.0
"""Seconds that routes stay for the daemon that is started next, after a stop that leaves them to it."""

OnChange = Callable[[Event], None]


class Speaker:
    """Announces and withdraws prefixes of one node. Use from one asyncio loop; no method blocks."""

    def __init__(self, config: SpeakerConfig, run_dir: Path, on_change: OnChange | None = None) -> None:
        self.config = config
        self._exabgp = ExaBGP(run_dir, self._exited)
        self._on_change = on_change or (lambda event: None)
        self._supervisor = Supervisor()
        self._link: RelayLink | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._desired: dict[Prefix, Route | None] | None = None
        self._routes: dict[Prefix, Route | None] = {}  # the same as it is sent: with next hops
        self._fed: dict[Prefix, float] = {}
        self._seq = 0
        self._generation = 0
        self._sent_at = 0.0
        self._state: State | None = None
        self._heard: float | None = None
        self._well_at = 0.0
        self._complaint = ""
        self._closing = ""
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Listen for the relay, then adopt the ExaBGP that an earlier daemon left or start one.

        Raises ProcessError (no such account, a key that cannot be read) and OSError (the directory). Later faults are
        retried and reported.
        """
        listener = self._exabgp.prepare(self.config)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: RelayLink(self), sock=listener)
        self._well_at = time.monotonic()
        if await self._exabgp.adopt_or_end():
            self._handle(Happening.ADOPT, f"adopted process {self._exabgp.pid} of an earlier daemon")
        else:
            self._handle(Happening.START, "the daemon started")
        self._timer = loop.call_later(TICK, self._tick)

    def reconfigure(self, config: SpeakerConfig) -> None:
        """Take new prefixes, peers, keys or settings over; declare again at once afterwards.

        Sessions of unchanged peers stay up. A peer of which a setting changed gets a new session, a new one is told
        everything as its session opens. Raises SpeakerConfigError for what ExaBGP cannot be told while it runs (see
        `SpeakerConfig.fixed`), ProcessError for a key that cannot be used, OSError; nothing has changed then.
        """
        if fixed := self.config.fixed(config):
            raise SpeakerConfigError(f"cannot change while ExaBGP runs: {', '.join(fixed)}")
        self._exabgp.reload(config)
        self.config = config
        self._generation += 1

    def declare(self, desired: Mapping[Prefix, Route | None]) -> None:
        """Replace the whole desired set and send it now; None, or absence, means withdrawn. Counts as a heartbeat.

        Until the first call nothing is said to an adopted relay: call it once it is known what to announce.
        Raises SpeakerConfigError for an IPv6 route that a peer without `local_address6` cannot be told.
        """
        wanted = {**dict.fromkeys(self.config.prefixes), **desired}
        routes = {prefix: None if route is None else self.config.resolved(route) for prefix, route in wanted.items()}
        before = sum(route is not None for route in self._routes.values())
        self._desired, self._routes = wanted, routes
        self._feed(self._desired)
        self._send()
        if before >= CLOSE_FROM and not any(routes.values()) and self._closes_sessions():
            self._closing = f"ended to take {before} prefixes off at once"
            self._kill()

    def _closes_sessions(self) -> bool:
        """Whether ending ExaBGP takes its routes away: with graceful restart routers would keep them."""
        return self._exabgp.pid is not None and self.config.graceful_restart is None

    def heartbeat(self, prefixes: Iterable[Prefix] | None = None) -> None:
        """The work loop is alive and stands by what it declared, for all prefixes or for these only."""
        if self._desired is None:
            return
        self._feed(self._desired if prefixes is None else prefixes)
        if time.monotonic() - self._sent_at >= self.config.lease / 4:
            self._send()

    def _feed(self, prefixes: Iterable[Prefix]) -> None:
        now = time.monotonic()
        self._fed.update(dict.fromkeys(prefixes, now))

    def _send(self, longer: float = 0.0) -> None:
        """`longer`: a lease that runs is to last so many seconds from now at least; one that is over stays so."""
        if self._desired is None or self._link is None:
            return
        now, until = time.monotonic(), {prefix: fed + self.config.lease for prefix, fed in self._fed.items()}
        if longer:
            until = {prefix: max(end, now + longer) if end > now else end for prefix, end in until.items()}
        routes = {p: None if r is None else (r, until[p]) for p, r in self._routes.items()}
        self._seq += 1
        self._sent_at = time.monotonic()
        self._link.send(encode_declare(Declare(self._seq, routes, self._generation)))

    async def applied(self, limit: float) -> bool:
        """Wait until ExaBGP has taken what was last declared and its loop has turned since; False after `limit` s."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not self._is_applied():
                    self._news.clear()
                    await self._news.wait()
        return self._is_applied()

    def _is_applied(self) -> bool:
        return self._state is not None and self._state.seq >= self._seq and self._state.converged

    @property
    def adrift(self) -> str:
        """Why routers may hold routes that nobody vouches for any more, empty while that cannot be.

        With graceful restart a closed session takes no route away, so an announcer that does not come back must be
        told of in another way: the daemon stops vouching for it towards BFD while this is not empty.
        """
        silent = time.monotonic() - self._well_at
        if self.config.graceful_restart is None or silent < ADRIFT_LIMIT:
            return ""
        return f"the announcer has been {self._supervisor.phase.value} for {silent:.1f} s: {self._supervisor.reason}"

    async def stop(self, withdraw: bool = True) -> None:
        """Withdraw all with the sessions up and end ExaBGP; without `withdraw`, leave it to the next daemon.

        Then what is under a lease stays for `HAND_OVER` seconds at least: a daemon on a busy machine starts slowly.
        """
        if self._timer is not None:
            self._timer.cancel()
        if not withdraw:
            self._send(longer=HAND_OVER)
        if withdraw and self._link is not None:
            self.declare({})
            if not self._closing:
                await self.applied(STOP_LIMIT)
                await asyncio.sleep(UPDATE_GRACE)
        self._handle(Happening.STOP, "the daemon stops")
        await self._exabgp.close(end=withdraw)
        if self._server is not None:
            self._server.close()
        if self._link is not None:
            self._link.close()

    def state(self) -> SpeakerState:
        """A snapshot for status."""
        wanted = self._desired or dict.fromkeys(self.config.prefixes)
        prefixes, peers = snapshot(self.config, self._state, wanted, self._routes, self._supervisor.since)
        return SpeakerState(
            phase=self._supervisor.phase,
            reason=self._supervisor.reason,
            since=self._supervisor.since,
            deaths=self._supervisor.deaths,
            exabgp_pid=self._exabgp.pid,
            relay_pid=self._link.pid if self._link else None,
            heard=self._heard,
            converged=self._is_applied(),
            prefixes=prefixes,
            peers=peers,
        )

    def peers(self) -> tuple[PeerStatus, ...]:
        """The sessions alone, which cost little to ask for."""
        return sessions(self.config, self._state, self._supervisor.since)

    def relay_connected(self, link: RelayLink) -> bool:
        """A process connected; it counts if ExaBGP is its parent. A newer relay replaces an older one."""
        if self._exabgp.pid is None or parent_of(link.pid) != self._exabgp.pid:
            return False
        old, self._link, self._state = self._link, link, None
        if old is not None:
            old.close()
        self._handle(Happening.CONNECTED, f"relay {link.pid} connected")
        self._send()
        return True

    def relay_said(self, link: RelayLink, state: State) -> None:
        """The relay sent its state."""
        if link is not self._link:
            return
        self._heard = self._well_at = time.monotonic()
        before, self._state = self._state, state
        self._handle(Happening.HEARD, "")
        self._news.set()
        names = {peer.address: peer.name for peer in self.config.peers}
        for event in changes(before, state, names):
            self._on_change(event)

    def relay_lost(self, link: RelayLink) -> None:
        """The relay's connection ended."""
        if link is self._link:
            reason = (self._state.abort if self._state else None) or f"relay {link.pid} closed its connection"
            self._link = self._state = None
            self._handle(Happening.DISCONNECTED, reason)

    def _handle(self, happening: Happening, reason: str) -> None:
        self._act(*self._supervisor.handle(happening, reason, time.monotonic()))

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)
        self._act(*self._supervisor.tick(time.monotonic()))
        self._exabgp.trim_log()
        if self._exabgp.complaint != self._complaint:
            old, self._complaint = self._complaint, self._exabgp.complaint
            self._on_change(Event("run dir", old or "well", self._complaint or "well", "ExaBGP's identity"))

    def _act(self, action: Action, transition: Transition | None) -> None:
        if transition is not None:
            self._on_change(Event("exabgp", transition.old.value, transition.new.value, transition.reason))
        if action is Action.SPAWN:
            try:
                self._exabgp.spawn()
            except ProcessError as error:
                self._handle(Happening.EXITED, str(error))
        elif action is Action.KILL:
            self._kill()

    def _kill(self) -> None:
        if self._link is not None:
            self._link.kill()
        self._exabgp.kill()

    def _exited(self, reason: str) -> None:
        if self._link is not None:
            self._link.close()
        words = self._closing or (self._state.abort if self._state else None) or self._exabgp.last_words()
        happening = Happening.ENDED if self._closing else Happening.EXITED
        self._closing = ""
        self._handle(happening, f"{reason}; last words: {words}" if words else reason)
