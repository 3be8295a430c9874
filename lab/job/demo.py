"""The main job: deploy, converge, show the routers' kernels, send steady traffic, drain, kill, and judge.

Works through `lab.runtime.Runtime` alone, so the same job runs on namespaces and on containerlab.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from lab.addressing import LabPlan, NodePlan, Role, ServicePlan
from lab.job import convergence, scenario
from lab.job.scenario import Action, Check, Step, StepResult
from lab.observe import inspect_links
from lab.observe.flowtap.tap import FlowTap
from lab.observe.routes import RouteWatch
from lab.observe.taps import edge_taps
from lab.runtime import Completed, LabError, Progress, Runtime
from lab.topology.model import Topology
from lab.traffic.facts import Facts, total
from lab.traffic.load import Load, mark_all, stop_all, total_report
from lab.traffic.plan import Connections, Plan, Requests, Stream

SCHEMA_VERSION = 1
_CONVERGED_WITHIN = 30.0
_ROUTES_WITHIN = 30.0
_HEALTHY_WITHIN = 20.0
_IPV6_SHARE = 0.2  # of connections and of requests
_OBSERVED = 2.5  # seconds of traffic that belong to a step after its routes came


@dataclass(frozen=True, slots=True)
class Amount:
    """How much traffic each client sends: connections held, requests a second."""

    connections: int = 1000
    rate: float = 100.0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the main job found. Times in seconds."""

    runtime: str
    up: float
    converged: float
    next_hops: Sequence[tuple[str, str, str]]
    digests: Mapping[str, Mapping[str, str]]
    population: int
    steps: tuple[StepResult, ...]
    total: Facts
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The same facts as plain JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "fairhop": version("fairhop"),
            "kernel": platform.release(),
            "runtime": self.runtime,
            "up": self.up,
            "converged": self.converged,
            "next_hops": [{"router": r, "prefix": p, "next_hops": hops} for r, p, hops in self.next_hops],
            "digests": {edge: dict(pools) for edge, pools in self.digests.items()},
            "population": self.population,
            "steps": [scenario.step_json(result) for result in self.steps],
            "total": self.total.to_json(),
            "checks": [{"name": c.name, "passed": c.passed, "value": c.value, "bound": c.bound} for c in self.checks],
            "passed": self.passed,
        }


