"""The checker's loop: one epoll, one heap of what is due, one heap of time limits, and a generator for each probe.

A probe that hangs costs a descriptor and an entry in a heap until its limit; nothing waits for it.
"""

import errno
import functools
import heapq
import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.checks.asking import IN, Ask, Probe, Verdict, Wait, Watch
from edge.checks.probes import ERRORS, explain, probe
from edge.checks.schedule import Schedule
from edge.checks.target import DETAIL_MAX, Outcome, Target
from edge.policy.health import CheckHealth, Result

if TYPE_CHECKING:
    from edge.checks.raw import Raw

_STARTS = 64  # probes that begin in one turn: answers that are in are read before more is asked
_EVENTS = 512
_LONGEST_TURN = 0.05


@dataclass(slots=True)
class _Check:
    """One target and what is known of it. `health` is the daemon's machine once more, for the pace alone."""

    id: int
    target: Target
    health: CheckHealth
    watch: Watch | None = None
    running: "_Running | None" = None


@dataclass(slots=True)
class _Running:
    """A probe in the making."""

    check: _Check
    steps: Probe
    began: float
    wait: Wait = (-1, 0)
    over: bool = False


@dataclass(slots=True)
class Lateness:
    """How late probes began after they were due, in seconds."""

    worst: float = 0.0
    count: int = 0
    seen: list[float] | None = None  # all of them, where somebody measures

    def note(self, late: float) -> None:
        """Take one."""
        self.count += 1
        self.worst = max(self.worst, late)
        if self.seen is not None:
            self.seen.append(late)


