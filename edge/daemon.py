"""The daemon of an edge node: wires checks, decisions, forwarder, announcer and control socket, and turns the crank.

`_work` is the one loop that renews the VIPs' leases: when it hangs, they run out and the node withdraws.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from bgp import report
from bgp.route import Prefix, Route
from bgp.speaker import Speaker
from bgp.supervisor import Phase
from edge import config as configuration
from edge.announce import Decision, Stance
from edge.ask import RefusedError
from edge.attributes import route_for, speaker_config
from edge.block_file import read_block_list
from edge.blocking import Blocking
from edge.checking import Checking
from edge.config import Config
from edge.control import ControlServer
from edge.datapath.addresses import is_single, network_of
from edge.datapath.blocklist import BlockList
from edge.datapath.bpf_error import BpfError
from edge.datapath.forwarder import Forwarder
from edge.datapath.model import IpAddress, IpNetwork, NextHop
from edge.datapath.neighbours import Neighbours
from edge.datapath.next_hop import Finding
from edge.events import EventLog
from edge.forwarding import Forwarding, Wish
from edge.health import Result
from edge.intent_store import IntentStore
from edge.native import maglev as native
from edge.node import Node
from edge.notify import Notifier
from edge.strictyaml import ConfigError
from edge.verbs import Verbs

_TURN = 0.25  # seconds between turns of the crank when nothing happens; at most a quarter of a lease
_PATIENCE = 2.0  # seconds to wait for the first next hops before the first tables are installed without them
_STALE = 3.0  # seconds after which a change that the forwarder has not taken is a fault
_RETRY = 10.0  # seconds before the end of an order is stored again that could not be
_LINGER = 1.0  # seconds a stopping node goes on forwarding after its withdrawal


@dataclass(frozen=True, slots=True)
class Places:
    """Where the daemon finds and leaves things."""

    config: Path
    socket: Path
    intent: Path


class Daemon:
    """One edge node. `run` returns when the node has been stopped."""

    def __init__(self, config: Config, places: Places) -> None:
        self.places = places
        self.store = IntentStore(places.intent)
        self.node = Node(config, self.store.load(), time.monotonic(), time.time())
        self.events = EventLog(sys.stderr)
        if native.missing:
            self.events.record("lookup_tables", "native", "python", native.missing)
        self._verbs = Verbs(self, places.config)
        self.forwarding: Forwarding
        self.speaker: Speaker
        self._checking: Checking
        self._neighbours: Neighbours
        self._blocking: Blocking
        self._applying: asyncio.Task[None]
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._next_hops: Mapping[IpAddress, NextHop | None] = {}
        self._notifier = Notifier()
        self._wake = asyncio.Event()
        self._began = time.monotonic()
        self._withdrawn_since: float | None = None
        self._retry_at = 0.0
        self._decisions: Mapping[IpNetwork, Decision] = {}
        self._declared = False
        self._leave = asyncio.Event()
        self._hand_over = False

    async def run(self) -> None:
        """Serve until stopped by a signal.

        Raises BpfError, ConfigError, ProcessError or OSError when the node cannot start.
        """
        config = self.node.config
        blocked = await asyncio.to_thread(read_block_list, config, str(self.places.config))
        async with AsyncExitStack() as stack:
            forwarder = await asyncio.to_thread(_open_forwarder, config, blocked)
            stack.callback(forwarder.close)
            self._blocking = Blocking(forwarder.block, self._block_list_changed)
            self._blocking.want(blocked)
            stack.push_async_callback(_cancel, asyncio.create_task(self._blocking.run(), name="blocking"))
            self.forwarding = Forwarding(forwarder, self._applied, self._failed)
            self.speaker = Speaker(speaker_config(config), Path(config.announcer.run_dir), self._announcer_changed)
            self._checking = Checking(self._probed)
            stack.push_async_callback(self._checking.stop)
            self._neighbours = await stack.enter_async_context(Neighbours(self._next_hops_changed))
            stack.push_async_callback(self._stop_speaker)
            await self.speaker.start()
            self.node.resumed = self.speaker.state().phase is Phase.WAITING  # for the relay of an adopted ExaBGP
            control = ControlServer(self.places.socket, self._verbs.table())
            await control.start()
            stack.push_async_callback(control.stop)
            self._applying = asyncio.create_task(self.forwarding.run(), name="forwarding")
            stack.push_async_callback(self._stop_forwarding)
            self._follow(config)
            self._catch_signals()
            await self._work()
            self._notifier.say("STOPPING=1")

    async def _stop_speaker(self) -> None:
        await self.speaker.stop(withdraw=not self._hand_over)

    async def _stop_forwarding(self) -> None:
        self.forwarding.stop()
        with contextlib.suppress(Exception):  # told by `_work`, which is why we are here
            await self._applying

    def _follow(self, config: Config) -> None:
        self._checking.follow(config)
        self._neighbours.follow(backend.address for pool in config.pools.values() for backend in pool.backends)
        self.turn()

    @property
    def findings(self) -> Mapping[IpAddress, Finding]:
        """How each backend's address is reached, or why it is not."""
        return self._neighbours.findings

    @property
    def blocked(self) -> BlockList | None:
        """The block list that is in force."""
        return self._blocking.installed

    async def reload(self) -> str:
        """Read the file and its block list again and follow them; names what changed.

        Raises ConfigError, OSError or UnicodeDecodeError, and then nothing has changed.
        """
        async with self._reloading:
            return await self._reload()

    async def _reload(self) -> str:
        name = str(self.places.config)
        try:
            config = configuration.load(self.places.config.read_text(), name)
            changed = configuration.changes(self.node.config, config, name)
            blocked = await asyncio.to_thread(read_block_list, config, name)
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            self.events.record("config", "loaded", "loaded", f"a reload was refused: {error}")
            raise
        if blocked != self._blocking.wanted:
            changed.append("the block list")
            self._blocking.want(blocked)
        self.node.reload(config, time.monotonic())
        self._follow(config)
        self.events.record("config", "loaded", "loaded", f"reloaded, changed: {', '.join(changed) or 'nothing'}")
        return ", ".join(changed)

    async def _work(self) -> None:
        while not self._leave.is_set():
            if self._applying.done():
                self._applying.result()  # it ends only by an error, which ends the daemon too
            self.turn()
            self._notifier.beat()
            deadlines = [decision.until for decision in self._decisions.values() if decision.until]
            if (other := self.node.next_deadline()) is not None:
                deadlines.append(other)
            pause = min([_TURN, *(max(deadline - time.monotonic(), 0) for deadline in deadlines)])
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    def turn(self) -> None:
        """Carry out what follows from all that is known now: tables, announcements, and whether to leave."""
        now = time.monotonic()
        self._watch_forwarder(now)
        self._end_orders(now)
        decisions = self.node.decisions(now)
        for prefix, decision in decisions.items():
            self._log_decision(prefix, self._decisions.get(prefix), decision)
        self._decisions = decisions
        if self.node.surveyed and (self._reachable() or now - self._began > _PATIENCE):
            told = {prefix for prefix, decision in decisions.items() if decision.stance is not Stance.WITHDRAWN}
            echo = frozenset(vip for vip in self.node.config.vips if network_of(vip) in told)
            self.forwarding.want(Wish(self.node.config, self.node.selections(), self._next_hops, echo))
        if self.node.ready or self.node.intent.node or self.node.fault:
            announcer = self.node.config.announcer
            self._announce({prefix: route_for(announcer, prefix, d.stance) for prefix, d in decisions.items()})
            self._notifier.say("READY=1")
        self._consider_leaving(now)

    def _end_orders(self, now: float) -> None:
        intent = self.node.ended_orders(now)
        if intent is not None and now >= self._retry_at:
            try:
                self._verbs.orders.end(intent)
            except RefusedError as error:
                self._retry_at = now + _RETRY
                self.events.record("intent", "standing", "standing", f"an order that is over cannot be ended: {error}")

    def _reachable(self) -> bool:
        return bool(self._next_hops) and all(self._next_hops.values())

    def _announce(self, routes: Mapping[Prefix, Route | None]) -> None:
        wanted = {prefix: status.wanted for prefix, status in self.speaker.state().prefixes.items()}
        if wanted == routes and self._declared:
            self.speaker.heartbeat()
        else:
            self.speaker.declare(routes)
            self._declared = True

    def _watch_forwarder(self, now: float) -> None:
        since = self.forwarding.behind_since
        late = since is not None and now - since > _STALE
        self._fault("tables", f"the forwarder has not taken a change for {_STALE:g} s" if late else "")
        lost = [a for a in self.forwarding.forwarder.attachments if a.mode is None]
        broken = self._neighbours.failure
        self._fault("next hops", f"nobody follows them any more: {broken}" if broken else "")
        self._fault("interfaces", "; ".join(f"not attached to {a.interface}: {a.remark}" for a in lost))

    def _fault(self, source: str, reason: str) -> None:
        before = self.node.fault
        if self.node.set_fault(source, reason):
            self.events.record("forwarder", before or "well", self.node.fault or "well", source)
            self._wake.set()

    def _applied(self) -> None:
        self.node.forwarder_applied()
        self._fault("maps", "")
        self._wake.set()

    def _failed(self, reason: str) -> None:
        self._fault("maps", reason)

    def _block_list_changed(self, refused: str) -> None:
        self.events.record("block list", "as it was", "refused" if refused else "in force", refused or "installed")

    def _next_hops_changed(self, next_hops: Mapping[IpAddress, NextHop | None]) -> None:
        self._next_hops = dict(next_hops)
        self._wake.set()

    def _probed(self, pool: str, backend: str, result: Result) -> None:
        transition = self.node.observe(pool, backend, result, time.monotonic())
        if transition:
            subject = f"backend {pool}/{backend}"
            self.events.record(subject, transition.old.value, transition.new.value, transition.reason)
            self._wake.set()

    def _announcer_changed(self, event: report.Event) -> None:
        self.events.record(event.subject, event.old, event.new, event.reason)

    def _log_decision(self, prefix: IpNetwork, old: Decision | None, new: Decision) -> None:
        if old is None or (old.stance, old.reason) != (new.stance, new.reason):
            before = old.stance.value if old else Stance.WITHDRAWN.value
            self.events.record(
                f"vip {prefix.network_address if is_single(prefix) else prefix}",
                before,
                new.stance.value,
                new.reason.value,
            )

    def _consider_leaving(self, now: float) -> None:
        withdrawn = all(decision.stance is Stance.WITHDRAWN for decision in self._decisions.values())
        self._withdrawn_since = (self._withdrawn_since or now) if self.node.stopping and withdrawn else None
        if self._withdrawn_since is not None and now - self._withdrawn_since >= _LINGER:
            self._leave.set()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        loop.add_signal_handler(signal.SIGUSR2, self._asked_to_hand_over)

    def _asked_to_stop(self) -> None:
        """The first TERM drains, lingers and exits; a second one exits now."""
        if self.node.stopping:
            self._leave.set()
        self.node.stop(time.monotonic())
        self._wake.set()

    def _asked_to_reload(self) -> None:
        task = asyncio.create_task(self._reload_unasked(), name="reload")
        self._reloads.add(task)  # the loop itself keeps no task alive
        task.add_done_callback(self._reloads.discard)

    async def _reload_unasked(self) -> None:
        # A refusal is logged, and the configuration that runs goes on running.
        with contextlib.suppress(ConfigError, OSError, UnicodeDecodeError):
            await self.reload()

    def _asked_to_hand_over(self) -> None:
        """Leave the forwarder and ExaBGP as they are for the daemon that is started next, within the lease."""
        self._hand_over = True
        self._leave.set()
        self._wake.set()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _open_forwarder(config: Config, blocked: BlockList | None) -> Forwarder:
    wanted, listed = config.forwarder, blocked.count4 + blocked.count6 if blocked else 0
    # Hits are counted for as many prefixes as there is room made for now: a list may grow by half until a restart.
    room = max(1, listed + listed // 2)
    forwarder = Forwarder.open(
        Path(wanted.pin), wanted.interfaces, wanted.mode, config.hashing.table_size, block_entries=room
    )
    # Before the first tables take the place of an earlier daemon's, whose list is in force until then.
    with contextlib.suppress(BpfError):  # `Blocking` tells and tries again
        forwarder.block(blocked)
    return forwarder
