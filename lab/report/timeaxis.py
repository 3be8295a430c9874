"""The time axis that all charts of a run share: the same margins, ticks and bands for steps. No I/O."""

from collections.abc import Sequence

from lab.report.result import Run, Step
from lab.report.scale import Scale, ticks
from lab.report.svg import Markup, el, text

WIDTH, LEFT, RIGHT = 1120.0, 132.0, 18.0
AXIS_HEIGHT = 34.0


def span(run: Run) -> float:
    """Seconds that the axis covers: the run, and whatever was recorded after it."""
    ends = [run.duration, *(step.until for step in run.steps), *(mark.t for mark in run.marks)]
    ends += [change.t for change in run.route_changes]
    return max(*ends, 0.001)


def scale_of(run: Run) -> Scale:
    """Seconds to pixels."""
    return Scale(0.0, span(run), LEFT, WIDTH - RIGHT)


def axis(scale: Scale, y: float) -> Markup:
    """Ticks and the unit below the charts."""
    marks = []
    for tick in ticks(scale.high, 12):
        x = scale.at(tick)
        marks.append(el("line", x1=x, x2=x, y1=y, y2=y + 4, class_="tick"))
        marks.append(text(x, y + 15, f"{tick:g}", "tick-label", "middle"))
    line = el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="axis")
    unit = text((LEFT + WIDTH - RIGHT) / 2, y + 29, "seconds since the traffic began", "axis-title", "middle")
    return el("g", line, *marks, unit)


def grid(scale: Scale, top: float, bottom: float) -> list[Markup]:
    """A faint line at each tick."""
    xs = [scale.at(tick) for tick in ticks(scale.high, 12)]
    return [el("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid") for x in xs]


def shades(scale: Scale, steps: Sequence[Step], top: float, bottom: float) -> list[Markup]:
    """Each step as a band behind a chart, every other one darker."""
    return [
        el(
            "rect", x=scale.at(step.t), y=top, width=max(scale.at(step.until) - scale.at(step.t), 1.0),
            height=bottom - top, class_=f"shade shade-{index % 2}",
        )
        for index, step in enumerate(steps)
    ]  # fmt: skip
