"""The outcomes of a run as one picture: every value, its median, and the bound, on a scale of powers of ten."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.announce.figures import FAIL, Outcome

_COLOURS = {"frr": "#4477aa", "bird": "#228833", "gobgp": "#aa7744"}


def draw(outcomes: Sequence[Outcome], file: Path) -> None:
    """Write `file` in the format of its suffix. A red line is a bound, a cross at the right an event without effect."""
    from matplotlib.figure import Figure as Picture  # noqa: PLC0415 - half a second, and only a picture needs it

    shown = [outcome for outcome in outcomes if outcome.values and outcome.of.unit == "ms"]
    picture = Picture(figsize=(11, 1.5 + 0.3 * max(len(shown), 1)), layout="constrained")
    axis = picture.subplots()
    axis.set_xscale("log")
    highest = max((value for each in shown for value in each.values if math.isfinite(value)), default=1.0)
    for place, outcome in enumerate(shown):
        _draw_row(axis, place, outcome, 3 * highest)
    axis.set_yticks(range(len(shown)), [f"{each.row}, {each.kind}" for each in shown], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("ms from the event to the router's kernel (GoBGP: its RIB)")
    axis.grid(axis="x", alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    picture.savefig(file, dpi=80)


def _draw_row(axis: Any, place: int, outcome: Outcome, never: float) -> None:
    real = [value for value in outcome.values if math.isfinite(value)]
    colour = _COLOURS[outcome.kind]
    axis.scatter(real, [place] * len(real), s=14, color=colour, alpha=0.5, linewidths=0)
    if real:
        axis.vlines(statistics.median(real), place - 0.3, place + 0.3, color=colour, linewidth=2)
    if len(real) < len(outcome.values):
        axis.scatter([never], [place], marker="x", s=40, color="#cc3311")
    if outcome.bound is not None:
        style = "dashed" if outcome.verdict == FAIL else "solid"
        axis.vlines(outcome.bound, place - 0.42, place + 0.42, color="#cc3311", linewidth=1.5, linestyles=style)
