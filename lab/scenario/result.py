"""A scenario's result as plain JSON, frozen by `lab/report/schema.json`: what reports are made of. No I/O.

Every `t` is in seconds since the run's traffic began.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lab.scenario.checks import Check
from lab.scenario.evidence import RunEvidence, StepEvidence, Surroundings
from lab.scenario.judge import all_checks, run_checks, step_checks
from lab.scenario.judge_repetitions import repetition_checks
from lab.scenario.model import Scenario
from lab.topology.model import Topology

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of one scenario, with the verdict on them."""

    scenario: Scenario
    around: Surroundings
    runs: tuple[RunEvidence, ...]

    @property
    def judged(self) -> bool:
        """Whether it ran on the scenario's own lab, not on one that this is compared with."""
        return all(run.judged for run in self.runs)

    @property
    def name(self) -> str:
        """What it is called: the scenario, and the lab where it is not the scenario's own."""
        return self.scenario.name if self.judged else f"{self.scenario.name} on {self.around.topology['name']}"

    @property
    def checks(self) -> tuple[Check, ...]:
        """The verdict on all runs together."""
        return repetition_checks(self.runs)

    @property
    def every_check(self) -> tuple[Check, ...]:
        """All checks: those of every run in order, then those on all runs together."""
        return (*(check for run in self.runs for check in all_checks(run)), *self.checks)

    @property
    def passed(self) -> bool:
        """Whether every check passed, and there was one."""
        checks = self.every_check
        return bool(checks) and all(check.holds for check in checks)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        around, scenario = self.around, self.scenario
        return {
            "schema_version": SCHEMA_VERSION,
            "fairhop": around.fairhop,
            "kernel": around.kernel,
            "runtime": around.runtime,
            "when": around.when,
            "versions": dict(around.versions),
            "cores": around.cores,
            "scenario": {
                "name": scenario.name,
                "title": scenario.title,
                "file": around.file,
                "covers": [*scenario.covers],
            },
            "topology": dict(around.topology),
            "runs": [_run(run) for run in self.runs],
            "checks": _checks(self.checks),
            "judged": self.judged,
            "passed": self.passed,
        }


def of_many(results: Sequence[Result]) -> dict[str, Any]:
    """The JSON of several scenarios; of one it is that one's alone."""
    if len(results) == 1:
        return results[0].to_json()
    return {"schema_version": SCHEMA_VERSION, "results": [result.to_json() for result in results]}


def topology_json(topology: Topology, targets: Sequence[str] = ()) -> dict[str, Any]:
    """A lab as results show it. `targets`: what serves the VIPs at its edges."""
    return {
        "name": topology.name,
        "target": " and ".join(targets),
        "nodes": [
            {
                "name": node.name,
                "role": node.labels.get("fairhop.role", ""),
                "site": node.labels.get("fairhop.site", ""),
            }
            for node in topology.nodes.values()
        ],
        "links": [
            {"a": f"{link.a.node}:{link.a.interface}", "b": f"{link.b.node}:{link.b.interface}"}
            for link in topology.links
        ],
    }


def _run(run: RunEvidence) -> dict[str, Any]:
    checks = all_checks(run)
    own = run_checks(run)
    return {
        "number": run.number,
        "up": run.up,
        "converged": run.converged,
        "duration": run.whole.until,
        "steps": [_step(step, run) for step in run.steps],
        "traffic": {name: facts.to_json() for name, facts in run.whole.facts.items()},
        "next_hops": [{"router": router, "prefix": prefix, "next_hops": hops}
                      for router, prefix, hops in run.next_hops],
        "left_out": dict(run.left_out),
        "rates": {group: {name: [[*row] for row in rows] for name, rows in run.rates.get(group, {}).items()}
                  for group in ("edges", "backends", "streams")},
        "route_changes": [{"t": change.time, "router": change.router, "prefix": change.prefix, "hops": [*change.hops]}
                          for change in run.whole.changes],
        "marks": [{"t": mark.time, "kind": mark.kind, "stream": mark.stream, "flow": mark.flow,
                   "backend": mark.backend, "edge": mark.edge, "length": mark.length} for mark in run.marks],
        "faults": [{"name": span.name, "text": span.text, "t": span.since, "until": span.until} for span in run.faults],
        "failover_times": [{"step": step, "seconds": seconds} for step, seconds in run.failover_times],
        "checks": _checks(own),
        "passed": all(check.holds for check in checks),
    }  # fmt: skip


def _step(step: StepEvidence, run: RunEvidence) -> dict[str, Any]:
    return {
        "name": step.step.name,
        "action": step.action,
        "t": step.began,
        "until": step.until,
        "routes": step.routes,
        "taken": step.taken,
        "routers": dict(step.routers),
        "remark": step.step.remark,
        "traffic": {name: facts.to_json() for name, facts in step.facts.items()},
        "edges": dict(step.edges),
        "carried": dict(step.carried),
        "moved": step.moved,
        "reasons": {edge: dict(reasons) for edge, reasons in (step.reasons or {}).items()},
        "outcomes": [asdict(outcome) for outcome in step.outcomes],
        "error": step.error,
        "checks": _checks(step_checks(step, run)),
    }


def _checks(checks: Sequence[Check]) -> list[dict[str, Any]]:
    return [asdict(check) for check in checks]