class Demo:
    """One run of the main job on a lab that `runtime` deploys. Raises LabError where it cannot go on."""

    def __init__(self, runtime: Runtime, topology: Topology, plan: LabPlan, progress: Progress) -> None:
        self._runtime, self._topology, self._plan, self._progress = runtime, topology, plan, progress
        self._announcing = {edge.name for edge in plan.having(Role.EDGE)}
        self._watch: RouteWatch
        self._tap: FlowTap
        self._loads: list[Load] = []

    def run(self, amount: Amount) -> Report:
        """The whole job; the lab is left as it was deployed, every edge serving."""
        if not self._announcing:
            raise LabError("the main job needs edges: nodes with the label fairhop.role: edge")
        began = time.monotonic()
        self._progress(f"bringing {self._topology.name} up on {self._runtime.name}")
        self._runtime.deploy(self._progress)
        up = time.monotonic() - began
        with ExitStack() as stack:
            netns = {name: self._runtime.netns(name) for name in convergence.routers(self._plan)}
            self._watch = stack.enter_context(RouteWatch(netns, convergence.vip_prefixes(self._plan)))
            self._await_routes(_CONVERGED_WITHIN)
            converged = time.monotonic() - began
            self._progress(f"up after {up:.1f} s, every router converged after {converged:.1f} s")
            self.refuse_to_lie()
            next_hops = convergence.table(self._plan, self._watch.snapshot())
            digests = self._digests()
            self._tap = stack.enter_context(FlowTap(netns, edge_taps(self._plan), self._plan.vips))
            population = self._start_traffic(stack, amount)
            steps = tuple(self._step(step) for step in scenario.main_job(self._plan))
            report = total_report(stop_all(self._loads))
        checks = (*scenario.judge_digests(digests, self._plan), *scenario.judge(steps, population))
        return Report(self._runtime.name, up, converged, next_hops, digests, population, steps, report.total, checks)

    def _await_routes(self, timeout: float) -> None:
        self._watch.wait_for(convergence.expected(self._plan, self._announcing), timeout)

    def refuse_to_lie(self) -> None:
        """Raise `LabError` where offloads are on or an XDP program is missing: a measurement would be wrong."""
        findings = inspect_links.check(self._runtime, self._topology)
        if findings:
            raise LabError("a measurement on this lab would lie:\n" + "\n".join(map(str, findings)))

    def _digests(self) -> dict[str, dict[str, str]]:
        """Edge -> pool -> digest of its table, once every backend is in it: one that joined later would move flows."""
        digests = {}
        for edge in self._plan.having(Role.EDGE):
            deadline = time.monotonic() + _HEALTHY_WITHIN
            while True:
                pools = json.loads(self._fairhop(edge.name, "status", "--wait", "--json").stdout)["pools"]
                if all(backend["slots"] for pool in pools for backend in pool["backends"]):
                    break
                if time.monotonic() > deadline:
                    raise LabError(f"{edge.name}: a backend had no slots after {_HEALTHY_WITHIN:g} s: {pools}")
                time.sleep(0.2)
            digests[edge.name] = {pool["name"]: pool["digest"] for pool in pools}
        return digests

    def _start_traffic(self, stack: ExitStack, amount: Amount) -> int:
        clients = self._plan.having(Role.CLIENT)
        services = {service.name: service for service in self._plan.services}
        if not {"web", "echo"} <= set(services) or not clients:
            raise LabError("the main job needs clients and the services 'web' (HTTP) and 'echo' (TCP)")
        for client in clients:
            plan = traffic_of(client, services["web"], services["echo"], amount)
            self._loads.append(stack.enter_context(Load.start(self._runtime, client.name, plan, "python3")))
        population = amount.connections * len(clients)
        self._progress(f"opening {population} connections and {amount.rate * len(clients):g} requests a second")
        for load in self._loads:
            load.wait_ready(60.0)
        mark_all(self._loads, "before the first step")
        return population

    def _step(self, step: Step) -> StepResult:
        self._tap.mark()
        self._expect(step)
        began = time.monotonic()
        taken = self._act(step)
        self._await_routes(_ROUTES_WITHIN)
        if step.action is Action.START:
            self._progress(f"{step.name}: back after {time.monotonic() - began:.1f} s")
        time.sleep(_OBSERVED)
        changes = {event.router: event.time - began for event in self._watch.events(since=began)}
        facts = total(mark_all(self._loads, step.name))
        carried = self._tap.mark().only({flow for load in self._loads for flow in load.flows()})
        last = max(changes.values(), default=None)
        since = None if taken is None else taken - began
        result = StepResult(step, last, since, changes, facts, len(carried.moved), carried.flows_per_edge)
        self._progress(_summary(result))
        return result

    def _expect(self, step: Step) -> None:
        leaving = step.action in (Action.DRAIN, Action.KILL)
        self._announcing = self._announcing - set(step.nodes) if leaving else self._announcing | set(step.nodes)

    def _act(self, step: Step) -> float | None:
        """Do it to every node at once; when the last daemon had the command, None where none is asked."""
        actions: dict[Action, Callable[[str], float | None]] = {
            Action.DRAIN: lambda node: self._taken(node, "drain", "node", "--reason", step.name),
            Action.UNDRAIN: lambda node: self._taken(node, "undrain", "node"),
            Action.KILL: self._runtime.kill,
            Action.START: self._runtime.start,
        }
        with ThreadPoolExecutor(len(step.nodes)) as pool:
            taken = list(pool.map(actions[step.action], step.nodes))
        return max((moment for moment in taken if moment is not None), default=None)

    def _taken(self, node: str, *arguments: str) -> float:
        """The moment, by the clock that all nodes share, at which a node's daemon took a command."""
        return float(json.loads(self._fairhop(node, *arguments, "--json").stdout)["at"])

    def _fairhop(self, node: str, *arguments: str) -> Completed:
        done = self._runtime.exec(node, ["fairhop", *arguments])
        if done.returncode:
            words = " ".join(arguments)
            raise LabError(f"{node}: 'fairhop {words}' ended with {done.returncode}: {done.stderr.strip()}")
        return done


def traffic_of(client: NodePlan, web: ServicePlan, echo: ServicePlan, amount: Amount) -> Plan:
    """What a client sends: over IPv6 a share of it, where the services have IPv6 VIPs."""
    port = echo.ports[0][1]
    six = _IPV6_SHARE if web.vip6 and echo.vip6 else 0.0
    count6, rate6 = round(amount.connections * six), amount.rate * six
    source, source6 = str(client.client_address), str(client.client_address6)
    streams: dict[str, Stream] = {
        "web": Requests(source, f"http://{web.vip}/", amount.rate - rate6),
        "held": Connections(source, f"{echo.vip}:{port}", amount.connections - count6),
    }
    if count6:
        streams["web6"] = Requests(source6, f"http://[{web.vip6}]/", rate6)
        streams["held6"] = Connections(source6, f"[{echo.vip6}]:{port}", count6)
    return Plan(streams)


def _summary(result: StepResult) -> str:
    facts = result.facts
    routes = "no route changed" if result.routes is None else f"routes after {result.routes * 1000:.0f} ms"
    return (
        f"{result.step.name} ({', '.join(result.step.nodes)}): {routes}, "
        f"{facts.broken_connections} of {facts.population} connections broken, "
        f"{facts.failed_requests} of {facts.requests} requests failed, "
        f"longest gap {facts.longest_gap * 1000:.0f} ms, {result.moved} flows moved"
    )
