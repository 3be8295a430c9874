"""Rates of edges, backends and streams as small multiples over the time axis of the run. No I/O."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from lab.report.result import Run
from lab.report.scale import Scale, nice, quantity
from lab.report.svg import Markup, el, fit, join, num, picture, text
from lab.report.timeaxis import AXIS_HEIGHT, LEFT, RIGHT, WIDTH, axis, grid, scale_of, shades

_TALL, _LOW, _GAP, _TOP = 46.0, 30.0, 12.0, 8.0
_MANY = 8  # panels of one chart that are drawn tall
_POINTS = 480  # of one line; about two pixels each

Pair = tuple[float, float]


def draw(run: Run, what: str, unit: str, series: Mapping[str, Sequence[Pair]]) -> tuple[Markup, list[str]]:
    """One panel for each series, all with the same height of axis; and what was drawn together, in sentences."""
    scale = scale_of(run)
    height = _TALL if len(series) <= _MANY else _LOW
    top = nice(max((value for points in series.values() for _, value in points), default=0.0))
    parts: list[Markup] = []
    thinned = 0
    y = _TOP
    for name, points in series.items():
        upright = Scale(0.0, top, y + height, y)
        shown = thin(points, scale.high)
        thinned += len(shown) < len(points)
        parts += _panel(run, scale, upright, name, shown, unit)
        y += height + _GAP
    y -= _GAP / 2
    drawing = picture(
        WIDTH, y + AXIS_HEIGHT, f"{what} of run {run.number}, {unit}", *parts, axis(scale, y), class_="rates"
    )
    note = f"{thinned} lines have more points than pixels: each stretch is drawn by its lowest and its highest value."
    return drawing, [note] if thinned else []


def draw_streams(run: Run) -> tuple[Markup, list[str]]:
    """One panel for each stream: answered as a line, failed as bars from the axis."""
    scale = scale_of(run)
    height = _TALL if len(run.rates.streams) <= _MANY else _LOW
    parts: list[Markup] = []
    y = _TOP
    for name, points in run.rates.streams.items():
        top = nice(max((max(answered, failed) for _, answered, failed in points), default=0.0))
        upright = Scale(0.0, top, y + height, y)
        shown = thin([(t, answered) for t, answered, _ in points], scale.high)
        parts += _panel(run, scale, upright, name, shown, "answers/s")
        parts += [
            el(
                "rect", el("title", f"{name}: {quantity(failed)} failed in the second at {t:g} s"),
                x=scale.at(t) - 1.5, y=min(upright.at(failed), y + height - 3), width=3,
                height=max(y + height - upright.at(failed), 3), class_="failed-bar",
            )
            for t, failed in thin([(t, failed) for t, _, failed in points if failed], scale.high)
        ]  # fmt: skip
        y += height + _GAP
    y -= _GAP / 2
    label = f"Streams of run {run.number}, answered and failed each second"
    return picture(WIDTH, y + AXIS_HEIGHT, label, *parts, axis(scale, y), class_="rates"), []


def thin(points: Sequence[Pair], span: float) -> list[Pair]:
    """At most about `_POINTS` points: of each stretch of time the first, the lowest, the highest and the last."""
    if len(points) <= _POINTS:
        return list(points)
    width = span / (_POINTS / 4)
    kept: list[Pair] = []
    for _, cell in groupby(points, key=lambda point: int(point[0] / width)):
        members = list(cell)
        low, high = min(members, key=lambda p: p[1]), max(members, key=lambda p: p[1])
        kept += sorted({members[0], low, high, members[-1]})
    return kept


def _panel(run: Run, scale: Scale, upright: Scale, name: str, points: Sequence[Pair], unit: str) -> list[Markup]:
    bottom, top = upright.start, upright.end
    said = _said(name, points, unit)
    places = [(scale.at(t), upright.at(value)) for t, value in points]
    line = " ".join(f"{num(x)},{num(y)}" for x, y in places)
    area = f"{num(places[0][0])},{num(bottom)} {line} {num(places[-1][0])},{num(bottom)}" if places else ""
    return [
        *shades(scale, run.steps, top, bottom),
        *grid(scale, top, bottom),
        el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=bottom, y2=bottom, class_="axis"),
        text(LEFT - 40, (top + bottom) / 2 + 4, fit(name, LEFT - 46, 11), "lane-name", "end"),
        text(LEFT - 6, top + 8, quantity(upright.high), "tick-label", "end"),
        text(LEFT - 6, bottom, "0", "tick-label", "end"),
        el(
            "g",
            el("title", said),
            el("polygon", points=area, class_="area") if area else None,
            el("polyline", points=line, class_="series") if area else None,
            el("rect", x=LEFT, y=top, width=WIDTH - RIGHT - LEFT, height=bottom - top, class_="catch"),
            class_="panel", tabindex=0, role="img", aria_label=said,
        ),
    ]  # fmt: skip


def _said(name: str, points: Sequence[Pair], unit: str) -> str:
    if not points:
        return join(f"{name}: nothing was recorded")
    values = [value for _, value in points]
    between = f"between {points[0][0]:g} and {points[-1][0]:g} s"
    return f"{name}: {quantity(min(values))} to {quantity(max(values))} {unit} {between}"
