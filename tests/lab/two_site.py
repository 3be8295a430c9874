"""The shipped two-site lab, for tests."""

from functools import cache
from pathlib import Path

from lab import planning
from lab.addressing import LabPlan
from lab.topology import parse
from lab.topology.model import Topology

FILE = Path(__file__).parents[2] / "containerlab" / "two-site.clab.yml"


@cache
def two_site() -> Topology:
    """The topology as shipped."""
    return parse.load(FILE.read_text(), str(FILE), folder=str(FILE.parent))


@cache
def two_site_plan() -> LabPlan:
    """Its addresses and roles."""
    return planning.plan(two_site())
