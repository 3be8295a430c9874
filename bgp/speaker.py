"""The announcer as the daemon sees it: ExaBGP and its relay, started, adopted, fed, watched and ended.

The daemon's work loop calls `heartbeat` (or `declare`) at least four times a lease. Nothing else renews the leases: if
that loop hangs, they run out, and the relay withdraws. The timer here watches ExaBGP and never feeds it.
"""

import asyncio
import contextlib
import hashlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bgp.exabgp_conf import SpeakerConfig, environment, render
from bgp.link import RelayLink
from bgp.process import Account, Identity, Process, ProcessError, account, load_identity, parent_of, save_identity
from bgp.process import start_ticks as ticks_of
from bgp.report import Event, PeerStatus, PrefixStatus, SpeakerState, changes
from bgp.rib import UNKNOWN
from bgp.route import Prefix, Route
from bgp.rundir import RunDir
from bgp.supervisor import Action, Supervisor, Transition
from bgp.supervisor import Event as Happening
from bgp.wire import Declare, State, encode_declare

TICK: Final = 0.1
STOP_LIMIT: Final = 2.0
"""Seconds that each half of `stop` may take: the withdrawals, and ExaBGP's end."""
UPDATE_GRACE: Final = 0.05
"""Seconds between ExaBGP's last answer and its end, for the UPDATE to leave."""

OnChange = Callable[[Event], None]


