"""A running lab as the engine's stage: its observers, its traffic and its edges' own words."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from lab.addressing import Role
from lab.faults.injector import Injector
from lab.job import convergence
from lab.observe import inspect_links
from lab.observe.fib import Expected
from lab.observe.flowtap.flows import Carriage
from lab.observe.flowtap.tap import FlowTap
from lab.observe.following import Following
from lab.observe.rates import RateWatch
from lab.observe.reasons import ReasonWatch
from lab.observe.routes import RouteWatch
from lab.observe.sessions import SessionWatch
from lab.observe.taps import edge_taps
from lab.runtime import LabError, Progress, Runtime
from lab.scenario import flows, routing
from lab.scenario.actions import Actions
from lab.scenario.evidence import Change, FaultSpan, Table, Transition
from lab.scenario.moves import Move
from lab.scenario.parse import Case
from lab.scenario.staging import Deed
from lab.topology.model import Topology
from lab.traffic.facts import Facts
from lab.traffic.flow import Flow
from lab.traffic.load import Load, mark_all, series_of, stop_all

HEALTHY_WITHIN = 20.0
_READY_WITHIN = 60.0
_SETTLED_WITHIN = 3.0


class LabStage:
    """Implements `lab.scenario.engine.Stage` on a deployed lab, as a context manager: at its end nothing of it runs."""

    def __init__(self, runtime: Runtime, case: Case, progress: Progress) -> None:
        self._runtime, self._case, self._plan, self._progress = runtime, case, case.plan, progress
        self._edges = routing.fairhop_edges(case.plan)
        self._loads: list[Load] = []
        self._injector: Injector | None = None
        self._stack = ExitStack()
        self._watch: RouteWatch
        self._following: Following
        self._tap: FlowTap | None = None
        self._rates: RateWatch | None = None
        self._reasons: ReasonWatch | None = None
        self._sessions: SessionWatch | None = None
        self._told_until = time.monotonic()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            netns = {name: self._runtime.netns(name) for name in convergence.routers(self._plan)}
            self._watch = opened.enter_context(RouteWatch(netns, convergence.vip_prefixes(self._plan)))
            if taps := edge_taps(self._plan):
                self._tap = opened.enter_context(FlowTap(netns, taps, self._plan.vips))
                self._rates = opened.enter_context(RateWatch(netns, taps))
            self._following = Following(self._runtime, netns, (self._watch, self._tap, self._rates))
            if self._edges:
                self._reasons = ReasonWatch(self._runtime, self._edges)
            self._actions = Actions(self._runtime, self._plan, self._faults)
            self._stack = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def now(self) -> float:
        """CLOCK_MONOTONIC, which all nodes share."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Sleep; faults whose time is over are healed meanwhile."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            self._heal_due(now)
            due = self._actions.next_end()
            time.sleep(max(0.0, min(until, due if due is not None else until) - time.monotonic()))
        self._heal_due(time.monotonic())

    def prepare(self) -> None:
        """Refuse a lab that would lie; wait for every backend in every table: one that joined later moves flows."""
        refuse_to_lie(self._runtime, self._case.topology)
        for edge in self._edges:
            deadline = time.monotonic() + HEALTHY_WITHIN
            while not all(backend["slots"] for pool in self._pools(edge, "--wait") for backend in pool["backends"]):
                if time.monotonic() > deadline:
                    raise LabError(f"{edge}: a backend had no slots after {HEALTHY_WITHIN:g} s: {self._pools(edge)}")
                time.sleep(0.2)

    def start_traffic(self) -> None:
        """Start what the scenario asks for in each client."""
        self._began = time.monotonic()
        for client, plan in flows.plans(self._case.scenario, self._plan).items():
            self._loads.append(self._stack.enter_context(Load.start(self._runtime, client, plan, "python3")))
        held = sum(flows.asked(self._case.scenario, self._plan).values())
        self._progress(
            f"traffic: {', '.join(self._case.scenario.traffic)} from {len(self._loads)} clients, {held} flows"
        )
        for load in self._loads:
            load.wait_ready(_READY_WITHIN)

    def act(self, moves: Sequence[Move], reason: str) -> Deed:
        """Do it to the lab."""
        try:
            return self._actions.act(moves, reason)
        finally:
            self._following.follow()

    def await_routes(self, expected: Expected, within: float) -> None:
        """Wait for the routers' kernels."""
        deadline = time.monotonic() + within
        while True:
            due = self._actions.next_end()
            patience = deadline if due is None else min(deadline, due)
            try:
                self._watch.wait_for(expected, max(0.0, patience - time.monotonic()))
                return
            except LabError:
                if time.monotonic() >= deadline:
                    raise
                self._heal_due(time.monotonic())

    def table(self) -> Table:
        """What the routers' kernels do now, with nodes for gateways."""
        return routing.by_name(self._plan, self._watch.snapshot())

    def next_hops(self) -> list[tuple[str, str, str]]:
        """The same as rows for people."""
        return convergence.table(self._plan, self._watch.snapshot())

    def changes(self, since: float) -> list[Change]:
        """Route changes since a moment."""
        names = convergence.gateway_names(self._plan)
        return [
            Change(event.time, event.router, str(event.prefix), routing.hops_of([h.gateway for h in event.hops], names))
            for event in self._watch.events(since=since)
        ]

    def mark(self, label: str) -> Mapping[str, Facts]:
        """End an interval at every client."""
        return flows.by_stream(mark_all(self._loads, label))

    def carried(self) -> Carriage | None:
        """Flows by edge since the call before; None in a lab without edges."""
        return self._tap.mark() if self._tap else None

    def long_flows(self) -> set[Flow]:
        """Every flow that is open at a client."""
        return {flow for load in self._loads for flow in load.flows()}

    def reasons(self) -> Mapping[str, Mapping[str, int]] | None:
        """Packets dropped by reason at each edge whose data path is there; a restarted edge counts from nothing."""
        return self._reasons.mark().drops if self._reasons else None

    def session_drops(self) -> int:
        """Sessions of all routers that went down; one between two routers counts at both. The first call begins."""
        if self._sessions is None:
            self._sessions = SessionWatch(self._runtime, convergence.routers(self._plan))
            return 0
        return self._sessions.mark().total_drops

    def events(self) -> Mapping[str, Sequence[Transition]]:
        """What each edge that runs has told since the call before."""
        since, self._told_until = self._told_until, time.monotonic()
        found = {}
        for edge in self._edges:
            try:
                done = self._runtime.exec(edge, ["fairhop", "events", "--since", "0", "--json"])
            except LabError:
                continue
            if done.returncode == 0:
                rows = [json.loads(line) for line in done.stdout.splitlines()]
                found[edge] = [_transition(row) for row in rows if since <= row.get("monotonic", 0) < self._told_until]
        return found

    def digests(self) -> Mapping[str, Mapping[str, str]]:
        """Digests of each edge's tables; an edge that does not answer is left out."""
        found = {}
        for edge in self._edges:
            try:
                found[edge] = {pool["name"]: pool["digest"] for pool in self._pools(edge)}
            except LabError:
                continue
        return found

    def healed(self, since: float) -> float | None:
        """When the first fault was healed by its own time."""
        return self._actions.healed(since)

    def faults(self) -> list[FaultSpan]:
        """Every fault of this run."""
        return self._actions.spans()

    def rates(self) -> Mapping[str, Mapping[str, Sequence[Sequence[float]]]]:
        """Packets that routers sent to each edge, and answers to the clients, by second."""
        edges: dict[str, list[list[float]]] = {}
        for second, edge, packets, _ in self._rates.series() if self._rates else ():
            edges.setdefault(edge, []).append([second, float(packets)])
        return {"edges": edges, **flows.series(series_of(self._loads, int(self._began)))}

    def end_traffic(self) -> Mapping[str, Facts]:
        """Stop the clients; what they recorded from start to end."""
        return flows.by_stream({name: report.total for name, report in stop_all(self._loads).items()})

    def _heal_due(self, now: float) -> None:
        self._actions.heal_due(now)
        self._following.follow()

    def _faults(self) -> Injector:
        """What injects faults, from the first one on; the end of the stage takes back what stands."""
        if self._injector is None:
            self._injector = self._stack.enter_context(Injector(self._runtime, self._case.topology))
        return self._injector

    def _pools(self, edge: str, *options: str) -> list[dict[str, Any]]:
        return list(self._status(edge, *options)["pools"])

    def _status(self, edge: str, *options: str) -> dict[str, Any]:
        done = self._runtime.exec(edge, ["fairhop", "status", *options, "--json"])
        if not done.stdout.strip():
            raise LabError(f"{edge}: 'fairhop status' ended with {done.returncode}: {done.stderr.strip()}")
        return dict(json.loads(done.stdout))


