"""Draws a topology as Mermaid or Graphviz text, nodes grouped by their site."""

from collections.abc import Iterator

from lab.topology.model import Topology

_SITE, _ROLE = "fairhop.site", "fairhop.role"


def mermaid(topology: Topology) -> str:
    """A Mermaid flowchart (GitHub shows it as a picture)."""
    ids = {name: f"n{index}" for index, name in enumerate(topology.nodes)}
    lines = ["graph TD"]
    for site, names in _sites(topology):
        indent = "    " if site else "  "
        lines += [f'  subgraph site_{site}["site {site}"]'] if site else []
        lines += [f'{indent}{ids[name]}["{_caption(topology, name, "<br/>")}"]' for name in names]
        lines += ["  end"] if site else []
    for link in topology.links:
        lines.append(f'  {ids[link.a.node]} ---|"{link.a.interface} {link.b.interface}"| {ids[link.b.node]}')
    return "\n".join(lines)


def dot(topology: Topology) -> str:
    """A Graphviz graph."""
    lines = [f'graph "{topology.name}" {{', "  node [shape=box];"]
    for site, names in _sites(topology):
        nodes = [f'"{name}" [label="{_caption(topology, name, chr(92) + "n")}"];' for name in names]
        if site:
            lines.append(f'  subgraph "cluster_{site}" {{ label="site {site}"; {" ".join(nodes)} }}')
        else:
            lines += [f"  {node}" for node in nodes]
    for link in topology.links:
        ends = f'taillabel="{link.a.interface}", headlabel="{link.b.interface}"'
        lines.append(f'  "{link.a.node}" -- "{link.b.node}" [{ends}];')
    return "\n".join([*lines, "}"])


def _sites(topology: Topology) -> Iterator[tuple[str, list[str]]]:
    """Each site with its nodes, in the file's order; nodes of no site under the empty name."""
    sites: dict[str, list[str]] = {}
    for name, node in topology.nodes.items():
        sites.setdefault(node.labels.get(_SITE, ""), []).append(name)
    yield from sites.items()


def _caption(topology: Topology, name: str, newline: str) -> str:
    role = topology.nodes[name].labels.get(_ROLE, "")
    return f"{name}{newline}{role}" if role else name
