"""Every shipped lab, for tests: the topology files beside two-site.clab.yml, and what is derived from them."""

from collections.abc import Iterator
from functools import cache

from lab import planning
from lab.addressing import LabPlan, NodePlan, Role
from lab.render.lab_files import render
from lab.topology import parse
from lab.topology.model import Topology
from tests.lab.two_site import FILE

FOLDER = FILE.parent
NAMES = sorted(path.name.removesuffix(".clab.yml") for path in FOLDER.glob("*.clab.yml"))


@cache
def topology(name: str) -> Topology:
    """The topology as shipped."""
    file = FOLDER / f"{name}.clab.yml"
    return parse.load(file.read_text(), str(file), folder=str(FOLDER))


@cache
def plan(name: str) -> LabPlan:
    """Its addresses and roles."""
    return planning.plan(topology(name))


@cache
def files(name: str) -> dict[str, str]:
    """Its rendered files: path from the folder of the topology file to content."""
    return render(plan(name))


def nodes(*roles: Role) -> Iterator[tuple[str, NodePlan]]:
    """(lab, node) of every node of every lab that has one of the roles."""
    return ((name, node) for name in NAMES for node in plan(name).nodes.values() if node.role in roles)


def named(value: object) -> str:
    """What pytest calls a parameter."""
    return value.name if isinstance(value, NodePlan) else str(value)
