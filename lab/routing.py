"""Who prefers which way to a VIP: the routers' policy as a table, and what it comes to when BGP has settled (core).

`lab.render.frr` writes this table as route maps, `lab.job.convergence` asks what kernels must then do. Within a site
the height of a router is its distance from the nearest edge: a leaf's is 1, a spine's 2. So neighbours lie above, below
or beside, whatever the number of tiers. How a router chooses, most wanted first:
  1. the site's own edges: its own links, or the routers below that have some, by ECMP over all
  2. another site by the backbone, or by transit where the lab has no backbone, or by the routers above
  3. another site by transit, beside a backbone
  4. the site's own edges under GRACEFUL_SHUTDOWN (RFC 8326: FRR gives them local preference 0)
  5. the site's own edges by a router above or beside, and whatever a router beside has (0 too, and longer paths)
Never: from outside, a path that began at the site's own edges. So a drain makes before it breaks, and no two routers
point at each other while it spreads: were 5 above 4, a neighbour's stale plain path would send packets to and fro.
Routers outside sites have one best path and no ECMP: were one to balance a VIP over two sites, half of what a draining
site sends it would come straight back.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lab.addressing import Interface, LabPlan, NodePlan, Role

USUAL: Final = 100  # BGP's local preference where nothing is said
_FAR: Final = 1000  # the height of a router whose site has no edges


class Kind(StrEnum):
    """What a neighbour is to a router: the value is the name of its peer group in frr.conf."""

    EDGE = "EDGE"
    CLIENT = "CLIENT"
    CORE = "CORE"
    TRANSIT = "TRANSIT"
    ABOVE = "ABOVE"
    BELOW = "BELOW"
    SIBLING = "SIBLING"


@dataclass(frozen=True, slots=True)
class Preference:
    """Local preference of a VIP's path: of one that began at the site's own edges (None: refused), and of any other."""

    own: int | None
    other: int


PREFERENCES: Final[Mapping[Kind, Preference]] = {
    Kind.EDGE: Preference(USUAL, USUAL),
    Kind.BELOW: Preference(USUAL, USUAL),
    Kind.CORE: Preference(None, USUAL),
    Kind.TRANSIT: Preference(None, 50),
    Kind.ABOVE: Preference(0, USUAL),
    Kind.SIBLING: Preference(0, 0),
}


@dataclass(frozen=True, slots=True)
class _Path:
    """A way to a VIP that a router let in. `ases`: the nearest first; `rank`: the lower, the sooner it wins a tie."""

    ases: tuple[int, ...]
    preference: int
    rank: int
    way: Interface

    @property
    def worth(self) -> tuple[int, int]:
        """What ECMP compares: less is better."""
        return -self.preference, len(self.ases)


def kind(lab: LabPlan, node: NodePlan, peer: NodePlan) -> Kind | None:
    """What `peer` is to the router `node`; None for what speaks no BGP."""
    match peer.role:
        case Role.EDGE:
            return Kind.EDGE
        case Role.CLIENT:
            return Kind.CLIENT
        case Role.ROUTER:
            pass
        case _:
            return None
    if not node.site or peer.site != node.site:
        is_transit = node.site and not peer.site and not peer.backbone
        beside_backbone = any(one.backbone for one in lab.nodes.values())
        return Kind.TRANSIT if is_transit and beside_backbone else Kind.CORE
    own, other = (_heights(lab, node.site).get(one.name, _FAR) for one in (node, peer))
    return Kind.SIBLING if own == other else Kind.ABOVE if own < other else Kind.BELOW


def is_single_path(node: NodePlan) -> bool:
    """Whether a router has one best path for everything, the lowest router id's of those equally good."""
    return node.role is Role.ROUTER and not node.site


def edge_asn(lab: LabPlan, site: str) -> int | None:
    """The ASN of a site's edges, None where there are none."""
    return next((edge.asn for edge in lab.having(Role.EDGE, site)), None) if site else None


def ways(lab: LabPlan, announcing: Collection[str]) -> dict[str, tuple[Interface, ...]]:
    """Router -> the interfaces that a VIP's packets leave by when those edges announce it plainly and no other does."""
    routers = lab.having(Role.ROUTER)
    chosen: dict[str, tuple[_Path, ...]] = {router.name: () for router in routers}
    for _ in range(2 * len(routers) + 2):
        before = dict(chosen)
        for router in routers:
            chosen[router.name] = _choose(router, [*_heard(lab, router, chosen, announcing)])
        if chosen == before:
            return {name: tuple(path.way for path in paths) for name, paths in chosen.items()}
    raise ValueError(f"{lab.name}: its routers' preferences contradict each other, so that BGP would never settle")


def _heights(lab: LabPlan, site: str) -> dict[str, int]:
    """Each router of a site by its distance from the nearest edge; those that reach none are left out."""
    heights: dict[str, int] = {}
    tier = {interface.peer for edge in lab.having(Role.EDGE, site) for interface in edge.interfaces}
    height = 0
    while tier:
        height += 1
        heights |= dict.fromkeys(tier, height)
        above = {peer for name in tier for _, peer in lab.neighbours(lab.nodes[name])}
        tier = {one.name for one in above if one.role is Role.ROUTER and one.site == site} - heights.keys()
    return heights


def _heard(
    lab: LabPlan, router: NodePlan, chosen: Mapping[str, tuple[_Path, ...]], announcing: Collection[str]
) -> Iterator[_Path]:
    """The paths that a router lets in. A neighbour tells its best one, with itself in front."""
    own = edge_asn(lab, router.site)
    for interface, peer in lab.neighbours(router):
        what = kind(lab, router, peer)
        if what is Kind.EDGE and peer.name in announcing:
            yield _Path((peer.asn,), USUAL, peer.number, interface)
        elif peer.role is Role.ROUTER and what is not None and chosen[peer.name]:
            ases = (peer.asn, *chosen[peer.name][0].ases)
            wanted = PREFERENCES[what]
            preference = wanted.own if ases[-1] == own else wanted.other
            if router.asn not in ases and preference is not None:
                yield _Path(ases, preference, peer.number, interface)


def _choose(router: NodePlan, paths: list[_Path]) -> tuple[_Path, ...]:
    """The best paths, the very best one first; only that one outside sites."""
    best = min((path.worth for path in paths), default=None)
    equal = sorted((path for path in paths if path.worth == best), key=lambda path: path.rank)
    return tuple(equal[:1] if is_single_path(router) else equal)
