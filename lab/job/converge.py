"""Waits until every router's kernel sends the VIPs where it must, with every edge announcing."""

import time

from lab import planning
from lab.addressing import Role
from lab.job import convergence
from lab.observe.routes import RouteWatch
from lab.runtime import Progress, Runtime
from lab.topology.model import Topology

WITHIN = 30.0


def converge(runtime: Runtime, topology: Topology, progress: Progress) -> None:
    """Return when the deployed lab has converged; LabError after `WITHIN` seconds.

    A topology without fairhop's labels has nothing to wait for.
    """
    if not any("fairhop.role" in node.labels for node in topology.nodes.values()):
        return
    plan = planning.plan(topology)
    began = time.monotonic()
    netns = {name: runtime.netns(name) for name in convergence.routers(plan)}
    with RouteWatch(netns, convergence.vip_prefixes(plan)) as watch:
        watch.wait_for(convergence.expected(plan, {edge.name for edge in plan.having(Role.EDGE)}), WITHIN)
    progress(f"every router has converged, {time.monotonic() - began:.1f} s after the nodes were ready")
