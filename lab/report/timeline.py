"""A run's timeline as SVG: steps as bands, faults as bars, marks by kind, route changes by router. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lab.report import marks
from lab.report.result import FaultSpan, RouteChange, Run, Step
from lab.report.scale import Scale, seconds
from lab.report.svg import Markup, el, fit, picture, text, width_of
from lab.report.timeaxis import AXIS_HEIGHT, LEFT, RIGHT, WIDTH, axis, grid, scale_of, shades

_STEPS, _LANE, _GAP, _TOP = 30.0, 22.0, 10.0, 4.0
_CHANGES_SAID = 6


@dataclass
class _Sheet:
    """What is drawn so far, from above."""

    scale: Scale
    y: float = _TOP
    parts: list[Markup] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def heading(self, words: str, y: float) -> None:
        """The name of a lane, left of it."""
        self.parts.append(text(LEFT - 10, y, fit(words, LEFT - 14, 11), "lane-name", "end"))


def draw(run: Run) -> tuple[Markup, list[str]]:
    """The timeline, and what it left out or drew together, in sentences."""
    sheet = _Sheet(scale_of(run))
    _steps(sheet, run.steps)
    shaded_from = sheet.y
    _faults(sheet, run.faults)
    _marks(sheet, run)
    _routes(sheet, run.route_changes)
    if sheet.y == shaded_from:
        sheet.y += _GAP
    backdrop = [*shades(sheet.scale, run.steps, shaded_from, sheet.y), *grid(sheet.scale, shaded_from, sheet.y)]
    drawing = picture(
        WIDTH, sheet.y + AXIS_HEIGHT, f"Timeline of run {run.number}", *backdrop, *sheet.parts,
        axis(sheet.scale, sheet.y), class_="timeline",
    )  # fmt: skip
    return drawing, sheet.notes


def _steps(sheet: _Sheet, steps: Sequence[Step]) -> None:
    """One band each; its number always, its name where there is room. All names stand in the table of steps."""
    if not steps:
        return
    sheet.heading("steps", sheet.y + _STEPS / 2 + 4)
    for index, step in enumerate(steps):
        x = sheet.scale.at(step.t)
        width = max(sheet.scale.at(step.until) - x, 2.0)
        failed = sum(not check.holds for check in step.checks)
        name = f"{index + 1} {step.name}"
        label = name if width_of(name) <= width - 8 else fit(name, width - 8) if width > 60 else str(index + 1)
        said = f"step {index + 1}: {step.name}; {step.action or 'no action'}; {step.t:.3f} to {step.until:.3f} s"
        if step.routes is not None:
            said += f"; routes within {seconds(step.routes)}"
        said += f"; {failed} of {len(step.checks)} checks failed" if failed else f"; {len(step.checks)} checks passed"
        words = text(x + 5, sheet.y + _STEPS / 2 + 4, label, "step-name") if width_of(label) <= width - 4 else None
        band = el("rect", x=x, y=sheet.y, width=width, height=_STEPS - 4, rx=3)
        kind = "step step-failed" if failed else f"step step-{index % 2}"
        group = el("g", band, words)
        sheet.parts.append(marks.focusable(group, said, index == 0, kind))
    sheet.y += _STEPS


def _faults(sheet: _Sheet, faults: Sequence[FaultSpan]) -> None:
    """Bars, in as many rows as overlap; a name stands on its bar or right of it where nothing else is."""
    if not faults:
        return
    sheet.y += _GAP / 2
    sheet.heading("faults", sheet.y + _LANE / 2 + 4)
    rows: list[float] = []
    for index, fault in enumerate(sorted(faults, key=lambda fault: fault.t)):
        x, end = sheet.scale.at(fault.t), sheet.scale.at(sheet.scale.high if fault.until is None else fault.until)
        end = max(end, x + 3)
        words = fault.text or fault.name
        inside = width_of(words) <= end - x - 10
        room = WIDTH - RIGHT - end - 6
        label = words if inside else fit(words, max(room, 0.0))
        taken = end if inside else end + 8 + width_of(label)
        row = next((i for i, busy in enumerate(rows) if busy <= x), len(rows))
        rows[row : row + 1] = [taken + 6]
        y = sheet.y + row * _LANE
        until = "the end" if fault.until is None else f"{fault.until:.3f} s"
        said = f"fault {fault.name}: {fault.text}; {fault.t:.3f} s to {until}"
        bar = el("rect", x=x, y=y + 3, width=end - x, height=_LANE - 6, rx=3)
        place = text(x + 6 if inside else end + 5, y + _LANE / 2 + 4, label, "on-bar" if inside else "fault-name")
        sheet.parts.append(marks.focusable(el("g", bar, place), said, index == 0, "fault"))
    sheet.y += len(rows) * _LANE


def _marks(sheet: _Sheet, run: Run) -> None:
    kinds = sorted({mark.kind for mark in run.marks})
    if not kinds:
        return
    sheet.y += _GAP
    drawn = 0
    for kind in kinds:
        of_kind = [mark for mark in run.marks if mark.kind == kind]
        middle = sheet.y + _LANE / 2
        sheet.heading(f"{kind} ({len(of_kind):,})", middle + 4)
        sheet.parts.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=middle, y2=middle, class_="lane"))
        symbols, count = marks.lane(of_kind, middle, sheet.scale)
        sheet.parts.append(el("g", *symbols, class_="lane-marks", role="group", aria_label=f"{kind} marks"))
        drawn += count
        sheet.y += _LANE
    if drawn < len(run.marks):
        sheet.notes.append(
            f"{len(run.marks):,} marks are {drawn:,} symbols: those that would cover each other are one, larger, "
            "and its text says how many it stands for."
        )


def _routes(sheet: _Sheet, changes: Sequence[RouteChange]) -> None:
    if not changes:
        return
    sheet.y += _GAP
    drawn = 0
    for router in sorted({change.router for change in changes}):
        of_router = [change for change in changes if change.router == router]
        found = marks.clusters(of_router, lambda change: change.t, sheet.scale)
        sheet.heading(f"routes {router}", sheet.y + _LANE / 2 + 4)
        middle = sheet.y + _LANE / 2
        sheet.parts.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=middle, y2=middle, class_="lane"))
        symbols = [
            marks.focusable(
                el("rect", x=cluster.x - 1.5, y=sheet.y + 3, width=3, height=_LANE - 6, rx=1),
                _change(cluster, members), index == 0,
                "route route-none" if any(not member.hops for member in members) else "route",
            )
            for index, (cluster, members) in enumerate(found)
        ]  # fmt: skip
        sheet.parts.append(
            el("g", *symbols, class_="lane-marks", role="group", aria_label=f"route changes at {router}")
        )
        drawn += len(found)
        sheet.y += _LANE
    if drawn < len(changes):
        sheet.notes.append(
            f"{len(changes):,} route changes are drawn as {drawn:,} ticks: a tick's text names its changes."
        )


def _change(cluster: marks.Cluster, members: Iterable[RouteChange]) -> str:
    said = [f"{change.prefix} via {', '.join(change.hops) or 'nothing'}" for change in members]
    more = [f"and {len(said) - _CHANGES_SAID} more"] if len(said) > _CHANGES_SAID else []
    return f"{marks.when(cluster)}: " + "; ".join([*said[:_CHANGES_SAID], *more])
