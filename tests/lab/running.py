"""A shipped lab, the one of two sites unless told, running under a name of its own, and what tests ask of it."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from lab import planning
from lab.addressing import LabPlan, Role
from lab.job import convergence
from lab.netns.runtime import NetnsRuntime
from lab.observe.routes import RouteWatch
from lab.topology.model import Topology
from tests.lab.two_site import two_site

EDGES = frozenset({"a-e1", "a-e2", "b-e1", "b-e2"})


@dataclass
class RunningLab:
    """A converged lab, its plan, and a watch on its routers."""

    runtime: NetnsRuntime
    topology: Topology
    plan: LabPlan
    watch: RouteWatch

    @property
    def edges(self) -> frozenset[str]:
        """The names of all edges."""
        return frozenset(edge.name for edge in self.plan.having(Role.EDGE))

    def fairhop(self, node: str, *arguments: str, expect: int = 0) -> str:
        """The output of a fairhop command in a node; stderr too where it must fail."""
        done = self.runtime.exec(node, ["fairhop", *arguments])
        assert done.returncode == expect, f"{node}: fairhop {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout + (done.stderr if expect else "")

    def facts(self, node: str, *arguments: str) -> Any:
        """The JSON of a fairhop command in a node."""
        return json.loads(self.fairhop(node, *arguments, "--json"))

    def shell(self, node: str, script: str) -> str:
        """The output of a shell script in a node."""
        done = self.runtime.exec(node, ["sh", "-c", script])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def route_time(self, since: float, announcing: Sequence[str] | frozenset[str], within: float = 10.0) -> float:
        """Seconds from `since` until the last router's kernel had changed to what these announcing edges mean."""
        self.watch.wait_for(convergence.expected(self.plan, announcing), within)
        last = self.watch.last_change(since)
        assert last is not None, "no route changed"
        return last.time - since

    def await_backends(self, edge: str, within: float = 15.0) -> None:
        """Return once the edge serves and all its backends are in its tables: one that joins later moves flows."""
        self.fairhop(edge, "status", "--wait")
        deadline = time.monotonic() + within
        while any(pool["healthy"] < len(pool["backends"]) for pool in self.facts(edge, "status")["pools"]):
            assert time.monotonic() < deadline, self.fairhop(edge, "status")
            time.sleep(0.1)

    def undrain(self, *nodes: str) -> None:
        """Bring drained nodes back and wait for every router."""
        for node in nodes:
            self.fairhop(node, "undrain", "node", "--wait")
        self.watch.wait_for(convergence.expected(self.plan, self.edges), 10.0)

    def daemon_pid(self, node: str) -> int:
        """The daemon's process in the node's own numbering."""
        return int(self.shell(node, "pgrep -f 'fairhop run' | head -n 1"))


@contextmanager
def running_lab(name: str, shipped: Topology | None = None) -> Iterator[RunningLab]:
    """Bring a shipped lab up under another name; nothing of it stays."""
    topology = replace(shipped or two_site(), name=name)
    plan = planning.plan(topology)
    with NetnsRuntime(topology) as runtime:
        runtime.deploy(lambda _: None)
        netns = {router: runtime.netns(router) for router in convergence.routers(plan)}
        with RouteWatch(netns, convergence.vip_prefixes(plan)) as watch:
            running = RunningLab(runtime, topology, plan, watch)
            watch.wait_for(convergence.expected(plan, running.edges), 30.0)
            for edge in plan.having(Role.EDGE):
                running.await_backends(edge.name)
            yield running


def until(moment: float) -> None:
    """Sleep until `moment` of the monotonic clock."""
    time.sleep(max(0.0, moment - time.monotonic()))