class Speaker:
    """Announces and withdraws prefixes of one node. Use from one asyncio loop; no method blocks."""

    def __init__(self, config: SpeakerConfig, run_dir: Path, on_change: OnChange | None = None) -> None:
        self.config = config
        self._dir = RunDir(run_dir)
        self._on_change = on_change or (lambda event: None)
        self._supervisor = Supervisor()
        self._process: Process | None = None
        self._runner: Account | None = None
        self._link: RelayLink | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._desired: dict[Prefix, Route | None] | None = None
        self._routes: dict[Prefix, Route | None] = {}  # the same as it is sent: with next hops
        self._fed: dict[Prefix, float] = {}
        self._seq = 0
        self._sent_at = 0.0
        self._state: State | None = None
        self._heard: float | None = None
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Listen for the relay, then adopt the ExaBGP that an earlier daemon left or start one.

        Raises ProcessError (no such account) and OSError (the directory). Later faults are retried and reported.
        """
        self._runner = account(self.config.user)
        self._dir.prepare(self._runner)
        self._dir.write_conf(render(self.config, self._relay_argv()), self._runner)
        listener = self._dir.listen(self._runner)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: RelayLink(self), sock=listener)
        await self._adopt_or_end()
        if self._process is not None:
            self._handle(Happening.ADOPT, f"adopted process {self._process.pid} of an earlier daemon")
        else:
            self._handle(Happening.START, "the daemon started")
        self._timer = loop.call_later(TICK, self._tick)

    def reconfigure(self, config: SpeakerConfig) -> None:
        """Take new prefixes or peers over without touching the sessions of unchanged peers; declare again afterwards.

        The user, asn and router_id of a node do not change: such a configuration needs `stop` and a new Speaker.
        """
        assert self._runner is not None
        self.config = config
        self._dir.write_conf(render(config, self._relay_argv()), self._runner)
        if self._process is not None:
            # ExaBGP reads the file again; its running relay stays and learns new prefixes from the declaration.
            self._process.signal(signal.SIGUSR1)
            self._save_identity(self._process)

    def declare(self, desired: Mapping[Prefix, Route | None]) -> None:
        """Replace the whole desired set and send it now; None, or absence, means withdrawn. Counts as a heartbeat.

        Until the first call nothing is said to an adopted relay: call it once it is known what to announce.
        Raises SpeakerConfigError for an IPv6 route that a peer without `local_address6` cannot be told.
        """
        wanted = {**dict.fromkeys(self.config.prefixes), **desired}
        self._routes = {
            prefix: None if route is None else self.config.resolved(route) for prefix, route in wanted.items()
        }
        self._desired = wanted
        self._feed(self._desired)
        self._send()

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

    def _send(self) -> None:
        if self._desired is None or self._link is None:
            return
        lease = self.config.lease
        routes = {p: None if r is None else (r, self._fed[p] + lease) for p, r in self._routes.items()}
        self._seq += 1
        self._sent_at = time.monotonic()
        self._link.send(encode_declare(Declare(self._seq, routes)))

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

    async def stop(self, withdraw: bool = True) -> None:
        """Withdraw all with the sessions up and end ExaBGP; without `withdraw`, leave it to the next daemon."""
        if self._timer is not None:
            self._timer.cancel()
        if withdraw and self._link is not None:
            self.declare({})
            await self.applied(STOP_LIMIT)
            await asyncio.sleep(UPDATE_GRACE)
        self._handle(Happening.STOP, "the daemon stops")
        if self._process is not None:
            asyncio.get_running_loop().remove_reader(self._process.fileno())
            if withdraw:
                await self._end(self._process, signal.SIGTERM)
                self._dir.identity.unlink(missing_ok=True)
            self._process = None
        if self._server is not None:
            self._server.close()
            self._dir.socket.unlink(missing_ok=True)
        if self._link is not None:
            self._link.close()

    def state(self) -> SpeakerState:
        """A snapshot for status."""
        views, peers = (self._state.prefixes, self._state.peers) if self._state else ({}, {})
        wanted = self._desired or dict.fromkeys(self.config.prefixes)
        prefixes = {}
        for prefix, route in wanted.items():
            view = views.get(prefix)
            sent, acked, refusals = (view.sent, view.acked, view.refusals) if view else (UNKNOWN, UNKNOWN, 0)
            as_sent = self._routes.get(prefix)
            prefixes[prefix] = PrefixStatus(
                route, route if sent == as_sent else sent, route if acked == as_sent else acked, refusals
            )
        sessions = []
        for peer in self.config.peers:
            view_of = peers.get(peer.address)
            live = (view_of.up, view_of.since, view_of.reason) if view_of else (False, self._supervisor.since, "")
            sessions.append(PeerStatus(peer.name, peer.address, peer.asn, *live))
        return SpeakerState(
            phase=self._supervisor.phase,
            reason=self._supervisor.reason,
            since=self._supervisor.since,
            deaths=self._supervisor.deaths,
            exabgp_pid=self._process.pid if self._process else None,
            relay_pid=self._link.pid if self._link else None,
            heard=self._heard,
            converged=self._is_applied(),
            prefixes=prefixes,
            peers=tuple(sessions),
        )

    def relay_connected(self, link: RelayLink) -> bool:
        """A process connected; it counts if ExaBGP is its parent. A newer relay replaces an older one."""
        if self._process is None or parent_of(link.pid) != self._process.pid:
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
        self._heard = time.monotonic()
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
        self._dir.trim_log()

    def _act(self, action: Action, transition: Transition | None) -> None:
        if transition is not None:
            self._on_change(Event("exabgp", transition.old.value, transition.new.value, transition.reason))
        if action is Action.SPAWN:
            self._spawn()
        elif action is Action.KILL:
            if self._link is not None:
                self._link.kill()
            if self._process is not None:
                self._process.signal(signal.SIGKILL)

    def _spawn(self) -> None:
        assert self._runner is not None
        argv, env, _ = self._command()
        try:
            self._process = Process.spawn(argv, env, self._dir.log, self._runner)
        except ProcessError as error:
            self._handle(Happening.EXITED, str(error))
            return
        self._save_identity(self._process)
        self._watch(self._process)

    def _save_identity(self, process: Process) -> None:
        digest = self._command()[2]
        save_identity(self._dir.identity, Identity(process.pid, ticks_of(process.pid) or 0, digest))

    def _watch(self, process: Process) -> None:
        asyncio.get_running_loop().add_reader(process.fileno(), self._exited, process)

    def _exited(self, process: Process) -> None:
        asyncio.get_running_loop().remove_reader(process.fileno())
        reason, self._process = process.reap(), None
        if self._link is not None:
            self._link.close()
        words = (self._state.abort if self._state else None) or self._dir.last_words()
        self._handle(Happening.EXITED, f"{reason}; last words: {words}" if words else reason)

    async def _adopt_or_end(self) -> None:
        """Take an earlier daemon's ExaBGP over if it runs what we would run; end it otherwise."""
        identity = load_identity(self._dir.identity)
        process = Process.adopt(identity) if identity else None
        if process is None or identity is None:
            return
        if identity.config != self._command()[2]:
            await self._end(process, signal.SIGKILL)
            return
        self._process = process
        self._watch(process)

    async def _end(self, process: Process, number: signal.Signals) -> None:
        process.signal(number)
        deadline = time.monotonic() + STOP_LIMIT
        while not process.ended():
            if time.monotonic() >= deadline:
                process.signal(signal.SIGKILL)
            await asyncio.sleep(0.01)
        process.reap()

    def _relay_argv(self) -> list[str]:
        return [sys.executable, "-I", "-m", "bgp.relay", str(self._dir.socket)]

    def _command(self) -> tuple[list[str], dict[str, str], str]:
        """ExaBGP's arguments and environment, and a digest of all that it runs with."""
        assert self._runner is not None
        argv = [sys.executable, "-I", "-m", "exabgp", "server", str(self._dir.conf)]
        env = environment(self._runner.name, str(self._dir.env))
        known = [argv, env, version("exabgp"), version("fairhop"), self._runner.uid]
        known.append(render(self.config, self._relay_argv()))
        return argv, env, hashlib.sha256(json.dumps(known).encode()).hexdigest()
