"""The daemon's side of the checks: keeps a checker process, tells it what to ask, hands its results on.

Whatever the checker does, the event loop is never held up by it: lines, backlog and results a second are bounded, and
what breaks a bound is killed and started again. Checks whose results stay away are `stale`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from bgp.life import Action, Transition
from bgp.process import ProcessError
from edge.checks import raw_sockets
from edge.checks.child import Child
from edge.checks.freshness import Freshness
from edge.checks.keeper import Event, Keeper, Phase
from edge.checks.plan import Subject, subjects
from edge.checks.target import Beat, Lines, Outcome, ProtocolError, Target, keeping, orders, read
from edge.config.file import Config
from edge.datapath.netlink import IpAddress
from edge.policy.health import Result

Report = Callable[[str, str, Result], None]
ReportLocal = Callable[[str, Result], None]

_TICK = 0.05
_AWAY = 0.5  # seconds between two ticks from which we ourselves were away
_READ = 1 << 15  # bytes at a time: a flood must leave the event loop to others
_SPARE = 1000  # results and lines a second beyond what the checks can give
_RESULTLESS = 3.0  # seconds that a checker may run with checks that are stale
_FOLLOWING = 2.0  # seconds for a checker to say that it follows the latest configuration


@dataclass(frozen=True, slots=True)
class Stale:
    """Whose results stay away: (pool, backend) pairs, and services by their local checks."""

    backends: frozenset[tuple[str, str]] = frozenset()
    services: frozenset[str] = frozenset()


NOBODY = Stale()


@dataclass(frozen=True, slots=True)
class CheckerView:
    """The checker process as status shows it. `late` is the worst lateness of a probe in the last 0.1 s, seconds."""

    phase: str
    reason: str
    pid: int | None
    deaths: int
    late: float
    checks: int


class Checking:
    """`report(pool, backend, result)` and `report_local(service, result)` are called in the event loop.

    `on_change` is called when `stale()` has changed, and `on_process(old, new, reason)` with the checker's phases.
    """

    def __init__(
        self,
        report: Report,
        report_local: ReportLocal = lambda service, result: None,
        on_change: Callable[[], None] = lambda: None,
        on_process: Callable[[str, str, str], None] = lambda old, new, reason: None,
    ) -> None:
        self._report, self._report_local = report, report_local
        self._on_change, self._on_process = on_change, on_process
        self._user = "nobody"
        self._numbers: dict[Subject, int] = {}
        self._subjects: dict[int, Subject] = {}
        self._targets: dict[int, Target] = {}
        self._only: Mapping[str, str] = {}
        self._keeper, self._freshness = Keeper(), Freshness()
        self._child: Child | None = None
        self._has_raw = False
        self._lines = Lines()
        self._output = bytearray()
        self._config, self._last_number = 0, 0
        self._unfollowed_since: float | None = None
        self._late = 0.0
        self._stale: frozenset[int] = frozenset()
        self._window, self._counted, self._allowed = 0.0, 0, 0
        self._ticked_at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = asyncio.Event()

    def follow(self, config: Config) -> None:
        """Check exactly what `config` names from now on; targets that stay keep their rhythm."""
        wanted, now = subjects(config), time.monotonic()
        self._user = config.announcer.user
        gone = [n for subject, n in self._numbers.items() if wanted.get(subject) != self._targets[n]]
        for number in gone:
            del self._numbers[self._subjects.pop(number)]
            del self._targets[number]
            self._freshness.forget(number)
        fresh = {subject: target for subject, target in wanted.items() if subject not in self._numbers}
        added = dict(enumerate(fresh.values(), start=self._last_number + 1))
        for (subject, target), number in zip(fresh.items(), added, strict=True):
            self._numbers[subject], self._subjects[number], self._targets[number] = number, subject, target
            self._expect(number, target, now)
        self._last_number += len(added)
        self._allowed = _SPARE + 2 * int(sum(1 / t.rules.fast_interval for t in self._targets.values()))
        self._config += 1
        if self._keeper.phase is Phase.STOPPED:
            self._handle(Event.START, "the first configuration", now)
            self._tick()
        elif self._needs_raw() and not self._has_raw:
            self._misbehaved("a tunnel check needs raw sockets, which only a new one can inherit", now)
        elif gone or added:
            self._tell(added, gone, now)

    def keep_to(self, only: Mapping[IpAddress, str]) -> None:
        """Have the probes of these addresses leave by one interface each, all others by any.

        A tunnel probe leaves as the kernel routes it.
        """
        wanted = {str(address): interface for address, interface in only.items()}
        changed = {**dict.fromkeys(self._only.keys() - wanted.keys(), ""), **wanted}
        if wanted != self._only:
            self._only = wanted
            self._say(keeping(self._config, changed))

    def stale(self) -> Stale:
        """Whose results stay away just now."""
        found = [self._subjects[number] for number in self._stale if number in self._subjects]
        return Stale(
            frozenset((subject.pool, subject.name) for subject in found if subject.pool is not None),
            frozenset(subject.name for subject in found if subject.pool is None),
        )

    def next_deadline(self) -> float | None:
        """When something becomes stale if nothing is heard, monotonic seconds; `on_change` tells of it anyway."""
        return self._freshness.next_deadline(time.monotonic())

    def view(self) -> CheckerView:
        """How the checker process does."""
        keeper, pid = self._keeper, self._child.pid if self._child else None
        return CheckerView(keeper.phase.value, keeper.reason, pid, keeper.deaths, self._late, len(self._targets))

    async def stop(self) -> None:
        """End every check and the checker."""
        if self._timer:
            self._timer.cancel()
        self._handle(Event.STOP, "stopped", time.monotonic())
        if self._child is not None:
            with contextlib.suppress(TimeoutError):  # one that not even SIGKILL ends is the kernel's
                await asyncio.wait_for(self._has_ended.wait(), 2)

    def _needs_raw(self) -> bool:
        return any(target.kind == "tunnel" for target in self._targets.values())

    def _expect(self, number: int, target: Target, now: float) -> None:
        self._freshness.expect(number, target.rules.interval, target.jitter, target.timeout, now)

    def _handle(self, event: Event, reason: str, now: float) -> None:
        self._act(self._keeper.handle(event, reason, now), now)

    def _let_time_pass(self, now: float) -> None:
        self._act(self._keeper.tick(now), now)

    def _act(self, step: tuple[Action, Transition[Phase] | None], now: float) -> None:
        action, change = step
        if change is not None:
            self._on_process(change.old.value, change.new.value, change.reason)
        if action is Action.KILL and self._child:
            self._child.kill()
        if action is Action.SPAWN:
            self._spawn(now)

    def _spawn(self, now: float) -> None:
        loop = asyncio.get_running_loop()
        self._has_raw = self._needs_raw()
        try:
            with raw_sockets.opened(wanted=self._has_raw) as sockets:
                self._child = child = Child.start(self._user, sockets)
        except (OSError, ProcessError) as error:
            self._handle(Event.ENDED, f"it cannot be started: {error}", now)
            return
        self._lines, self._output = Lines(), bytearray()
        self._has_ended.clear()
        self._freshness.begun(now)
        loop.add_reader(child.pidfd, self._ended)
        loop.add_reader(child.line, self._readable)
        self._tell(self._targets, (), now)
        self._say(keeping(self._config, self._only))

    def _tell(self, fresh: Mapping[int, Target], gone: list[int] | tuple[()], now: float) -> None:
        if self._child is not None:
            self._unfollowed_since = now
            self._say(orders(self._config, fresh, gone))

    def _say(self, lines: Iterable[bytes]) -> None:
        if self._child is not None:
            for line in lines:
                self._output += line
            self._writable()

    def _writable(self) -> None:
        child, loop = self._child, asyncio.get_running_loop()
        if child is None:
            return
        try:
            while self._output:
                del self._output[: child.line.send(self._output)]
            loop.remove_writer(child.line)
        except BlockingIOError:
            loop.add_writer(child.line, self._writable)
        except OSError:
            loop.remove_writer(child.line)  # the pidfd tells that it has ended

    def _readable(self) -> None:
        child, now = self._child, time.monotonic()
        if child is None:
            return
        try:
            data = child.line.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # the pidfd tells how it ended; one that lives on is silent from now on
            asyncio.get_running_loop().remove_reader(child.line)
        try:
            for line in self._lines.feed(data):
                self._hear(line, now)
        except ProtocolError as error:
            self._misbehaved(f"it said {error}", now)

    def _hear(self, line: bytes, now: float) -> None:
        if self._keeper.phase not in (Phase.STARTING, Phase.RUNNING):
            return
        said = read(line)
        self._count(1 if isinstance(said, Beat) else len(said), now)
        if isinstance(said, Beat):
            self._heard(said, now)
            return
        for outcome in said:
            self._hand_on(outcome, now)

    def _heard(self, beat: Beat, now: float) -> None:
        self._late = beat.late
        if beat.config == self._config:
            self._unfollowed_since = None
        elif self._unfollowed_since is not None and now - self._unfollowed_since > _FOLLOWING:
            raise ProtocolError(f"for {_FOLLOWING:g} s that it follows configuration {beat.config}, not {self._config}")
        self._freshness.beat(now)
        self._handle(Event.HEARD, "its heartbeat", now)

    def _hand_on(self, outcome: Outcome, now: float) -> None:
        if not 0 < outcome.target <= self._last_number:
            raise ProtocolError(f"a result of check {outcome.target}, which there has never been")
        if not self._freshness.result(outcome.target, now):
            return  # on its way while a reload removed it
        subject = self._subjects[outcome.target]
        result = Result(outcome.ok, outcome.detail, outcome.latency, subject.check, outcome.certain)
        if subject.pool is None:
            self._report_local(subject.name, result)
        else:
            self._report(subject.pool, subject.name, result)

    def _count(self, found: int, now: float) -> None:
        if now - self._window >= 1:
            self._window, self._counted = now, 0
        self._counted += found
        if self._counted > self._allowed:
            raise ProtocolError(f"more than {self._allowed} results in a second")

    def _misbehaved(self, reason: str, now: float) -> None:
        if self._child is not None:
            asyncio.get_running_loop().remove_reader(self._child.line)
        self._handle(Event.MISBEHAVED, reason, now)

    def _ended(self) -> None:
        child, loop, now = self._child, asyncio.get_running_loop(), time.monotonic()
        if child is None:
            return
        for descriptor in (child.pidfd, child.line):
            loop.remove_reader(descriptor)
        loop.remove_writer(child.line)
        self._child = None
        how = child.reap()
        self._has_ended.set()
        before = self._keeper.reason
        self._handle(Event.ENDED, f"{how} ({before})" if self._keeper.phase is Phase.KILLING else how, now)
        self._let_time_pass(now)  # the first pause is none

    def _tick(self) -> None:
        now = time.monotonic()
        gap = now - self._ticked_at if self._ticked_at is not None else 0.0
        self._ticked_at = now
        if gap > _AWAY:  # what came meanwhile is not read yet
            self._freshness.away(gap)
            self._keeper.away(gap)
        self._let_time_pass(now)
        stale = self._freshness.stale(now)
        if stale and self._keeper.phase is Phase.RUNNING and now - self._keeper.since > _RESULTLESS:
            self._misbehaved(f"it lives, but {len(stale)} check(s) have no result in time", now)
        if stale != self._stale:
            self._stale = stale
            self._on_change()
        self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)
