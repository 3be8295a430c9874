"""What stands below the daemon's shells, as executing fakes: a forwarder without a kernel, a speaker without ExaBGP."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from bgp.exabgp_conf import PeerConfig, SpeakerConfig
from bgp.route import Prefix, Route
from bgp.speaker import Speaker
from edge.config.file import Check, Config
from edge.daemon.checking import Checking, Report
from edge.datapath import oracle
from edge.datapath.blocklist import BlockList
from edge.datapath.forwarder import Forwarder, Trace
from edge.datapath.model import Counters, ForwarderState, IpAddress, NextHop
from edge.datapath.pinned import Attachment
from edge.datapath.xdp import Mode
from edge.policy.health import Result

LOOPBACK = Attachment("lo", 1, Mode.GENERIC, adopted=False)
MAC = bytes(6)  # the loopback's own
HOP = NextHop(1, b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2")


class FakeForwarder(Forwarder):
    """Runs the last state it took, by the oracle. `refusals` are raised first, one for each write."""

    def __init__(self) -> None:
        self.found = (LOOPBACK,)  # what the next `reattach` finds
        self.states: list[ForwarderState] = []
        self.blocked: list[BlockList | None] = []
        self.refusals: list[Exception] = []
        self.tidied = 0
        self.deaf = False  # says yes and goes on with the former state
        self.gate = threading.Event()  # a write waits for it
        self.gate.set()
        self.entered = threading.Event()
        self.on_reattach: Callable[[], object] = lambda: None
        self._held = self.found

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        return self._held

    def reattach(self) -> tuple[Attachment, ...]:
        self.on_reattach()
        self._held = self.found
        return self._held

    def apply(self, state: ForwarderState) -> bool:
        self.entered.set()
        assert self.gate.wait(5)
        if self.refusals:
            raise self.refusals.pop(0)
        if not (self.deaf and self.states):
            self.states.append(state)
        return True

    def block(self, wanted: BlockList | None) -> bool:
        self.blocked.append(wanted)
        return True

    def block_hits(self) -> Mapping[int, int]:
        return {0: 3}

    def lost(self) -> tuple[str, ...]:
        return ()

    def foreign(self) -> str:
        return ""

    @property
    def settled(self) -> bool:
        return True

    @property
    def generation(self) -> int | None:
        return self.states[-1].generation if self.states else None

    def beat(self, frame: bytes, ifindex: int = 0) -> int:
        return self.run(frame, ifindex).verdict

    def tidy(self) -> None:
        self.tidied += 1

    def counters(self) -> Counters:
        return Counters(rx=7, tx=5, passed=1, drops={"martian": 1, "no_service": 0}, notes={"echo": 0})

    def run(self, frame: bytes, ifindex: int = 0) -> Trace:
        outcome = oracle.judge(
            frame, ifindex, self.states[-1], {LOOPBACK.ifindex: MAC}, blocked=(self.blocked or [None])[-1]
        )
        return Trace(outcome.verdict, outcome.frame, outcome.reason, tuple(outcome.notes))

    def close(self) -> None:
        self.gate.set()


class FakeSpeaker(Speaker):
    """Keeps what was declared, as the real one does, and starts nothing."""

    def __init__(self, config: SpeakerConfig, run_dir: Path, on_change: object = None) -> None:
        super().__init__(config, run_dir)
        self.said: list[Mapping[Prefix, Route | None]] = []
        self.beats = 0
        self.stopped: list[bool] = []

    async def start(self) -> None:
        pass

    async def stop(self, withdraw: bool = True) -> None:
        self.stopped.append(withdraw)

    def reconfigure(self, config: SpeakerConfig) -> None:
        self.config = config

    def declare(self, desired: Mapping[Prefix, Route | None]) -> None:
        self.said.append(dict(desired))
        super().declare(desired)

    def heartbeat(self, prefixes: Iterable[Prefix] | None = None) -> None:
        self.beats += 1
        super().heartbeat(prefixes)


class FakeChecking(Checking):
    """Asks `probe` in the event loop, one task a backend, in place of a checker process."""

    def __init__(self, report: Report, probe: Callable[[Check, IpAddress], Awaitable[Result]]) -> None:
        super().__init__(report)
        self._probe = probe
        self._tasks: dict[tuple[str, str, IpAddress, int, Check], asyncio.Task[None]] = {}

    def follow(self, config: Config) -> None:
        wanted = {
            (name, backend.name, backend.address, number, check)
            for name, pool in config.pools.items()
            for backend in pool.backends
            for number, check in enumerate(pool.check)
        }
        for target in set(self._tasks) - wanted:
            self._tasks.pop(target).cancel()
        for target in wanted - set(self._tasks):
            self._tasks[target] = asyncio.create_task(self._run(*target))

    async def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _run(self, pool: str, backend: str, address: IpAddress, number: int, check: Check) -> None:
        while True:
            self._report(pool, backend, replace(await self._probe(check, address), check=number))
            await asyncio.sleep(check.interval)


def speaker(config: Config, run_dir: Path) -> FakeSpeaker:
    """A speaker for the node of `config`."""
    peers = tuple(
        PeerConfig(p.name, p.address, p.asn, p.local_address, local_address6=p.local_address6)
        for p in config.announcer.peers
    )
    ours = config.announcer
    return FakeSpeaker(SpeakerConfig(ours.asn, ours.router_id, peers, config.prefixes, 9, 2.0, "nobody"), run_dir)


def hops(config: Config) -> dict[IpAddress, NextHop | None]:
    """A next hop for every backend."""
    return {backend.address: HOP for pool in config.pools.values() for backend in pool.backends}


async def until(true: Callable[[], bool]) -> None:
    """Wait for a condition, at most two seconds."""
    async with asyncio.timeout(2):
        while not true():
            await asyncio.sleep(0.002)
