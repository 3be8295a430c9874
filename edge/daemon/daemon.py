"""The daemon of an edge node: opens its parts, wires them, turns the crank, reads its file again, and leaves.

`_work` is the one loop that renews the VIPs' leases: when it hangs, they run out and the node withdraws.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bgp import report
from bgp.bmp.readback import ReadBack
from bgp.speaker import Speaker
from bgp.supervisor import Phase
from edge.announcer.attributes import speaker_config
from edge.announcer.companions import Companions, Pulse
from edge.config.file import Config
from edge.control.ask import RefusedError
from edge.control.intent_store import IntentStore
from edge.control.server import ControlServer
from edge.control.verbs import Verbs
from edge.daemon.checking import Checking
from edge.daemon.crank import Crank
from edge.daemon.reloading import Announcer, Reloader
from edge.daemon.selfprobe import SelfProbe
from edge.daemon.sentinel import Proof, Sentinel
from edge.daemon.ways import Ways
from edge.datapath.blocklist import BlockList
from edge.datapath.bpf_error import BpfError
from edge.datapath.forwarder import Forwarder
from edge.datapath.model import IpAddress
from edge.datapath.neighbours import Neighbours
from edge.datapath.next_hop import Finding
from edge.decide.local_health import LocalHealth
from edge.decide.node import Node
from edge.install.block_file import read_block_list
from edge.install.blocking import Blocking
from edge.install.forwarding import Forwarding
from edge.log.events import EventLog
from edge.native import maglev as native
from edge.policy.health import Health, Result

_TURN = 0.25  # seconds between turns of the crank when nothing happens; at most a quarter of a lease
_RETRY = 10.0  # seconds before the end of an order is stored again that could not be
_PULSE = 0.01  # seconds between beats for the BFD gate
_AFTERWARDS = 0.1  # seconds between a withdrawal and the attempt to attach again
_HUNG = 1.0  # seconds without a turn after which the work loop counts as hung


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
        self._local = LocalHealth(config, time.monotonic())
        self.forwarding: Forwarding
        self.speaker: Speaker
        self._checking: Checking
        self._companions: Companions
        self._neighbours: Neighbours
        self._blocking: Blocking
        self._crank: Crank
        self._ways: Ways
        self._applying: asyncio.Task[None]
        self._reloader: Reloader
        self._wake = asyncio.Event()
        self._retry_at = 0.0
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
            proof = Proof(SelfProbe(forwarder), lambda: self._blocking.installed)
            self.forwarding = Forwarding(forwarder, self._applied, self._failed, proof.verify)
            self.speaker = Speaker(speaker_config(config), Path(config.announcer.run_dir), self._reported)
            self._companions = Companions(self._reported)
            self._crank = Crank(self.node, self.events, self.forwarding, self.speaker, self._companions, self._wake.set)
            self._checking = Checking(self._probed, self._probed_here, self._silence_changed, self._checker_changed)
            stack.push_async_callback(self._checking.stop)
            self._neighbours = await stack.enter_async_context(Neighbours(self._crank.next_hops))
            self._crank.neighbours_failure = lambda: self._neighbours.failure
            self._ways = Ways(self.events, self.speaker, self._companions, self._neighbours, self._checking)
            stack.push_async_callback(self._stop_announcing)
            await self._companions.start(config, drained=self.node.intent.node is not None)
            await self.speaker.start()
            self.node.resumed = self.speaker.state().phase is Phase.WAITING  # for the relay of an adopted ExaBGP
            control = ControlServer(self.places.socket, self._verbs.table())
            await control.start()
            stack.push_async_callback(control.stop)
            self._applying = asyncio.create_task(self.forwarding.run(), name="forwarding")
            stack.push_async_callback(self._stop_forwarding)
            sentinel = Sentinel(proof, self._not_forwarding, self._companions.forwarder_beat, self._hurry_sentinel)
            stack.callback(sentinel.stop)
            announcer = Announcer(self.speaker, self._companions, self._crank)
            self._reloader = Reloader(
                self.places.config, self.node, self.events, self._blocking, announcer, self._follow
            )
            for service in self._local.health:
                self.node.set_service_fault(service, "its local checks have no first result yet")
            self._follow(config)
            self._catch_signals()
            await self._work()
            self._crank.stopping()

    async def _stop_announcing(self) -> None:
        await self.speaker.stop(withdraw=not self._hand_over)
        await self._companions.stop(self._hand_over)

    async def _stop_forwarding(self) -> None:
        self.forwarding.stop()
        with contextlib.suppress(Exception):  # told by `_work`, which is why we are here
            await self._applying

    def _follow(self, config: Config) -> None:
        self._local.follow(config, time.monotonic())
        for service in self.node.service_faults.keys() - self._local.health.keys():
            self.node.set_service_fault(service, "")  # a reload took its local checks away
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

    @property
    def bfd(self) -> Mapping[str, Mapping[str, Any]]:
        """BFD's sessions by the peer's name."""
        return self._companions.sessions()

    @property
    def read_back(self) -> ReadBack | None:
        """What routers hold, None where none is asked."""
        return self._companions.read_back()

    @property
    def service_health(self) -> Mapping[str, Health]:
        """The health of each service that has local checks."""
        return self._local.health

    async def reload(self) -> str:
        """Read the file and its block list again and follow them; names what changed.

        Raises ConfigError, OSError or UnicodeDecodeError, and then nothing has changed.
        """
        return await self._reloader.reload()

    async def roll_back(self) -> str:
        """Follow the configuration from before the last reload. Raises LookupError, and what `reload` raises."""
        return await self._reloader.roll_back()

    async def _work(self) -> None:
        pulse = Pulse(self._beat, _HUNG)
        beating = asyncio.create_task(_every(_PULSE, pulse.tick), name="pulse")
        try:
            while not self._leave.is_set():
                for task in (self._applying, beating):
                    if task.done():
                        task.result()  # it ends only by an error, which ends the daemon too
                self.turn()
                pulse.turned()
                if self._crank.has_left():
                    break
                await self._pause()
        finally:
            await _cancel(beating)

    async def _pause(self) -> None:
        deadline = self._crank.next_deadline()
        pause = _TURN if deadline is None else min(_TURN, max(deadline - time.monotonic(), 0))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()
        self._wake.clear()

    def turn(self) -> None:
        """Carry out what follows from all that is known now."""
        self._end_orders(time.monotonic())
        self._ways.look()
        self._crank.turn()

    def _beat(self) -> None:
        if not self.speaker.adrift:
            self._companions.daemon_beat()

    def _end_orders(self, now: float) -> None:
        intent = self.node.ended_orders(now)
        if intent is not None and now >= self._retry_at:
            try:
                self._verbs.orders.end(intent)
            except RefusedError as error:
                self._retry_at = now + _RETRY
                self.events.record("intent", "standing", "standing", f"an order that is over cannot be ended: {error}")

    def _applied(self) -> None:
        self.node.forwarder_applied()
        self._crank.fault("maps", "")
        self._wake.set()

    def _failed(self, reason: str) -> None:
        self._crank.fault("maps", reason)

    def _hurry_sentinel(self) -> None:
        self._companions.hurry("the sentinel")

    def _not_forwarding(self, reason: str) -> None:
        self._crank.fault("program", reason)
        self.turn()  # routers should not wait for anything else
        if reason:  # and the kernel's one lock of all interfaces is needed where a router runs on the same machine
            asyncio.get_running_loop().call_later(_AFTERWARDS, self.forwarding.look_again)

    def _block_list_changed(self, refused: str) -> None:
        self.events.record("block list", "as it was", "refused" if refused else "in force", refused or "installed")

    def _probed(self, pool: str, backend: str, result: Result) -> None:
        transition = self.node.observe(pool, backend, result, time.monotonic())
        if transition:
            subject, seen = f"backend {pool}/{backend}", _evidence(result)
            self.events.record(subject, transition.old.value, transition.new.value, transition.reason, seen)
            self._wake.set()

    def _probed_here(self, service: str, result: Result) -> None:
        transition = self._local.observe(service, result, time.monotonic())
        if transition:
            subject, seen = f"service {service}", _evidence(result)
            self.events.record(subject, transition.old.value, transition.new.value, transition.reason, seen)
            self.node.set_service_fault(service, self._local.faults().get(service, ""))
            self.turn()

    def _silence_changed(self) -> None:
        """A pool is silent when all its backends are: of one that still has results, something is known."""
        stale, pools = self._checking.stale(), self.node.config.pools
        silent = {
            f"pool {name}"
            for name, pool in pools.items()
            if all((name, b.name) in stale.backends for b in pool.backends)
        }
        names = frozenset(silent | {f"service {service}" for service in stale.services})
        if self.node.set_silent(names, time.monotonic()):
            told = ", ".join(sorted(names))
            self.events.record("checks", "heard", "silent" if names else "heard", told or "every check has results")
            self._wake.set()

    def _checker_changed(self, old: str, new: str, reason: str) -> None:
        self.events.record("checker", old, new, reason)

    def _reported(self, event: report.Event) -> None:
        self.events.record(event.subject, event.old, event.new, event.reason)
        self._wake.set()

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.unasked)
        loop.add_signal_handler(signal.SIGUSR2, self._asked_to_hand_over)

    def _asked_to_stop(self) -> None:
        """The first TERM drains, lingers and exits; a second one exits now."""
        if self.node.stopping:
            self._leave.set()
        self.node.stop(time.monotonic())
        self._wake.set()

    def _asked_to_hand_over(self) -> None:
        """Leave the forwarder and ExaBGP as they are for the daemon that is started next, within the lease."""
        self._hand_over = True
        self._leave.set()
        self._wake.set()


def _evidence(result: Result) -> dict[str, Any]:
    return asdict(result)


async def _every(interval: float, act: Callable[[], None]) -> None:
    while True:
        act()
        await asyncio.sleep(interval)


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
