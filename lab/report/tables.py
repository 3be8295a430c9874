"""The report's tables: what the charts show, as data, and what no chart shows. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from lab.report.result import Check, Result, Run, Step
from lab.report.scale import quantity, seconds
from lab.report.svg import Content, Markup, el, join

_FEW_CHECKS, _MANY_CHECKS, _MANY_MARKS, _MANY_CHANGES = 24, 400, 300, 300
_DURATIONS = frozenset(["longest_gap", "slowest_request", "stall"])
_COUNTS = (
    "opened", "established", "pings", "answers", "requests", "replies", "sent", "received", "duplicated", "transfers",
    "transferred_bytes",
)  # fmt: skip
_BAD = ("open_failed", "broken", "failed", "transfers_failed")

Cell = Content | float


def badge(passed: bool) -> Markup:
    """PASS or FAIL, as a word with a sign and a colour."""
    return el("span", "✓ PASS" if passed else "✗ FAIL", class_=f"badge {'pass' if passed else 'fail'}")


def table(head: Sequence[str], rows: Iterable[Sequence[Cell]], numeric: Iterable[int] = (), class_: str = "") -> Markup:
    """A table; `numeric`: the columns that hold numbers. A row whose first cell is a FAIL badge is coloured."""
    right = set(numeric)
    headings = (el("th", words, scope="col", class_="n" if i in right else None) for i, words in enumerate(head))
    body = [
        el(
            "tr", *(el("td", _cell(cell), class_="n" if i in right else None) for i, cell in enumerate(row)),
            class_="failed" if row and "✗" in str(row[0]) else None,
        )
        for row in rows
    ]  # fmt: skip
    inner = el("table", el("thead", el("tr", *headings)), el("tbody", *body), class_=class_ or None)
    return el("div", inner, class_="wide")


def data(summary: str, *children: Content) -> Markup:
    """A table that is folded until it is asked for."""
    return el("details", el("summary", summary), *children, class_="data")


def checks(result: Result) -> Markup:
    """What was judged over all runs and whatever failed; the other checks folded, of very many the first."""
    every = sorted(result.all_checks(), key=lambda pair: pair[1].passed)
    over_all = {id(check) for check in result.checks}
    shown = [pair for pair in every if not pair[1].passed or id(pair[1]) in over_all]
    rest = [pair for pair in every if pair[1].passed and id(pair[1]) not in over_all]
    few = len(rest) <= _FEW_CHECKS
    head = ("verdict", "where", "what", "measured", "allowed")
    first = table(head, [_check_row(where, check) for where, check in (every if few else shown)])
    if few:
        return first
    folded = table(head, [_check_row(where, check) for where, check in rest[:_MANY_CHECKS]])
    more = _more(len(rest) - _MANY_CHECKS, "checks that passed")
    return join(first if shown else None, data(f"{len(rest):,} checks of single runs and steps passed", folded, more))


def _check_row(where: str, check: Check) -> tuple[Cell, ...]:
    verdict: Content = badge(check.passed) if check.judged else f"not judged: {'met' if check.passed else 'not met'}"
    return verdict, where, check.name, check.value, check.bound


def runs(result: Result) -> Markup:
    """One row for each repetition."""
    rows = [
        (
            badge(run.passed), str(run.number), seconds(run.up), seconds(run.converged), seconds(run.duration),
            f"{len(run.marks):,}", f"{len(run.route_changes):,}",
            ", ".join(f"{each.step} {seconds(each.seconds)}" for each in run.failover_times) or "-",
        )
        for run in result.runs
    ]  # fmt: skip
    head = ("verdict", "run", "nodes up", "converged", "traffic", "marks", "route changes", "failover_time")
    return table(head, rows, range(1, 7))


def steps(run: Run) -> Markup:
    """One row for each step."""
    rows = []
    for number, step in enumerate(run.steps, 1):
        passed = all(check.holds for check in step.checks)
        judged = any(check.judged for check in step.checks)
        shares = ", ".join(f"{edge} {quantity(count)}" for edge, count in step.edges.items()) or "-"
        moved = "-" if step.moved is None else f"{step.moved:,}"
        times = seconds(step.routes), seconds(step.taken)
        rows.append(
            (badge(passed) if judged else "not judged", str(number), step.name, step.action or "-",
             f"{step.t:.2f}", f"{step.until:.2f}", *times, moved, shares, _remark(step))
        )  # fmt: skip
    head = ("verdict", "#", "step", "action", "from (s)", "to (s)", "routes", "taken", "moved", "edges", "remark")
    return table(head, rows, (1, 4, 5, 6, 7, 8))


def streams(run: Run) -> Markup | None:
    """What each stream saw in each step; only columns that hold anything."""
    found = [(step.name, stream, facts) for step in run.steps for stream, facts in step.traffic.items()]
    found += [("the whole run", stream, facts) for stream, facts in run.traffic.items()]
    counts = [key for key in _COUNTS if any(facts.get(key) for _, _, facts in found)]
    durations = [key for key in sorted(_DURATIONS) if any(facts.get(key) for _, _, facts in found)]
    if not found:
        return None
    rows = [
        (step, stream, *(_count(facts.get(key)) for key in counts), *(_trouble(facts.get(key)) for key in _BAD),
         *(seconds(facts[key]) if key in facts else "-" for key in durations))
        for step, stream, facts in found
    ]  # fmt: skip
    head = ("step", "stream", *counts, *_BAD, *durations)
    return table([words.replace("_", " ") for words in head], rows, range(2, len(head)))


def reasons(run: Run) -> Markup | None:
    """Packets by reason, edge and step."""
    rows = [
        (step.name, edge, reason, f"{count:,}")
        for step in run.steps
        for edge, counts in step.reasons.items()
        for reason, count in sorted(counts.items())
        if count
    ]
    return table(("step", "edge", "reason", "packets"), rows, (3,)) if rows else None


def marks(run: Run) -> Markup:
    """The first marks in order of time."""
    first = islice(sorted(run.marks, key=lambda mark: mark.t), _MANY_MARKS)
    rows = [
        (f"{m.t:.3f}", m.kind, m.stream, m.flow, m.edge, m.backend, "-" if m.length is None else seconds(m.length))
        for m in first
    ]
    shown = table(("at (s)", "kind", "stream", "flow", "edge", "backend", "length"), rows, (0, 6))
    return join(shown, _more(len(run.marks) - len(rows), "marks"))


def changes(run: Run) -> Markup:
    """The first route changes in order of time."""
    first = islice(sorted(run.route_changes, key=lambda change: change.t), _MANY_CHANGES)
    rows = [(f"{c.t:.3f}", c.router, c.prefix, ", ".join(c.hops) or "no next hop") for c in first]
    shown = table(("at (s)", "router", "prefix", "next hops"), rows, (0,))
    return join(shown, _more(len(run.route_changes) - len(rows), "route changes"))


def next_hops(run: Run) -> Markup:
    """What routers' kernels did with each prefix."""
    rows = [(hop.router, hop.prefix, hop.next_hops) for hop in run.next_hops]
    return table(("router", "prefix", "next hops"), rows)


