"""The distribution of failover_time over repetitions as SVG: one curve for each step, bounds as lines. No I/O."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from lab.report import marks
from lab.report.scale import Scale, decades, percentile, seconds
from lab.report.svg import Markup, el, fit, num, picture, text

_WIDTH, _HEIGHT = 760.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 20.0, 26.0, 46.0
_FLOOR = 1e-4  # s: what is shorter is drawn here
_LABEL = 44.0  # px between the labels of ticks
COLOURS = 6


def draw(times: Mapping[str, Sequence[float]], bounds: Sequence[tuple[str, float]]) -> Markup:
    """`times`: seconds by step. `bounds`: words and seconds of what is allowed, such as ("p99 at most 300 ms", 0.3)."""
    values = [max(value, _FLOOR) for each in times.values() for value in each] + [value for _, value in bounds]
    scale = Scale(min(values) / 1.6, max(values) * 1.6, _LEFT, _WIDTH - _RIGHT, log=True)
    share = Scale(0.0, 1.0, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_axes(scale, share), *_bounds(scale, bounds)]
    for index, (step, each) in enumerate(times.items()):
        parts.append(_curve(step, sorted(max(value, _FLOOR) for value in each), scale, share, index % COLOURS))
    return picture(_WIDTH, _HEIGHT, "CDF of failover_time", *parts, class_="cdf")


def _axes(scale: Scale, share: Scale) -> list[Markup]:
    parts = []
    for tenth in range(5):
        y = share.at(tenth / 4)
        parts.append(el("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(text(_LEFT - 8, y + 4, f"{tenth * 25} %", "tick-label", "end"))
    last = -_LABEL
    for tick in decades(scale.low, scale.high):
        x = scale.at(tick)
        parts.append(el("line", x1=x, x2=x, y1=share.start, y2=share.start + 4, class_="tick"))
        if x - last >= _LABEL:
            parts.append(text(x, share.start + 16, seconds(tick), "tick-label", "middle"))
            last = x
    parts.append(el("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=share.start, y2=share.start, class_="axis"))
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(text(middle, _HEIGHT - 8, "failover_time, logarithmic", "axis-title", "middle"))
    turned = f"rotate(-90 14 {num((share.start + share.end) / 2)})"
    y = (share.start + share.end) / 2
    parts.append(el("text", "share of events", x=14, y=y, transform=turned, text_anchor="middle", class_="axis-title"))
    return parts


def _bounds(scale: Scale, bounds: Sequence[tuple[str, float]]) -> list[Markup]:
    """A dashed line each; the words stand left of the line where there is no room at its right."""
    parts = []
    for row, (words, value) in enumerate(sorted(bounds, key=lambda bound: bound[1])[:3]):
        x = scale.at(value)
        parts.append(el("line", x1=x, x2=x, y1=_TOP - 8, y2=_HEIGHT - _BOTTOM, class_="bound"))
        right = x > _WIDTH * 0.6
        y = _TOP - 12 + row * 14
        label = fit(words, _WIDTH * 0.55, 11)
        parts.append(text(x - 6 if right else x + 6, y, label, "bound-name", "end" if right else "start"))
    return parts


def _curve(step: str, values: Sequence[float], scale: Scale, share: Scale, colour: int) -> Markup:
    """Steps up by one event each, with a point at each event while there are few."""
    count = len(values)
    points = [(scale.at(values[0]), share.start)]
    for index, value in enumerate(values):
        x = scale.at(value)
        points += [(x, points[-1][1]), (x, share.at((index + 1) / count))]
    points.append((_WIDTH - _RIGHT, points[-1][1]))
    kept = [points[0], *(b for a, b in pairwise(points) if (num(a[0]), num(a[1])) != (num(b[0]), num(b[1])))]
    line = " ".join(f"{num(x)},{num(y)}" for x, y in kept)
    dots = [el("circle", cx=x, cy=y, r=2.6) for x, y in points[2:-1:2]] if count <= 200 else []
    said = (
        f"{step}: {count} events, median {seconds(percentile(values, 0.5))}, p99 {seconds(percentile(values, 0.99))}, "
        f"longest {seconds(values[-1])}"
    )
    return marks.focusable(
        el("g", el("polyline", points=line), *dots), said, True, f"curve colour-{colour}",
    )  # fmt: skip