@dataclass(slots=True)
class Engine:
    """`tell` gets each result. `clock` is monotonic seconds; `raw` sockets are for tunnel probes."""

    tell: Callable[[Outcome], None]
    clock: Callable[[], float]
    draw: Callable[[], float]
    raw: "Raw | None" = None
    late: Lateness = field(default_factory=Lateness)
    _checks: dict[int, _Check] = field(default_factory=dict)
    _epoll: select.epoll = field(default_factory=select.epoll)
    _waiting: dict[int, "_Running | _Check | Callable[[int], None]"] = field(default_factory=dict)
    _limits: list[tuple[float, int, _Running]] = field(default_factory=list)
    _schedule: Schedule = field(init=False)
    _serial: int = 0
    _only: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._schedule = Schedule(self.draw)
        for name, made in self.raw.sockets.items() if self.raw else ():
            if not name.startswith("send"):
                self.listen(made.fileno(), functools.partial(self._collect, name))

    def add(self, number: int, target: Target) -> None:
        """Ask this target from now on, in place of an earlier one of the number."""
        self.remove(number)
        now = self.clock()
        self._checks[number] = _Check(number, target, CheckHealth(target.rules, now))
        self._schedule.add(number, target.rules.interval, target.jitter, target.key, now)

    def remove(self, number: int) -> None:
        """Ask it no more, also in the middle of a probe."""
        check = self._checks.pop(number, None)
        self._schedule.remove(number)
        if check and check.running:
            self._end(check.running)
        if check:
            self._unwatch(check)

    def keep(self, only: Mapping[str, str]) -> None:
        """Let probes of addresses leave by one interface from now on; "" lets them take any."""
        self._only = {address: interface for address, interface in {**self._only, **only}.items() if interface}

    def listen(self, descriptor: int, callback: Callable[[int], None], events: int = IN) -> None:
        """Call back with the events of a descriptor that is not a probe's; 0 listens no more."""
        known = descriptor in self._waiting
        if not events:
            self._forget(descriptor)
        elif known:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        if events:
            self._waiting[descriptor] = callback

    def turn(self) -> None:
        """Wait for the next thing that happens or is due, at most 0.05 s, and do it."""
        moments = [self._schedule.next_due(), self._limits[0][0] if self._limits else None]
        pause = min([_LONGEST_TURN, *(moment - self.clock() for moment in moments if moment is not None)])
        # epoll counts in milliseconds and rounds up, so a probe begins 1 ms late at most.
        for descriptor, events in self._epoll.poll(max(pause, 0.0), _EVENTS):
            self._happened(descriptor, events)
        now = self.clock()
        self._enforce(now)
        for number, due in self._schedule.take(now, _STARTS):
            self.late.note(now - due)
            self._begin(self._checks[number])

    def _happened(self, descriptor: int, events: int) -> None:
        found = self._waiting.get(descriptor)
        if isinstance(found, _Running):
            self._step(found)
        elif isinstance(found, _Check):
            self._look(found)
        elif found is not None:
            found(events)

    def _collect(self, name: str, _: int) -> None:
        if self.raw:
            self.raw.collect(name)

    def _begin(self, check: _Check) -> None:
        began = self.clock()
        only = self._only.get(check.target.address, "")
        steps = probe(Ask(check.target, check.watch, self.raw, only))
        check.running = running = _Running(check, steps, began)
        self._step(running)
        if not running.over:
            self._serial += 1
            heapq.heappush(self._limits, (began + check.target.timeout, self._serial, running))

    def _step(self, running: _Running) -> None:
        try:
            wait = next(running.steps)
        except StopIteration as stopped:
            self._finish(running, stopped.value)
        except ERRORS as error:
            words = explain(error)
            self._finish(running, Verdict(False, words) if words is not None else None)
        else:
            if wait != running.wait:
                self._wait_for(running, wait)

    def _wait_for(self, running: _Running, wait: Wait) -> None:
        descriptor, events = wait
        if descriptor == running.wait[0]:
            self._epoll.modify(descriptor, events)
        else:
            if running.wait[0] >= 0:
                self._forget(running.wait[0])
            self._epoll.register(descriptor, events)
            self._waiting[descriptor] = running
        running.wait = wait

    def _enforce(self, now: float) -> None:
        while self._limits and self._limits[0][0] <= now:
            running = heapq.heappop(self._limits)[2]
            if not running.over:
                limit = running.check.target.timeout
                self._finish(running, Verdict(False, f"no answer within {limit:g} s"))

    def _finish(self, running: _Running, verdict: Verdict | None) -> None:
        self._end(running)
        check, now = running.check, self.clock()
        if verdict is not None:
            self._keep(check, verdict.watch)
            self._report(check, verdict.ok, verdict.detail, now - running.began)
        self._schedule.again(check.id, running.began, check.health.pace(now), now)

    def _end(self, running: _Running) -> None:
        """Close what the probe holds. Its descriptors may be another's as soon as they are closed, so they go first."""
        running.over, running.check.running = True, None
        if running.wait[0] >= 0:
            self._forget(running.wait[0])
        running.steps.close()

    def _forget(self, descriptor: int) -> None:
        if self._waiting.pop(descriptor, None) is not None:
            try:
                self._epoll.unregister(descriptor)
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.EBADF):  # the probe closed it: epoll forgot it by itself
                    raise

    def _keep(self, check: _Check, watch: Watch | None) -> None:
        if watch is not None:
            self._unwatch(check)
            check.watch = watch
            self._waiting[watch.fileno()] = check
            self._epoll.register(watch.fileno(), IN)

    def _unwatch(self, check: _Check) -> None:
        if check.watch is not None:
            self._forget(check.watch.fileno())
            check.watch.close()
            check.watch = None

    def _look(self, check: _Check) -> None:
        """Something moved on what stands between polls."""
        reason = check.watch.ended() if check.watch else ""
        if reason:
            self._unwatch(check)
            self._report(check, False, reason, 0.0, certain=True)

    def _report(self, check: _Check, ok: bool, detail: str, latency: float, *, certain: bool = False) -> None:
        words = detail[:DETAIL_MAX]
        if not words.isprintable():
            words = "".join(c if c.isprintable() else " " for c in words)
        check.health.observe(Result(ok, words, latency, certain=certain), self.clock())
        self.tell(Outcome(check.id, ok, latency, words, certain))

    def close(self) -> None:
        """End every probe."""
        for number in list(self._checks):
            self.remove(number)
        self._epoll.close()