def left_out(run: Run) -> Markup | None:
    """What was expected and could not be looked at: no pass."""
    notes = (el("p", f"Not judged: {what}: {why}", class_="note") for what, why in run.left_out.items())
    return join(*notes) or None


def _remark(step: Step) -> str:
    """The step's own remark, why it was not finished, and when each router had followed."""
    error = f"not finished: {step.error}" if step.error else ""
    routers = ", ".join(f"{router} {seconds(after)}" for router, after in step.routers.items() if after is not None)
    return "; ".join(filter(None, (step.remark, error, f"routes at {routers}" if routers else "")))


def faults(run: Run) -> Markup:
    """Every fault."""
    rows = [(f"{f.t:.2f}", "the end" if f.until is None else f"{f.until:.2f}", f.name, f.text) for f in run.faults]
    return table(("from (s)", "to (s)", "name", "what was done"), rows, (0, 1))


def rates(series: Mapping[str, Sequence[tuple[float, ...]]], unit: str) -> Markup:
    """What a chart of rates shows, in four numbers a line."""
    rows = []
    for name, points in series.items():
        values = [point[1] for point in points]
        if values:
            mean = sum(values) / len(values)
            rows.append((name, quantity(min(values)), quantity(mean), quantity(max(values)), f"{len(values):,}"))
    return table((unit, "lowest", "mean", "highest", "points"), rows, range(1, 5))


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and values."""
    return table(("what", "value"), [pair for pair in pairs if pair[1]], class_="facts")


def _more(count: int, what: str) -> Markup | None:
    return (
        el("p", f"{count:,} more {what} are left out here; the JSON file has them.", class_="note")
        if count > 0
        else None
    )


def _cell(cell: Cell) -> Content:
    return cell if isinstance(cell, str) or cell is None else quantity(cell)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _trouble(value: Any) -> str:
    """Failures by reason."""
    if isinstance(value, Mapping):
        return ", ".join(f"{count:,} {reason}" for reason, count in value.items()) or "0"
    return _count(value)
