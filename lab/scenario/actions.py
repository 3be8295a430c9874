"""Does what a step says to a running lab: to fairhop's edges by their daemon, to others as their operators would."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lab.addressing import LabPlan, Role
from lab.faults.injector import Injector
from lab.runtime import Completed, LabError, Runtime
from lab.scenario import routing
from lab.scenario.evidence import FaultSpan, Outcome
from lab.scenario.moves import (
    Drain,
    Exec,
    Heal,
    Inject,
    Kill,
    Move,
    Nothing,
    Reload,
    Restart,
    Rollback,
    Start,
    Undrain,
)
from lab.scenario.names import ALL, fault_of
from lab.scenario.staging import Deed

T = TypeVar("T")


@dataclass(slots=True)
class _Standing:
    """A fault that stands. `ends`: when it is healed by itself, None if never."""

    name: str
    text: str
    since: float
    ends: float | None


@dataclass(slots=True)
class Actions:
    """The actions of one run. Faults stand until healed, until their time is over, or until the injector closes."""

    runtime: Runtime
    plan: LabPlan
    injector: Callable[[], Injector]
    _standing: list[_Standing] = field(default_factory=list)
    _over: list[FaultSpan] = field(default_factory=list)
    _healed: list[float] = field(default_factory=list)  # when a fault was healed by its own time

    def act(self, moves: Sequence[Move], reason: str) -> Deed:
        """Do them in order. Raises `LabError` where something cannot be done."""
        taken: list[float] = []
        outcomes: list[Outcome] = []
        for move in moves:
            deed = self._one(move, reason)
            outcomes += deed.outcomes
            if deed.taken is not None:
                taken.append(deed.taken)
        return Deed(max(taken, default=None), tuple(outcomes))

    def heal_due(self, now: float) -> None:
        """Take back the faults whose time is over."""
        for fault in [each for each in self._standing if each.ends is not None and each.ends <= now]:
            self._heal(fault)
            self._healed.append(now)

    def next_end(self) -> float | None:
        """When the next fault is to be healed by itself."""
        return min((each.ends for each in self._standing if each.ends is not None), default=None)

    def healed(self, since: float) -> float | None:
        """When the first fault was healed by its own time after `since`."""
        return min((when for when in self._healed if when >= since), default=None)

    def spans(self) -> list[FaultSpan]:
        """Every fault so far, those that stand without an end."""
        standing = [FaultSpan(each.name, each.text, each.since, None) for each in self._standing]
        return sorted([*self._over, *standing], key=lambda span: span.since)

    def _one(self, move: Move, reason: str) -> Deed:
        for kinds, do in self._table(reason):
            if isinstance(move, kinds):
                return do(move) or Deed()
        raise LabError(f"nothing can do '{move}'")

    def _table(
        self, reason: str
    ) -> "tuple[tuple[type[Move] | tuple[type[Move], ...], Callable[[Any], Deed | None]], ...]":
        return (
            ((Drain, Undrain), lambda move: self._order(move, reason)),
            (Kill, lambda move: _ignored(_all(move.nodes, self.runtime.kill))),
            (Start, lambda move: _ignored(_all(move.nodes, self.runtime.start))),
            (Restart, lambda move: _ignored(_all(move.nodes, self._restart))),
            ((Reload, Rollback), self._daemons),
            (Exec, lambda move: Deed(None, (self._exec(move),))),
            (Inject, self._inject),
            (Heal, self._heal_named),
            (Nothing, lambda move: None),
        )

    def _heal_named(self, move: Heal) -> None:
        for fault in [each for each in self._standing if move.name in (ALL, each.name)]:
            self._heal(fault)

    def _order(self, move: Drain | Undrain, reason: str) -> Deed:
        """When the last daemon had the order, by the clock that all nodes share."""
        edges = move.nodes or move.on or tuple(edge.name for edge in self.plan.having(Role.EDGE))
        moments = _all(edges, lambda edge: self._order_one(edge, move, reason))
        return Deed(max((moment for moment in moments if moment is not None), default=None))

    def _order_one(self, edge: str, move: Drain | Undrain, reason: str) -> float | None:
        drain = isinstance(move, Drain)
        if routing.target_of(self.plan, edge) != "fairhop":
            backend = ("backend", move.backend) if move.backend else ()
            return _ordered(self._must(edge, "node-start", move.kind, *backend).stdout)
        options = ["--json", "--reason", reason] if drain else ["--json"]
        if isinstance(move, Drain) and move.force:
            options.append("--force")
        moments = []
        for what in self._objects(move):
            answer = json.loads(self._must(edge, "fairhop", move.kind, *what, *options).stdout)
            moments.append(float(answer["at"]))
        return max(moments)

    def _objects(self, move: Drain | Undrain) -> list[tuple[str, ...]]:
        """The words after `fairhop drain`: a service's VIPs are drained one by one."""
        if move.nodes:
            return [("node",)]
        if move.backend:
            return [("backend", move.backend)]
        service = next(each for each in self.plan.services if each.name == move.vip)
        return [("vip", str(vip)) for vip in service.vips]

    def _daemons(self, move: Reload | Rollback) -> Deed:
        def ask(node: str) -> Outcome:
            done = self.runtime.exec(node, ["fairhop", move.kind])
            return Outcome(f"{move.kind} {node}", done.returncode, move.exit, done.stdout + done.stderr)

        return Deed(None, tuple(_all(move.nodes, ask)))

    def _exec(self, move: Exec) -> Outcome:
        done = self.runtime.exec(move.node, move.command, move.timeout)
        return Outcome(str(move), done.returncode, move.exit, done.stdout + done.stderr, move.prints)

    def _inject(self, move: Inject) -> Deed:
        fault = fault_of(move)
        applied = self.injector().apply(fault, move.name or move.fault)
        ends = None if move.lasts is None else applied.since + move.lasts
        if fault.one_shot:
            self._over.append(FaultSpan(applied.name, applied.text, applied.since, applied.since))
        else:
            self._standing.append(_Standing(applied.name, applied.text, applied.since, ends))
        return Deed(applied.since)

    def _heal(self, fault: _Standing) -> None:
        self.injector().revert(fault.name)
        self._standing.remove(fault)
        self._over.append(FaultSpan(fault.name, fault.text, fault.since, time.monotonic()))

    def _restart(self, node: str) -> None:
        restart: Callable[[str], None] | None = getattr(self.runtime, "restart", None)
        if restart is None:
            raise LabError(f"the runtime {self.runtime.name} cannot restart a node in order: use kill and start")
        restart(node)

    def _must(self, node: str, *argv: str) -> Completed:
        done = self.runtime.exec(node, argv)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise LabError(f"{node}: '{' '.join(argv)}' ended with {done.returncode}: {said}")
        return done


def _ordered(said: str) -> float:
    """When `node-start drain` gave its order. It says so in uptime, rounded down, which counts a suspended time too."""
    last = said.strip().rpartition("\n")[2].split()
    if len(last) != 2 or last[0] != "at":
        raise LabError(f"node-start said {said.strip()!r}: expected a last line 'at SECONDS'")
    return float(last[1]) - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic())


def _ignored(_: object) -> None:
    return None


def _all(nodes: Iterable[str], do: Callable[[str], T]) -> list[T]:
    """Do it to every node at once."""
    names = [*nodes]
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        return [*pool.map(do, names)]
