"""The picture of a lab's topology as SVG. The live page draws over it: nodes and links carry their names. No I/O."""

from collections.abc import Sequence

from lab.report import layout
from lab.report.layout import BOX_HEIGHT, BOX_WIDTH, Plan, Point, Wire
from lab.report.result import Node, Topology
from lab.report.svg import Markup, el, fit, join, num, picture, text

_LARGEST = 1.3  # of a small topology: its words would shout
_ROLES = {"transit": "transit router", "spine": "router", "router": "router", "other": "node"}


def draw(topology: Topology, focusable: bool = False) -> Markup:
    """The picture; `focusable`: nodes are buttons that take the keyboard's focus, one of them by Tab."""
    plan = layout.plan(topology)
    ends = [(link.a, link.b) for link in topology.links]
    names = {node.name: node for node in topology.nodes}
    interfaces = [(a, b) for a, b in ends if a.rsplit(":", 1)[0] in names and b.rsplit(":", 1)[0] in names]
    return picture(
        plan.width, plan.height, f"Topology {topology.name}: {len(names)} nodes, {len(topology.links)} links",
        el("g", *_sites(plan), class_="sites"),
        el("g", *(_wire(w, a, b) for w, (a, b) in zip(plan.wires, interfaces, strict=True)), class_="wires"),
        el("g", *(_node(names[n], plan, focusable, i == 0) for i, n in enumerate(reading_order(plan))), class_="nodes"),
        class_="topology", at_most=plan.width * _LARGEST,
    )  # fmt: skip


def reading_order(plan: Plan) -> list[str]:
    """Nodes from above, each row from the left."""
    return sorted(plan.nodes, key=lambda name: (plan.nodes[name][1], plan.nodes[name][0]))


def legend(topology: Topology) -> Markup:
    """What the colours of the boxes mean, for the roles that there are."""
    plan = layout.plan(topology)
    found = [tier for tier in layout.TIERS if tier in set(plan.tiers.values())]
    items = (
        el("span", el("i", class_=f"swatch tier-{tier}"), _ROLES.get(tier, tier), class_="key")
        for tier in dict.fromkeys("router" if tier == "spine" else tier for tier in found)
    )
    return el("p", *items, class_="legend")


def _sites(plan: Plan) -> list[Markup]:
    return [
        el(
            "g",
            el("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=10, class_="site"),
            text(box.x + 12, box.y + 18, f"site {box.name}", "site-name"),
        )
        for box in plan.sites
    ]


def _wire(wire: Wire, a: str, b: str) -> Markup:
    return el(
        "g", el("title", f"{a} - {b}"), el("path", d=_curve(wire.points), class_="wire"),
        class_="link", data_a=a, data_b=b,
    )  # fmt: skip


def _node(node: Node, plan: Plan, focusable: bool, first: bool) -> Markup:
    x, y = plan.nodes[node.name]
    tier = plan.tiers[node.name]
    role = _ROLES.get(tier, tier)
    said = f"{node.name}: {role}{f', site {node.site}' if node.site else ''}"
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    return el(
        "g",
        el("title", said),
        el("rect", x=left, y=top, width=BOX_WIDTH, height=BOX_HEIGHT, rx=6, class_=f"box tier-{tier}"),
        el("rect", x=left, y=top, width=4, height=BOX_HEIGHT, rx=2, class_=f"stripe tier-{tier}"),
        text(x + 1, y - 1, fit(node.name, BOX_WIDTH - 10, 11.5), "node-name", "middle"),
        text(x + 1, y + 11, fit(role, BOX_WIDTH - 10, 9), "node-role", "middle"),
        class_="node",
        data_node=node.name,
        tabindex=(0 if first else -1) if focusable else None,
        role="button" if focusable else "img",
        aria_label=said,
    )


def _curve(points: Sequence[Point]) -> str:
    """A path through the points that leaves and enters vertically; straight where both ends are level."""
    (x, y), *rest = points
    words = [f"M{num(x)} {num(y)}"]
    for to_x, to_y in rest:
        if y == to_y or x == to_x:
            words.append(f"L{num(to_x)} {num(to_y)}")
        else:
            bend = (to_y - y) * 0.45
            words.append(f"C{num(x)} {num(y + bend)} {num(to_x)} {num(to_y - bend)} {num(to_x)} {num(to_y)}")
        x, y = to_x, to_y
    return join(" ".join(words))
