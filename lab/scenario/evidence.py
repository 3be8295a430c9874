"""What was measured in a run of a scenario, as values that the judge reads. Times in seconds. No I/O.

None is "was not measured": what is judged and was not measured has failed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.scenario.model import Scenario, Step
from lab.traffic.facts import Facts

Hops = tuple[str, ...]  # names of the nodes that a router sends to
Table = Mapping[str, Mapping[str, Hops]]  # router -> VIP prefix -> nodes, of those that have any


@dataclass(frozen=True, slots=True)
class Change:
    """A router's kernel sends a VIP prefix elsewhere from `time` on; no hops is nowhere."""

    time: float
    router: str
    prefix: str
    hops: Hops


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command of a step ended: its exit code and output, and what was expected of both."""

    text: str
    exit: int
    wanted: int
    output: str = ""
    prints: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """One transition that an edge told of: what `fairhop events` shows."""

    subject: str
    old: str
    new: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.old} -> {self.new}, {self.reason}"


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that went wrong with one flow, or a gap: for the time line of a report."""

    time: float
    kind: str
    stream: str
    flow: str
    backend: str
    edge: str = ""
    length: float = 0.0


@dataclass(frozen=True, slots=True)
class FaultSpan:
    """A fault and how long it lasted; `until` is None when it stood at the end."""

    name: str
    text: str
    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class StepEvidence:
    """One step. `began` and `until` are times of the run, which starts with its traffic.

    `taken`: from `began` until the action had taken effect (the daemons had the order, the processes were dead, the
    fault was applied), None where nothing tells. `routes`: from `began` to the last router's kernel change, None when
    none changed; `routers` the same by router. `edges`: flows that each edge carried; `carried`: only after the routes
    had come. `moved`: flows of long connections that another edge carried than before.
    `before` and `table`: the routers' kernels at both ends. `error`: why the step did not come to its end.
    """

    step: Step
    began: float
    until: float
    taken: float | None = None
    routes: float | None = None
    routers: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Facts] = field(default_factory=dict)
    edges: Mapping[str, int] = field(default_factory=dict)
    carried: Mapping[str, int] = field(default_factory=dict)
    moved: int | None = None
    reasons: Mapping[str, Mapping[str, int]] | None = None
    before: Table | None = None
    table: Table | None = None
    changes: Sequence[Change] = ()
    session_drops: int | None = None
    events: Mapping[str, Sequence[Transition]] | None = None
    digests: Mapping[str, Mapping[str, str]] | None = None
    outcomes: Sequence[Outcome] = ()
    error: str = ""

    @property
    def action(self) -> str:
        """What was done, in words."""
        return "; ".join(str(move) for move in self.step.do)

    @property
    def failover_time(self) -> float | None:
        """From the action's effect to the last router's kernel; None when no route changed."""
        return None if self.routes is None else max(0.0, self.routes - (self.taken or 0.0))


@dataclass(frozen=True, slots=True)
class RunEvidence:
    """One run of a scenario. `whole` is the run as one step, from the start of traffic to its end.

    `asked`: flows that each stream was to hold. `sites`: the edges of each site. `left_out`: expectations that cannot
    be looked at on this lab, and why. `rates`: the series of the result's JSON. `next_hops`: (router, prefix, hops)
    rows before the first step. Not `judged`: the lab is one that the scenario's own is compared with.
    """

    scenario: Scenario
    number: int
    whole: StepEvidence
    steps: Sequence[StepEvidence]
    asked: Mapping[str, int] = field(default_factory=dict)
    sites: Mapping[str, Sequence[str]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    up: float | None = None
    converged: float | None = None
    next_hops: Sequence[tuple[str, str, str]] = ()
    rates: Mapping[str, Mapping[str, Sequence[Sequence[float]]]] = field(default_factory=dict)
    marks: Sequence[Mark] = ()
    faults: Sequence[FaultSpan] = ()
    error: str = ""
    judged: bool = True

    @property
    def failover_times(self) -> list[tuple[str, float]]:
        """(step, failover_time) of the steps that are bounded in it or have one after an action of theirs."""
        times = [(each.step.name, each.failover_time) for each in self.steps if each.routes is not None]
        return [(name, time) for name, time in times if time is not None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where results come from: what the JSON tells of the machine and of the lab."""

    fairhop: str
    kernel: str
    runtime: str
    when: str
    cores: int
    versions: Mapping[str, str]
    file: str
    topology: Mapping[str, Any]
