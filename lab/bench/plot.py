"""The figures of a run as one picture: what a packet costs, what scale adds, tables, and packets a second."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.bench.figures import Figure
from lab.bench.run import Report

Bar = tuple[str, Figure, float | None]  # name, figure, target


def draw(report: Report, file: Path) -> None:
    """Write `file` in the format of its suffix. Whiskers are minimum and maximum, red lines the targets."""
    from matplotlib.figure import Figure as Picture  # noqa: PLC0415 - half a second, and only the bench needs it

    panels = [(title, bars) for title, bars in _panels(report) if bars]
    picture = Picture(figsize=(11, 1.2 + sum(0.5 + 0.32 * len(bars) for _, bars in panels)), layout="constrained")
    axes = picture.subplots(len(panels), 1, squeeze=False, height_ratios=[len(bars) + 1.5 for _, bars in panels])
    for axis, (title, bars) in zip(axes[:, 0], panels, strict=True):
        _draw_bars(axis, title, bars)
    picture.savefig(file)


def _panels(report: Report) -> Sequence[tuple[str, list[Bar]]]:
    targets = {verdict.figure: verdict.bound for verdict in report.verdicts}
    packets: list[Bar] = [(f"{row.case}, {row.flows}", row.net, targets.get(row.net)) for row in report.packets]
    scale: list[Bar] = [
        (f"{row.scale.services} services, {row.scale.backends} backends", row.net, None) for row in report.scale
    ]
    tables: list[Bar] = [
        (f"{row.members} backends, {row.size} slots", built, targets.get(built))
        for row in report.tables
        for built in [row.native or row.python]
    ]
    generations: list[Bar] = [(name, figure, None) for name, figure in report.generations.items()]
    veth: list[Bar] = [(f"{r.program}, {r.what}", r.figure, targets.get(r.figure)) for r in report.veth]
    return (
        ("One packet, ns net of the driver", packets),
        ("TCP over IPv4 at scale, ns net of the driver", scale),
        ("Building a lookup_table, ms", tables),
        ("A generation of 65,537 slots, ms", generations),
        ("veth, million packets a second and core", veth),
    )


def _draw_bars(axis: Any, title: str, bars: Sequence[Bar]) -> None:
    places = range(len(bars))
    medians = [figure.median for _, figure, _ in bars]
    whiskers = [[f.median - f.min for _, f, _ in bars], [f.max - f.median for _, f, _ in bars]]
    axis.barh(places, medians, xerr=whiskers, height=0.65, color="#4477aa", ecolor="#222222", capsize=2)
    for place, (_, figure, target) in zip(places, bars, strict=True):
        axis.text(figure.max, place, f" {figure.median:.3g}", va="center", fontsize=8)
        if target is not None:
            axis.vlines(target, place - 0.45, place + 0.45, color="#cc3311", linewidth=2)
    axis.set_yticks(list(places), [name for name, _, _ in bars], fontsize=8)
    axis.invert_yaxis()
    axis.set_title(title, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
