"""Where the lab listens: the routers' interfaces towards edges. No I/O.

On an edge XDP takes a packet before any capture sees it; a router's side of the same link sees every packet.
"""

from dataclasses import dataclass

from lab.addressing import LabPlan, Role


@dataclass(frozen=True, slots=True)
class Tap:
    """One interface of a router, and the edge at its other end."""

    router: str
    interface: str
    edge: str


def edge_taps(lab: LabPlan) -> tuple[Tap, ...]:
    """Every link from a router to an edge, in the order of the routers and of their interfaces."""
    return tuple(
        Tap(router.name, interface.name, peer.name)
        for router in lab.having(Role.ROUTER)
        for interface, peer in lab.neighbours(router)
        if peer.role is Role.EDGE
    )
