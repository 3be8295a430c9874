"""Where each node of a lab lives: in a network namespace of its own, another node's or the machine's."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from lab.topology.model import HOST, Endpoint, Topology


def host_netns() -> str:
    """The machine's network namespace: that of this process, whose main thread never leaves it."""
    return f"/proc/{os.getpid()}/ns/net"


@dataclass(frozen=True, slots=True)
class Places:
    """`host_bridges`: nodes of kind bridge that are bridges of the machine, there before the lab."""

    topology: Topology
    host_bridges: frozenset[str] = frozenset()

    def pins(self) -> dict[str, str]:
        """Where the network namespaces that the lab has to itself are pinned, by the node that each belongs to."""
        own = (name for name in self.topology.nodes if self.place(name) == name)
        return {name: f"/run/netns/{self.topology.long_name(name)}" for name in own}

    def place(self, node: str) -> str:
        """The node whose network namespace `node` is in, or `host`."""
        place = self.topology.place(node)
        return HOST if place in self.host_bridges else place

    def netns(self, node: str) -> str:
        """A path that opens as the node's network namespace."""
        place = self.place(node)
        return host_netns() if place == HOST else f"/run/netns/{self.topology.long_name(place)}"

    def runs(self, node: str) -> str:
        """The node whose processes those of `node` are: itself; that of a bridge in another node; `host`, or none."""
        described = self.topology.nodes[node]
        if described.kind == "linux":
            return node
        return self.place(node)

    def processes(self) -> tuple[str, ...]:
        """Nodes that have a PID 1 of their own."""
        return tuple(name for name in self.topology.nodes if self.runs(name) == name)

    def bridges(self, node: str) -> Iterator[str]:
        """Names of the bridges that the lab makes in the namespace that `node` is in."""
        place = self.place(node)
        if place != HOST:
            yield from (
                each.bridge for each in self.topology.nodes.values() if each.bridge and self.place(each.name) == place
            )

    def master(self, end: Endpoint) -> str:
        """The bridge whose port this end is, or an empty text."""
        return self.topology.nodes[end.node].bridge if end.node in self.topology.nodes else ""

    def host_interfaces(self) -> list[str]:
        """Interfaces that the lab makes in the machine's own network namespace."""
        ends = (end for link in self.topology.links for end in link.interfaces)
        return sorted(end.interface for end in ends if self.place(end.node) == HOST)
