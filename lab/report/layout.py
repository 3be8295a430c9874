"""Where a lab's nodes stand in its picture: sites side by side, tiers in rows, links around boxes. No I/O.

Rows from above: transit (routers and others of no site), spines (routers of a site with links to routers only),
routers, edges, backends and whatever else, clients. Within a row, nodes stand near what they are linked to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from lab.report.result import Node, Topology

BOX_WIDTH, BOX_HEIGHT = 78.0, 34.0
_PITCH, _ROW, _MARGIN = 98.0, 82.0, 14.0
_SITE_GAP, _SITE_HEAD, _SITE_FOOT, _SITE_PAD = 26.0, 28.0, 14.0, 16.0
_IN_A_ROW = {1: 8, 2: 5}  # by the number of sites; of more sites:
_IN_A_ROW_OF_MANY = 4
_SWEEPS = 6
TIERS = ("transit", "spine", "router", "edge", "proxy", "backend", "store", "other", "client")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A site's frame: top left corner and size."""

    name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Wire:
    """A link's line through these points, from node to node."""

    a: str
    b: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole picture: centres of nodes, frames of sites, lines of links."""

    width: float
    height: float
    nodes: Mapping[str, Point]
    tiers: Mapping[str, str]
    sites: Sequence[Box]
    wires: Sequence[Wire]


@dataclass
class _Site:
    name: str
    rows: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    @property
    def columns(self) -> int:
        return max((len(row) for row in self.rows.values()), default=1)

    @property
    def width(self) -> float:
        return self.columns * _PITCH + 2 * _SITE_PAD


def tier_of(node: Node, neighbours: Sequence[Node]) -> str:
    """The row that a node belongs to."""
    if node.role == "router":
        if not node.site:
            return "transit"
        inner = [other for other in neighbours if other.site == node.site]
        only_routers = bool(inner) and all(other.role == "router" for other in neighbours)
        return "spine" if only_routers else "router"
    return node.role if node.role in TIERS else "other"


def plan(topology: Topology) -> Plan:
    """The picture of a topology."""
    nodes = {node.name: node for node in topology.nodes}
    links = [(link.a.rsplit(":", 1)[0], link.b.rsplit(":", 1)[0]) for link in topology.links]
    links = [(a, b) for a, b in links if a in nodes and b in nodes]
    neighbours: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in links:
        neighbours[a].append(b)
        neighbours[b].append(a)
    tiers = {name: tier_of(node, [nodes[other] for other in neighbours[name]]) for name, node in nodes.items()}
    tiers = _without_lone_spines(tiers, nodes)
    sites = _sites(nodes, tiers)
    places, boxes, width, height, levels = _place(sites, neighbours)
    wires = _wires(links, places, levels)
    return Plan(width, height, places, tiers, boxes, wires)


def _without_lone_spines(tiers: Mapping[str, str], nodes: Mapping[str, Node]) -> dict[str, str]:
    """A row of spines only where the site also has routers below them."""
    below = {nodes[name].site for name, tier in tiers.items() if tier == "router"}
    return {n: "router" if tier == "spine" and nodes[n].site not in below else tier for n, tier in tiers.items()}


def _sites(nodes: Mapping[str, Node], tiers: Mapping[str, str]) -> list[_Site]:
    """Sites in the order of the topology; the nodes of none come as a site without a name, first."""
    sites = {"": _Site("")}
    most = _IN_A_ROW.get(len({node.site for node in nodes.values() if node.site}), _IN_A_ROW_OF_MANY)
    for name, node in nodes.items():
        site = sites.setdefault(node.site, _Site(node.site))
        tier = TIERS.index(tiers[name])
        row = 0
        while len(site.rows.get((tier, row), ())) >= (most if node.site else _IN_A_ROW[1]):
            row += 1
        site.rows.setdefault((tier, row), []).append(name)
    for site in sites.values():
        _balance(site)
    return list(sites.values())


def _balance(site: _Site) -> None:
    """A tier of several rows has about as many nodes in each."""
    for tier in {tier for tier, _ in site.rows}:
        rows = sorted(key for key in site.rows if key[0] == tier)
        names = [name for key in rows for name in site.rows[key]]
        share = -(-len(names) // len(rows))
        for index, key in enumerate(rows):
            site.rows[key] = names[index * share : (index + 1) * share]


def _place(
    sites: Sequence[_Site], neighbours: Mapping[str, Sequence[str]]
) -> tuple[dict[str, Point], list[Box], float, float, dict[float, list[float]]]:
    """Centres, frames, the size of the picture, and the row heights with the places of the boxes there."""
    named = [site for site in sites if site.name]
    levels = sorted({key for site in sites for key in site.rows})
    above = [key for key in levels if key[0] == 0]
    head = _SITE_HEAD if named else 0.0
    heights = {key: _MARGIN + BOX_HEIGHT / 2 + i * _ROW + (0 if key in above else head) for i, key in enumerate(levels)}
    inner = sum(site.width for site in named) + _SITE_GAP * max(len(named) - 1, 0)
    width = max(inner, max((site.width for site in sites), default=0.0)) + 2 * _MARGIN
    left = (width - inner) / 2
    middles: dict[str, float] = {"": width / 2}
    boxes = []
    below = [heights[key] for site in named for key in site.rows]
    for site in named:
        top, bottom = min(below) - BOX_HEIGHT / 2 - _SITE_HEAD, max(below) + BOX_HEIGHT / 2 + _SITE_FOOT
        boxes.append(Box(site.name, left, top, site.width, bottom - top))
        middles[site.name] = left + site.width / 2
        left += site.width + _SITE_GAP
    order = _ordered(sites, neighbours, middles)
    places = {
        name: (middles[site.name] + (index - (len(row) - 1) / 2) * _spread(site, row, width), heights[key])
        for site in sites
        for key, row in order[site.name].items()
        for index, name in enumerate(row)
    }
    taken: dict[float, list[float]] = {}
    for x, y in places.values():
        taken.setdefault(y, []).append(x)
    bottom = max([*(box.y + box.height for box in boxes), *(y + BOX_HEIGHT / 2 for y in heights.values())], default=0.0)
    return places, boxes, width, bottom + _MARGIN, taken


def _spread(site: _Site, row: Sequence[str], width: float) -> float:
    """How far apart the nodes of a row stand: short rows use some of the width that is there."""
    room = site.width - 2 * _SITE_PAD if site.name else min(width * 0.7, len(row) * 260.0)
    return max(_PITCH, min(room / len(row), _PITCH * (1.7 if site.name else 2.6)))


def _ordered(
    sites: Sequence[_Site], neighbours: Mapping[str, Sequence[str]], middles: Mapping[str, float]
) -> dict[str, dict[tuple[int, int], list[str]]]:
    """Rows in the order in which their links cross little: a node moves to the mean of its neighbours (barycentre)."""
    order = {site.name: {key: list(site.rows[key]) for key in sorted(site.rows)} for site in sites}
    for _ in range(_SWEEPS):
        at = {
            name: middles[site] + (index - (len(row) - 1) / 2) * _PITCH
            for site, rows in order.items()
            for row in rows.values()
            for index, name in enumerate(row)
        }
        for rows in order.values():
            for row in rows.values():
                means = {n: sum(at[o] for o in neighbours[n]) / len(neighbours[n]) for n in row if neighbours[n]}
                row.sort(key=lambda name: round(means.get(name, at[name]), 3))
    return order


def _wires(
    links: Sequence[tuple[str, str]], places: Mapping[str, Point], levels: Mapping[float, Sequence[float]]
) -> list[Wire]:
    """The line of each link; in a row that it passes it goes between boxes, beside other lines that do."""
    crowd: dict[Point, int] = {}
    parallel: dict[tuple[str, str], int] = {}
    wires = []
    for a, b in links:
        (ax, ay), (bx, by) = places[a], places[b]
        if ay > by:
            (ax, ay), (bx, by) = (bx, by), (ax, ay)
        pair = (min(a, b), max(a, b))
        aside = 7.0 * parallel.get(pair, 0)
        parallel[pair] = parallel.get(pair, 0) + 1
        if ay == by:
            between = any(min(ax, bx) < x < max(ax, bx) for x in levels[ay])
            lift = BOX_HEIGHT / 2 + 12 if between else 0.0
            wires.append(Wire(a, b, _level(ax, bx, ay, lift, aside)))
            continue
        points = [(ax + aside, ay + BOX_HEIGHT / 2)]
        for y in sorted(level for level in levels if ay < level < by):
            straight = ax + (bx - ax) * (y - ay) / (by - ay)
            gap = _gap(straight, sorted(levels[y]))
            index = crowd.get((gap, y), 0)
            crowd[gap, y] = index + 1
            shift = ((index + 1) // 2) * (4.0 if index % 2 else -4.0)
            points += [(gap + shift, y - BOX_HEIGHT / 2 - 3), (gap + shift, y + BOX_HEIGHT / 2 + 3)]
        wires.append(Wire(a, b, (*points, (bx + aside, by - BOX_HEIGHT / 2))))
    return wires


def _level(ax: float, bx: float, y: float, lift: float, aside: float) -> tuple[Point, ...]:
    """Between two boxes of one row: straight between neighbours, else over those that stand between."""
    left, right = min(ax, bx), max(ax, bx)
    if not lift:
        return ((left + BOX_WIDTH / 2, y + aside), (right - BOX_WIDTH / 2, y + aside))
    top = y - BOX_HEIGHT / 2
    return ((left, top), (left + 20, y - lift - aside), (right - 20, y - lift - aside), (right, top))


def _gap(x: float, boxes: Sequence[float]) -> float:
    """The place nearest to `x` where a line passes a row of boxes; `x` itself where it is free."""
    clear = BOX_WIDTH / 2 + 6
    if all(abs(x - box) >= clear for box in boxes):
        return float(round(x))
    places = [boxes[0] - clear - 4, boxes[-1] + clear + 4]
    places += [(one + other) / 2 for one, other in pairwise(boxes) if other - one >= 2 * (BOX_WIDTH / 2 + 4)]
    nearest: float = min(places, key=lambda place: abs(place - x))
    return float(round(nearest))
