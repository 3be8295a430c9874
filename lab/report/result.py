"""What a report is made of: the result of a scenario as a scenario run writes it. Values only, no I/O.

`schema()` gives the contract as a JSON schema; `lab/report/schema.json` is that, kept as a file for other tools.
Reading is more tolerant than the schema: a key of a later version is passed over.

All times `t`, `until` are seconds since the run's traffic began, durations are seconds, rates are per second.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

SCHEMA_VERSION = 1
Pair = tuple[float, float]
Triple = tuple[float, float, float]


class ResultError(ValueError):
    """The document is no result; each line says where, and what was expected."""


class Part(BaseModel):
    """Base of every part of a result."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Check(Part):
    """One expectation: what was measured, what was allowed. Not `judged`: it is compared, whichever way it is."""

    name: str
    passed: bool
    value: str
    bound: str
    judged: bool = True

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against passing."""
        return self.passed or not self.judged


class Scenario(Part):
    """Which scenario ran; `covers` are rules of the safety catalogue."""

    name: str
    title: str = ""
    file: str = ""
    covers: tuple[str, ...] = ()


class Node(Part):
    """One node; `site` is empty for a node between sites."""

    name: str
    role: str = ""
    site: str = ""


class Link(Part):
    """A link between two interfaces, each NODE:INTERFACE."""

    a: str
    b: str


class Topology(Part):
    """The lab that the scenario ran in. `target`: what serves the VIPs at its edges."""

    name: str
    target: str = ""
    nodes: tuple[Node, ...]
    links: tuple[Link, ...] = ()


class Step(Part):
    """One step: `routes` from the order to the last router's kernel, `taken` the time until the engine went on.

    `edges`: flows that each carried; `carried`: only after the routes had come. `error`: why the step was not finished.
    """

    name: str
    action: str = ""
    t: float
    until: float
    routes: float | None = None
    taken: float | None = None
    remark: str = ""
    traffic: Mapping[str, Mapping[str, Any]] = {}
    edges: Mapping[str, float] = {}
    carried: Mapping[str, float] = {}
    routers: Mapping[str, float | None] = {}
    moved: int | None = None
    outcomes: tuple[Mapping[str, Any], ...] = ()
    error: str = ""
    reasons: Mapping[str, Mapping[str, int]] = {}
    checks: tuple[Check, ...] = ()


class Rates(Part):
    """What was counted each second: [t, packets], [t, answers] and [t, answered, failed]."""

    edges: Mapping[str, tuple[Pair, ...]] = {}
    backends: Mapping[str, tuple[Pair, ...]] = {}
    streams: Mapping[str, tuple[Triple, ...]] = {}


class RouteChange(Part):
    """A router's kernel uses these next hops for the prefix from `t` on; none: it has no route."""

    t: float
    router: str
    prefix: str
    hops: tuple[str, ...] = ()


class Mark(Part):
    """Something a client saw: a gap of `length`, a reset, a timeout and so on."""

    t: float
    kind: str
    stream: str = ""
    flow: str = ""
    backend: str = ""
    edge: str = ""
    length: float | None = None


class FaultSpan(Part):
    """A fault that was active from `t` to `until` (None: to the end of the run)."""

    name: str = ""
    text: str = ""
    t: float
    until: float | None = None


class Failover(Part):
    """How long routers' kernels took to follow one event."""

    step: str
    seconds: float


class NextHops(Part):
    """What a router's kernel did with a prefix, in words."""

    router: str
    prefix: str
    next_hops: str


class Run(Part):
    """One repetition. `left_out`: expectations that could not be looked at, and why. `traffic`: over the whole run."""

    number: int
    up: float | None = None
    converged: float | None = None
    duration: float
    steps: tuple[Step, ...] = ()
    traffic: Mapping[str, Mapping[str, Any]] = {}
    next_hops: tuple[NextHops, ...] = ()
    left_out: Mapping[str, str] = {}
    rates: Rates = Rates()
    route_changes: tuple[RouteChange, ...] = ()
    marks: tuple[Mark, ...] = ()
    faults: tuple[FaultSpan, ...] = ()
    failover_times: tuple[Failover, ...] = ()
    checks: tuple[Check, ...] = ()
    passed: bool


class Result(Part):
    """One scenario with all its repetitions. Not `judged`: the lab is one that the scenario's own is compared with."""

    schema_version: Literal[1]
    fairhop: str
    kernel: str
    runtime: str
    when: str
    versions: Mapping[str, str] = {}
    cores: int | None = None
    scenario: Scenario
    topology: Topology
    runs: tuple[Run, ...]
    checks: tuple[Check, ...] = ()
    judged: bool = True
    passed: bool

    def all_checks(self) -> Iterator[tuple[str, Check]]:
        """Every check with where it belongs: over all runs, a run, or a step of a run."""
        yield from (("all runs", check) for check in self.checks)
        for run in self.runs:
            yield from ((f"run {run.number}", check) for check in run.checks)
            for step in run.steps:
                where = f"run {run.number}, {step.name}"
                yield from ((where, _without(check, f"{step.name}: ")) for check in step.checks)


class Results(Part):
    """Several scenarios of one call."""

    schema_version: Literal[1]
    results: tuple[Result, ...]


def _without(check: Check, prefix: str) -> Check:
    """A check of a step may begin with the step's name, which stands beside it anyway."""
    return check.model_copy(update={"name": check.name.removeprefix(prefix)})


def read(document: Mapping[str, Any]) -> tuple[Result, ...]:
    """The results in a JSON document: one result, or `{"schema_version": 1, "results": [...]}`. Raises ResultError."""
    version = document.get("schema_version") if isinstance(document, Mapping) else None
    if version != SCHEMA_VERSION:
        raise ResultError(
            f"schema_version is {version!r}, expected {SCHEMA_VERSION}: this is no result of this version"
        )
    try:
        if "results" in document:
            return Results.model_validate(document).results
        return (Result.model_validate(document),)
    except ValidationError as error:
        raise ResultError("\n".join(_sentence(finding) for finding in error.errors())) from None


def schema() -> dict[str, Any]:
    """The contract as a JSON schema (draft 2020-12); stricter than `read`: a key that it does not know is an error."""
    definitions = Results.model_json_schema(ref_template="#/$defs/{model}")["$defs"]
    results = Results.model_json_schema(ref_template="#/$defs/{model}")
    results.pop("$defs")
    for part in (*definitions.values(), results):
        part["additionalProperties"] = False
    definitions["Results"] = results
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The result of scenarios",
        "oneOf": [{"$ref": "#/$defs/Result"}, {"$ref": "#/$defs/Results"}],
        "$defs": definitions,
    }


def _sentence(finding: Any) -> str:
    where = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "missing":
        return f"{where} is missing"
    message = str(finding["msg"]).replace("Input should be", "expected")
    return f"{where} is {finding['input']!r:.60}: {message[0].lower()}{message[1:]}"
