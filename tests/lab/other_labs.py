"""The shipped labs with other routers, receivers and targets, for tests."""

from functools import cache
from pathlib import Path

from lab import planning
from lab.addressing import LabPlan, NodePlan
from lab.topology import parse
from lab.topology.model import Topology

FOLDER = Path(__file__).parents[2] / "containerlab"
LABS = ("bird", "gobgp", "stock", "two-tier", "haproxy", "nft")


@cache
def topology(lab: str) -> Topology:
    """A lab as shipped."""
    file = FOLDER / f"{lab}.clab.yml"
    return parse.load(file.read_text(), str(file), folder=str(FOLDER))


@cache
def plan(lab: str) -> LabPlan:
    """Its addresses and roles."""
    return planning.plan(topology(lab))


def rendered(name: str) -> list[tuple[str, NodePlan, Path]]:
    """(lab, node, path) of every committed file of that name in these labs."""
    return [
        (lab, node, path)
        for lab in LABS
        for node in plan(lab).nodes.values()
        if (path := FOLDER / lab / node.name / name).exists()
    ]