def refuse_to_lie(runtime: Runtime, topology: Topology) -> None:
    """Raise `LabError` where offloads are on or an XDP program is missing: a measurement would be wrong."""
    findings = inspect_links.check(runtime, topology)
    if findings:
        raise LabError("a measurement on this lab would lie:\n" + "\n".join(map(str, findings)))


def settled(runtime: Runtime, case: Case) -> str:
    """Why a lab is not as a deployment leaves it, "" when it is: what the next scenario on it needs."""
    down = [node.name for node in runtime.nodes() if node.state != "running"]
    if down:
        return f"{' '.join(down)} do not run"
    if standing := [applied.name for applied in Injector(runtime, case.topology).active()]:
        return f"faults stand: {', '.join(standing)}"
    netns = {name: runtime.netns(name) for name in convergence.routers(case.plan)}
    edges = {edge.name for edge in case.plan.having(Role.EDGE)}
    try:
        with RouteWatch(netns, convergence.vip_prefixes(case.plan)) as watch:
            watch.wait_for(convergence.expected(case.plan, edges), _SETTLED_WITHIN)
        _serving(runtime, routing.fairhop_edges(case.plan))
    except LabError as error:
        return str(error)
    return ""


def _serving(runtime: Runtime, edges: Iterable[str]) -> None:
    for edge in edges:
        done = runtime.exec(edge, ["fairhop", "status", "--wait", "--timeout", f"{_SETTLED_WITHIN:g}", "--json"])
        if done.returncode:
            raise LabError(f"{edge} does not serve: {done.stderr.strip()}")
        status = json.loads(done.stdout)
        if left := [name for name, what in status["intent"].items() if what]:
            raise LabError(f"{edge} has something of {', '.join(left)} left: a drain that was not taken back")
        if not all(backend["slots"] for pool in status["pools"] for backend in pool["backends"]):
            raise LabError(f"{edge} has a backend without slots")


def _transition(row: Mapping[str, Any]) -> Transition:
    return Transition(*(str(row.get(name, "")) for name in ("subject", "old", "new", "reason")))
