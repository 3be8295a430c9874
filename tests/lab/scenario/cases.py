"""Scenarios for tests, on the shipped two-site topology."""

from edge.text.strictyaml import ConfigError
from lab.scenario import parse
from lab.scenario.parse import Case, NoTopologyError
from lab.topology.model import Topology
from tests.lab.two_site import two_site

DRAIN = """\
version: 1
name: drain
title: An edge is drained
topology: two-site
traffic:
  web: {kind: requests, to: web, rate: 100}
  held: {kind: connections, to: echo, count: 300, ipv6: 0.2}
steps:
  - name: edge drain
    after: 1
    do: {drain: {nodes: [a-e1]}}
    announcing: {without: [a-e1]}
    expect: {broken: 0, failed: 0, routes_within: 0.2}
  - name: edge return
    do: {undrain: {nodes: [a-e1]}}
    announcing: all
expect: {broken: 0, always_routed: true}
"""


def topology_of(name: str) -> Topology:
    """The two-site lab and no other."""
    if name != "two-site":
        raise NoTopologyError(f"there is no topology '{name}'")
    return two_site()


def case(text: str = DRAIN, name: str = "drain") -> Case:
    """The scenario of a text."""
    return parse.load(text, f"scenarios/{name}.yml", topology_of)[0]


def problems(text: str, name: str = "drain") -> list[str]:
    """What is wrong with a text, without the file's name; [] when nothing is."""
    try:
        case(text, name)
    except ConfigError as error:
        return [str(problem).removeprefix(f"scenarios/{name}.yml:") for problem in error.problems]
    return []
