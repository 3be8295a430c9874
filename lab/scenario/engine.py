"""Runs the steps of a scenario at their times and collects what is judged, on whatever gives it a `Stage`.

The engine knows the order of things; the stage (`lab.scenario.stage` on a lab, a fake in tests) does them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lab.addressing import Role
from lab.observe.flowtap.edges import Edges
from lab.observe.flowtap.flows import Carriage
from lab.runtime import LabError, Progress
from lab.scenario import routing
from lab.scenario.evidence import Change, Mark, RunEvidence, StepEvidence, Table, Transition
from lab.scenario.flows import asked
from lab.scenario.judge import FAIRHOP_ONLY
from lab.scenario.model import Expect, Scenario, Step
from lab.scenario.parse import Case
from lab.scenario.routing import Standing
from lab.scenario.staging import Stage
from lab.traffic.facts import Facts

CONVERGED_WITHIN = 30.0


@dataclass(frozen=True, slots=True)
class Observed:
    """What nodes tell of an interval when asked; None where it is not."""

    reasons: Mapping[str, Mapping[str, int]] | None = None
    session_drops: int | None = None
    events: Mapping[str, Sequence[Transition]] | None = None

    @classmethod
    def of(cls, step: StepEvidence) -> "Observed":
        """What a step observed."""
        return cls(step.reasons, step.session_drops, step.events)


class Engine:
    """One run of a scenario. Raises `LabError` before the first step; after it, what went wrong is in the evidence."""

    def __init__(self, case: Case, stage: Stage, progress: Progress) -> None:
        self._case, self._stage, self._progress = case, stage, progress
        self._plan = case.plan
        self._standing = Standing.of(case.plan)
        self._watched = _watched(case.scenario) - {*left_out(case)}
        self._blind = bool(left_out(case))
        self._flow_edges = Edges()
        self._between: list[Observed] = []

    def run(self, number: int = 1, up: float | None = None, since: float | None = None) -> RunEvidence:
        """Run it once. `up`: seconds that the deployment took, `since`: when that began."""
        scenario, stage = self._case.scenario, self._stage
        stage.prepare()
        stage.await_routes(self._standing.expected(self._plan), CONVERGED_WITHIN)
        converged = None if since is None else stage.now() - since
        next_hops = stage.next_hops()
        self._forget()
        if scenario.traffic:
            stage.start_traffic()
            stage.mark("before the first step")
        start, before = stage.now(), stage.table()
        run = RunEvidence(
            scenario, number, StepEvidence(_as_step(scenario), 0.0, 0.0), (),
            asked=asked(scenario, self._plan), sites=_sites(self._case), left_out=left_out(self._case),
            up=up, converged=converged, next_hops=next_hops, judged=self._case.judged,
        )  # fmt: skip
        steps, error = self._steps(start)
        return self._whole(replace(run, steps=steps, error=error), start, before)

    def _steps(self, start: float) -> tuple[tuple[StepEvidence, ...], str]:
        done: list[StepEvidence] = []
        for step in self._case.scenario.steps:
            try:
                found = self._step(step, start)
            except LabError as error:
                return tuple(done), f"{step.name}: {error}"
            done.append(found)
            self._progress(summary(found))
            if found.error:
                break
        return tuple(done), ""

    def _step(self, step: Step, start: float) -> StepEvidence:
        stage = self._stage
        if step.after:
            stage.wait(step.after)
            self._mark(step.name)
        self._forget()
        before, began = stage.table(), stage.now()
        deed = stage.act(step.do, step.name)
        self._standing = self._standing.after(self._plan, step.announcing)
        error = ""
        try:
            if step.announcing != "any":
                stage.await_routes(self._standing.expected(self._plan), step.within)
        except LabError as problem:
            error = str(problem)
        first = self._carried()
        stage.wait(step.observe)
        changes = stage.changes(began)
        facts = self._mark(step.name)
        later = self._carried()
        healed = stage.healed(began)
        own = [change for change in changes if healed is None or change.time < healed]
        routers = {change.router: change.time - began for change in own}
        carried = first.then(later) if first and later else None
        long_flows = stage.long_flows() if facts else set()
        seen = self._observed()
        of_long = carried.only(long_flows) if carried else None
        return StepEvidence(
            step, began - start, stage.now() - start,
            taken=None if deed.taken is None else deed.taken - began,
            routes=max(routers.values(), default=None), routers=routers, facts=facts,
            edges=of_long.flows_per_edge if of_long else {},
            carried=later.flows_per_edge if later else {},
            moved=len(of_long.moved) if of_long and of_long.edges else None,
            before=before, table=stage.table(), changes=_relative(changes, start),
            outcomes=deed.outcomes, error=error, reasons=seen.reasons, session_drops=seen.session_drops,
            events=seen.events, digests=stage.digests() if step.expect.digests and not self._blind else None,
        )  # fmt: skip

    def _observed(self) -> "Observed":
        """What is asked of nodes, where an expectation is about it."""
        stage, watched = self._stage, self._watched
        return Observed(
            None if self._blind else stage.reasons(),
            stage.session_drops() if "session_drops" in watched else None,
            stage.events() if "events" in watched else None,
        )

    def _forget(self) -> None:
        """Begin an interval: what observers saw since the last one belongs to no step, and to the run as a whole."""
        self._carried()
        self._between.append(self._observed())

    def _carried(self) -> Carriage | None:
        """Which edges carried which flows since the call before; remembered for the time line."""
        carried = self._stage.carried()
        if carried:
            self._flow_edges.learn(carried)
        return carried

    def _mark(self, label: str) -> Mapping[str, Facts]:
        return self._stage.mark(label) if self._case.scenario.traffic else {}

    def _whole(self, run: RunEvidence, start: float, before: Table) -> RunEvidence:
        """The run as one step, with what was seen from its start to its end."""
        stage, scenario = self._stage, run.scenario
        digests = stage.digests() if scenario.expect.digests and not self._blind else None
        rates = stage.rates()
        facts = stage.end_traffic() if scenario.traffic else {}
        end = stage.now()
        changes = _relative(stage.changes(start), start)
        seen = _together([*self._between[1:], *(Observed.of(each) for each in run.steps), self._observed()])
        whole = StepEvidence(
            _as_step(scenario), 0.0, end - start, facts=facts, before=before, table=stage.table(), changes=changes,
            routes=max((change.time for change in changes), default=None),
            reasons=seen.reasons, session_drops=seen.session_drops, events=seen.events, digests=digests,
        )  # fmt: skip
        shifted = {
            group: {name: [[row[0] - start, *row[1:]] for row in rows] for name, rows in series.items()}
            for group, series in rates.items()
        }
        spans = [
            replace(each, since=each.since - start, until=None if each.until is None else each.until - start)
            for each in stage.faults()
        ]
        return replace(run, whole=whole, rates=shifted, faults=spans, marks=marks(facts, start, self._flow_edges))


def summary(found: StepEvidence) -> str:
    """One line of progress."""
    routes = "no route changed" if found.routes is None else f"routes after {found.routes * 1000:.0f} ms"
    words = [routes]
    for name, facts in found.facts.items():
        if facts.population:
            words.append(f"{name}: {facts.broken_connections} of {facts.population} broken")
        if facts.requests:
            words.append(f"{name}: {facts.failed_requests} of {facts.requests} failed")
    if found.error:
        words.append(found.error)
    return f"{found.step.name} ({found.action}): {', '.join(words)}"


def marks(facts: Mapping[str, Facts], start: float, edges: Edges) -> list[Mark]:
    """Failures and gaps on the time line."""
    found = []
    for stream, each in facts.items():
        for failure in each.failures:
            flow = str(failure.flow) if failure.flow else ""
            edge = " ".join(edges.of(failure.flow))
            found.append(Mark(failure.time - start, str(failure.reason), stream, flow, failure.backend, edge))
        for gap in each.gaps:
            flow = str(gap.flow) if gap.flow else ""
            edge = " ".join(edges.of(gap.flow))
            found.append(Mark(gap.time - start, "gap", stream, flow, gap.backend, edge, gap.length))
    return sorted(found, key=lambda mark: mark.time)


def left_out(case: Case) -> dict[str, str]:
    """Expectations that this lab cannot show: what only fairhop's edges tell, where no edge is one."""
    targets = routing.targets(case.plan)
    if not targets or "fairhop" in targets:
        return {}
    return dict.fromkeys(FAIRHOP_ONLY, f"the edges of {case.topology.name} are {' and '.join(targets)}, not fairhop")


