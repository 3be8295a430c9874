"""The main job as data: its steps, what each must show, and the verdict on what was measured. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from lab.addressing import LabPlan, Role
from lab.traffic.facts import Facts


class Action(Enum):
    """What is done to the nodes of a step, all at once."""

    DRAIN = "drain"
    UNDRAIN = "undrain"
    KILL = "kill"
    START = "start"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a step must not exceed; None is reported and not judged. The rest are counts.

    `routes`: seconds to the last router's kernel, from the moment the node had the command, or was dead.
    """

    broken: int | None
    failed_requests: int | None
    routes: float | None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that is done, and what it must show. `remark` says why something is not judged."""

    name: str
    action: Action
    nodes: tuple[str, ...]
    bounds: Bounds
    remark: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What was measured in one step.

    `routes`: seconds from the command to the last router's kernel route change, None when no route changed.
    `taken`: seconds from the command until the last node's daemon had it, None where no daemon is asked.
    `moved`: flows that another edge carried afterwards. `edges`: flows that each edge carried.
    """

    step: Step
    routes: float | None
    taken: float | None
    routers: Mapping[str, float]
    facts: Facts
    moved: int
    edges: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict."""

    name: str
    passed: bool
    value: str
    bound: str

    def __str__(self) -> str:
        return f"[{'PASS' if self.passed else 'FAIL'}] {self.name}: {self.value} (expected {self.bound})"


_SHIFT = (
    "clients move to another site, whose backends do not know their connections: each is reset. Nothing carries "
    "established TCP between sites yet"
)


def main_job(plan: LabPlan) -> tuple[Step, ...]:
    """Drain and return of an edge, its hard death and return, drain and return of its whole site."""
    first = plan.having(Role.EDGE)[0]
    site = tuple(edge.name for edge in plan.having(Role.EDGE, first.site))
    edge = (first.name,)
    nothing_breaks = Bounds(broken=0, failed_requests=0, routes=0.2)
    return (
        Step("edge drain", Action.DRAIN, edge, nothing_breaks),
        Step("edge return", Action.UNDRAIN, edge, Bounds(0, 0, None)),
        Step(
            "edge kill",
            Action.KILL,
            edge,
            Bounds(0, None, 0.3),
            "requests that were under way through the dead edge retransmit; one that outlasts its time limit counts",
        ),
        Step("edge restart", Action.START, edge, Bounds(0, 0, None), "the time includes the start of the node"),
        Step("site drain", Action.DRAIN, site, Bounds(None, None, 0.5), _SHIFT),
        Step("site return", Action.UNDRAIN, site, Bounds(None, None, None), _SHIFT),
    )


def judge(results: Sequence[StepResult], population: int) -> tuple[Check, ...]:
    """The verdict's lines. `population`: the established connections that the traffic was asked to hold."""
    checks = []
    for result in results:
        checks += _judge_step(result, population)
    return tuple(checks)


def _judge_step(result: StepResult, population: int) -> list[Check]:
    step, facts, bounds = result.step, result.facts, result.step.bounds
    checks = []
    if bounds.broken is not None:
        held = facts.population
        checks.append(
            Check(
                f"{step.name}: connections broken",
                facts.broken_connections <= bounds.broken and held >= population,
                f"{facts.broken_connections} of {held}",
                f"{bounds.broken} of at least {population}",
            )
        )
    if bounds.failed_requests is not None:
        value = f"{facts.failed_requests} of {facts.requests}"
        passed = facts.failed_requests <= bounds.failed_requests and facts.requests > 0
        checks.append(Check(f"{step.name}: requests failed", passed, value, f"{bounds.failed_requests}"))
    if bounds.routes is not None:
        took = None if result.routes is None else result.routes - (result.taken or 0.0)
        shown = "no route changed" if took is None else f"{took * 1000:.0f} ms"
        passed = took is not None and took <= bounds.routes
        name = f"{step.name}: from the node to the last router's kernel"
        checks.append(Check(name, passed, shown, f"at most {bounds.routes * 1000:.0f} ms"))
    return checks


def judge_digests(digests: Mapping[str, Mapping[str, str]], plan: LabPlan) -> tuple[Check, ...]:
    """Whether all edges of a site publish the same table digest for each pool; `digests`: edge -> pool -> digest."""
    checks = []
    for site in sorted({edge.site for edge in plan.having(Role.EDGE)}):
        edges = [edge.name for edge in plan.having(Role.EDGE, site)]
        distinct = {tuple(sorted(digests[edge].items())) for edge in edges}
        shown = "; ".join(f"{pool} {digest[:12]}" for pool, digest in sorted(digests[edges[0]].items()))
        value = shown if len(distinct) == 1 else f"{len(distinct)} different sets"
        checks.append(Check(f"site {site}: table digests of {', '.join(edges)}", len(distinct) == 1, value, "equal"))
    return tuple(checks)


def step_json(result: StepResult) -> dict[str, Any]:
    """A step's facts as plain JSON. Times in seconds."""
    plain = asdict(result.step) | {"action": result.step.action.value}
    return {
        "step": plain,
        "routes": result.routes,
        "taken": result.taken,
        "routers": dict(result.routers),
        "moved": result.moved,
        "edges": dict(result.edges),
        "traffic": result.facts.to_json(),
    }
