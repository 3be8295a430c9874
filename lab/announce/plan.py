"""The small world in which one row is measured (core: no I/O): who is there, who is linked to whom, all addresses.

Each link is a /31 of 10.90.0.0/16, numbered in order; its first node has the even address and its interfaces are called
eth0, eth1, ... in the order of a node's links.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal

Kind = Literal["frr", "bird", "gobgp"]
KINDS: tuple[Kind, ...] = ("frr", "bird", "gobgp")

_LINKS = IPv4Address("10.90.0.0")
_FIRST_VIP = IPv4Address("203.0.112.1")
_ROUTER_ASN, _EDGE_ASN, TRANSIT_ASN = 65101, 65110, 65000
TRANSIT, ROUTER = "transit", "r1"
CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Layout:
    """What to build. Two `sites` mean two routers with a transit router above them, and an edge and a backend each.

    With one site, all `edges` share its router and `backends` (each edge has its own one where `apart`). `options` goes
    over every edge's fairhop.yaml, mapping by mapping. Without `daemons` the edges are empty namespaces. `bfd`: routers
    hold BFD sessions with edges, 10 ms x 3. `graceful`: they keep a restarting edge's routes (RFC 4724). `local_check`
    is that of the first VIP's echo service.
    """

    kind: Kind
    edges: int = 1
    sites: int = 1
    backends: int = 1
    vips: int = 2
    apart: bool = False
    client: bool = False
    daemons: bool = True
    bfd: bool = False
    graceful: bool = False
    router_hold: int = 9
    local_check: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a link; addresses in the /31 of the link."""

    name: str
    address: IPv4Address
    peer: str
    peer_address: IPv4Address


@dataclass(frozen=True, slots=True)
class Node:
    """A namespace: `role` is "router", "edge", "backend" or "client"; `number` counts all nodes from 1."""

    name: str
    role: str
    number: int
    asn: int
    interfaces: tuple[Interface, ...]

    @property
    def router_id(self) -> IPv4Address:
        """What it is called in BGP."""
        return IPv4Address("10.255.0.0") + self.number

    def towards(self, peer: str) -> Interface:
        """Its interface on the link to `peer`."""
        return next(interface for interface in self.interfaces if interface.peer == peer)


@dataclass(frozen=True, slots=True)
class World:
    """A layout with every address."""

    layout: Layout
    nodes: Mapping[str, Node]
    links: tuple[tuple[str, str], ...]
    pools: Mapping[str, tuple[str, ...]]

    @property
    def vips(self) -> tuple[IPv4Address, ...]:
        """The VIPs of every edge."""
        return tuple(_FIRST_VIP + number for number in range(self.layout.vips))

    @property
    def prefixes(self) -> tuple[IPv4Network, ...]:
        """What is announced."""
        return tuple(IPv4Network(vip) for vip in self.vips)

    @property
    def watched(self) -> str:
        """The router whose kernel is looked at."""
        return TRANSIT if TRANSIT in self.nodes else ROUTER

    def having(self, role: str) -> list[Node]:
        """The nodes of a role, in order."""
        return [node for node in self.nodes.values() if node.role == role]


def world(layout: Layout) -> World:
    """Lay out every node and link."""
    roles: dict[str, tuple[str, int]] = {}
    links: list[tuple[str, str]] = []
    pools: dict[str, tuple[str, ...]] = {}
    if layout.sites > 1:
        roles[TRANSIT] = ("router", TRANSIT_ASN)
    for site in range(1, layout.sites + 1):
        roles[f"r{site}"] = ("router", _ROUTER_ASN + site - 1)
        if layout.sites > 1:
            links.append((TRANSIT, f"r{site}"))
    edges = max(layout.edges, layout.sites)
    backends = max(layout.backends, edges if layout.apart or layout.sites > 1 else 1)
    for number in range(1, edges + 1):
        site = number if layout.sites > 1 else 1
        roles[f"e{number}"] = ("edge", _EDGE_ASN + 100 * (site - 1))
        links.append((f"r{site}", f"e{number}"))
    for number in range(1, backends + 1):
        roles[f"b{number}"] = ("backend", 0)
        links.append((f"r{number if layout.sites > 1 else 1}", f"b{number}"))
    shared = tuple(f"b{number}" for number in range(1, backends + 1))
    for number in range(1, edges + 1):
        own = layout.apart or layout.sites > 1
        pools[f"e{number}"] = (f"b{number}",) if own else shared
    if layout.client:
        roles[CLIENT] = ("client", 0)
        links.append((TRANSIT if layout.sites > 1 else ROUTER, CLIENT))
    nodes = {
        name: Node(name, role, number, asn, _interfaces(name, links))
        for number, (name, (role, asn)) in enumerate(roles.items(), 1)
    }
    return World(layout, nodes, tuple(links), pools)


def _interfaces(name: str, links: list[tuple[str, str]]) -> tuple[Interface, ...]:
    mine = [(number, link) for number, link in enumerate(links) if name in link]
    found = []
    for at, (number, (first, second)) in enumerate(mine):
        low, high = _LINKS + 2 * number, _LINKS + 2 * number + 1
        own, other, peer = (low, high, second) if name == first else (high, low, first)
        found.append(Interface(f"eth{at}", own, peer, other))
    return tuple(found)
