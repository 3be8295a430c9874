"""Whom a router speaks BGP with, and what may be routed: what the renderers of all makes of router share.

FRR's has sessions of its own, for their route maps.
"""

from dataclasses import dataclass

from lab import routing
from lab.addressing import (
    CLIENTS,
    CLIENTS6,
    LINKS,
    LINKS6,
    LOOPBACKS,
    LOOPBACKS6,
    Interface,
    LabPlan,
    NodePlan,
    Role,
    Vip,
)
from lab.routing import Kind


@dataclass(frozen=True, slots=True)
class Peer:
    """One session of a router. `waits`: the other end makes the connection, as exactly one end must."""

    kind: Kind
    interface: Interface
    node: NodePlan
    waits: bool

    @property
    def label(self) -> str:
        """The neighbour's name, in letters, digits and _."""
        return self.node.name.replace("-", "_").replace(".", "_")

    def own(self, version: int) -> Vip:
        """The router's address on the link."""
        return self.interface.address.ip if version == 4 else self.interface.address6.ip

    def hop(self, version: int) -> Vip:
        """The neighbour's address on the link."""
        return self.interface.peer_address if version == 4 else self.interface.peer_address6


@dataclass(frozen=True, slots=True)
class Range:
    """Prefixes within `network` of exactly `length` bits."""

    network: str
    length: int


def peers(lab: LabPlan, node: NodePlan) -> tuple[Peer, ...]:
    """The sessions of a router, in the order of its interfaces."""
    found = []
    for interface, other in lab.neighbours(node):
        kind = routing.kind(lab, node, other)
        if kind is not None:
            waits = other.role is Role.EDGE or node.number < other.number
            found.append(Peer(kind, interface, other, waits))
    return tuple(found)


def vips(lab: LabPlan, version: int) -> tuple[Range, ...]:
    """What edges announce."""
    bits = 32 if version == 4 else 128
    return tuple(Range(f"{vip}/{bits}", bits) for vip in (lab.vips4 if version == 4 else lab.vips6))


def underlay(version: int) -> tuple[Range, ...]:
    """The links' networks and the routers' loopback addresses."""
    if version == 4:
        return Range(str(LINKS), 31), Range(str(LOOPBACKS), 32)
    return Range(str(LINKS6), 127), Range(str(LOOPBACKS6), 128)


def routed(lab: LabPlan, version: int) -> tuple[Range, ...]:
    """All that routers tell each other and clients."""
    clients = Range(str(CLIENTS), 32) if version == 4 else Range(str(CLIENTS6), 128)
    return (*vips(lab, version), *underlay(version), clients)


def client_prefix(client: NodePlan, version: int) -> str:
    """What a client may announce."""
    return f"{client.client_address}/32" if version == 4 else f"{client.client_address6}/128"