def _as_step(scenario: Scenario) -> Step:
    return Step(name=scenario.name, do=(), expect=scenario.expect)


def _sites(case: Case) -> dict[str, list[str]]:
    sites: dict[str, list[str]] = {}
    for edge in case.plan.having(Role.EDGE):
        sites.setdefault(edge.site, []).append(edge.name)
    return dict(sorted(sites.items()))


def _watched(scenario: Scenario) -> set[str]:
    """The observers that some expectation is about: those that cost commands in nodes."""
    expectations: list[Expect] = [scenario.expect, *(step.expect for step in scenario.steps)]
    named = {name for name in ("events", "digests") for each in expectations if getattr(each, name)}
    if scenario.over_repetitions.session_drops or any(each.session_drops for each in expectations):
        named.add("session_drops")
    return named


def _relative(changes: Sequence[Change], start: float) -> list[Change]:
    return [replace(change, time=change.time - start) for change in changes]


def _together(parts: Sequence[Observed]) -> Observed:
    """Several intervals as one; what any of them could not see, the whole did not."""
    reasons: dict[str, dict[str, int]] = {}
    events: dict[str, list[Transition]] = {}
    for part in parts:
        for edge, told in (part.events or {}).items():
            events.setdefault(edge, []).extend(told)
        for edge, counts in (part.reasons or {}).items():
            of_edge = reasons.setdefault(edge, {})
            for reason, count in counts.items():
                of_edge[reason] = of_edge.get(reason, 0) + count
    drops = [part.session_drops for part in parts]
    known = [drop for drop in drops if drop is not None]
    return Observed(
        reasons if all(part.reasons is not None for part in parts) else None,
        sum(known) if len(known) == len(drops) else None,
        events if all(part.events is not None for part in parts) else None,
    )
