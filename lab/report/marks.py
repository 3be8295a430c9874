"""What clients saw, as symbols: each kind has its shape and its colour. No I/O.

Many at one place are one symbol that says how many it stands for.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sin
from typing import TypeVar

from lab.report.result import Mark
from lab.report.scale import Scale, seconds
from lab.report.svg import Markup, el, num

Thing = TypeVar("Thing")

_TOGETHER = 10.0  # px: what is nearer than this to the first of a symbol belongs to it
_SHAPES = ("circle", "diamond", "triangle", "square", "cross", "down", "star", "hexagon")
_KNOWN = {
    "gap": "circle", "reset": "diamond", "timeout": "triangle", "refused": "square", "unreachable": "cross",
    "eof": "down", "other_backend": "star", "other-backend": "star",
}  # fmt: skip

_POLYGONS = {  # radii by turns, corners, turned by
    "diamond": ((1.1,), 4, 0.0),
    "triangle": ((1.1,), 3, 0.0),
    "square": ((1.15,), 4, pi / 4),
    "down": ((1.1,), 3, pi),
    "star": ((1.2, 0.5), 10, 0.0),
    "hexagon": ((1.0,), 6, 0.0),
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Things of one lane that fall on one place of the axis."""

    x: float
    first: float
    last: float
    count: int


def shape_of(kind: str) -> str:
    """The shape (and with it the colour) of a kind of mark."""
    return _KNOWN.get(kind, _SHAPES[-1])


def clusters(
    things: Sequence[Thing], when: Callable[[Thing], float], scale: Scale
) -> list[tuple[Cluster, list[Thing]]]:
    """The things in order of time, those together that would be drawn on each other."""
    cells: list[list[Thing]] = []
    start = 0.0
    for thing in sorted(things, key=when):
        x = scale.at(when(thing))
        if not cells or x - start > _TOGETHER:
            cells.append([])
            start = x
        cells[-1].append(thing)
    found = []
    for members in cells:
        times = [when(member) for member in members]
        middle = scale.at((times[0] + times[-1]) / 2)
        found.append((Cluster(middle, times[0], times[-1], len(members)), members))
    return found


def symbol(shape: str, x: float, y: float, size: float = 5.0) -> Markup:
    """One symbol around a point."""
    if shape == "circle":
        return el("circle", cx=x, cy=y, r=size * 0.9)
    return el("path", d=_path(shape, x, y, size))


def lane(marks: Sequence[Mark], y: float, scale: Scale) -> tuple[list[Markup], int]:
    """The symbols of one kind, the first to be reached by Tab and the rest by arrows; and how many symbols they are."""
    found = clusters(marks, lambda mark: mark.t, scale)
    drawn = [
        focusable(
            symbol(shape_of(marks[0].kind), cluster.x, y, 5.0 if cluster.count == 1 else 6.5),
            _said(cluster, members), index == 0, f"mark mark-{shape_of(marks[0].kind)}",
        )
        for index, (cluster, members) in enumerate(found)
    ]  # fmt: skip
    return drawn, len(found)


def focusable(drawing: Markup, said: str, first: bool, class_: str) -> Markup:
    """A drawing with hover text that takes the keyboard's focus."""
    title = el("title", said)
    return el("g", title, drawing, class_=class_, tabindex=0 if first else -1, role="img", aria_label=said)


def when(cluster: Cluster) -> str:
    """The time of a cluster, in words."""
    if cluster.count == 1 or f"{cluster.first:.3f}" == f"{cluster.last:.3f}":
        return f"{cluster.first:.3f} s"
    return f"{cluster.first:.3f} to {cluster.last:.3f} s"


def _said(cluster: Cluster, members: Sequence[Mark]) -> str:
    one = members[0]
    longest = max((mark.length for mark in members if mark.length is not None), default=None)
    length = f", {'longest ' if cluster.count > 1 else ''}{seconds(longest)}" if longest is not None else ""
    if cluster.count == 1:
        place = [f"stream {one.stream}" if one.stream else "", one.flow, *_places(one)]
        return "; ".join([f"{one.kind} at {when(cluster)}{length}", *filter(None, place)])
    streams = Counter(mark.stream for mark in members if mark.stream)
    edges = Counter(mark.edge for mark in members if mark.edge)
    parts = [f"{cluster.count} x {one.kind}, {when(cluster)}{length}"]
    parts += [f"{name} {count}" for name, count in [*streams.most_common(3), *edges.most_common(3)]]
    return "; ".join(parts)


def _places(mark: Mark) -> list[str]:
    return [f"edge {mark.edge}" if mark.edge else "", f"backend {mark.backend}" if mark.backend else ""]


def _path(shape: str, x: float, y: float, size: float) -> str:
    if shape == "cross":
        arm = size * 0.85
        return (
            f"M{num(x - arm)} {num(y - arm)}L{num(x + arm)} {num(y + arm)}"
            f"M{num(x - arm)} {num(y + arm)}L{num(x + arm)} {num(y - arm)}"
        )
    radii, corners, turn = _POLYGONS[shape]
    return _round(x, y, [size * radius for radius in radii], corners, turn)


def _round(x: float, y: float, radii: Sequence[float], corners: int, turn: float = 0.0) -> str:
    """A polygon around a point, its first corner above; radii by turns."""
    angles = [turn + 2 * pi * index / corners for index in range(corners)]
    points = [
        f"{num(x + radii[i % len(radii)] * sin(angle))} {num(y - radii[i % len(radii)] * cos(angle))}"
        for i, angle in enumerate(angles)
    ]
    return f"M{'L'.join(points)}Z"
