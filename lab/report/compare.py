"""One scenario on several labs side by side: a table for each thing measured, with a row for each step. No I/O.

Of several repetitions counts are sums, a gap is the longest and failover_time the median.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.report.result import Result, ResultError, Step
from lab.report.scale import percentile, seconds

Rows = Sequence[Sequence[str]]
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """What was measured; the first of `rows` has the headings: the step, then each lab."""

    title: str
    rows: Rows


def tables(results: Sequence[Result]) -> list[Table]:
    """The tables of each scenario that ran on more than one lab. ResultError where none did."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.scenario.name, []).append(result)
    found = [table for name, group in groups.items() if len(group) > 1 for table in _of(name, group, len(groups) > 1)]
    if not found:
        names = ", ".join(f"{each.scenario.name} on {each.topology.name}" for each in results)
        raise ResultError(f"nothing to compare: expected one scenario on several labs, not {names}")
    return found


def as_text(found: Sequence[Table]) -> Iterator[str]:
    """In columns, never cut."""
    for table in found:
        widths = [max(len(row[column]) for row in table.rows) for column in range(len(table.rows[0]))]
        yield table.title
        for row in table.rows:
            yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield ""


def as_markdown(found: Sequence[Table]) -> Iterator[str]:
    """As a document has them."""
    for table in found:
        head, *rows = table.rows
        yield f"**{table.title}**"
        yield ""
        yield _line(head)
        yield _line(["---"] * len(head))
        yield from map(_line, rows)
        yield ""


def system(result: Result) -> str:
    """A lab, and what serves the VIPs there."""
    target = result.topology.target
    return result.topology.name if target in ("", result.topology.name) else f"{target} ({result.topology.name})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _of(name: str, group: Sequence[Result], several: bool) -> Iterator[Table]:
    names = list(dict.fromkeys(step.name for result in group for run in result.runs for step in run.steps))
    for title, cell in _MEASURES:
        rows = [[step, *(cell(result, step) for result in group)] for step in names]
        if any(value != _NONE for row in rows for value in row[1:]):
            head = ["step", *map(system, group)]
            yield Table(f"{name}: {title}" if several else title[0].upper() + title[1:], [head, *rows])


def _steps(result: Result, name: str) -> list[Step]:
    return [step for run in result.runs for step in run.steps if step.name == name]


def _facts(result: Result, name: str) -> list[Mapping[str, Any]]:
    return [facts for step in _steps(result, name) for facts in step.traffic.values()]


def _broken(result: Result, name: str) -> str:
    """Flows that broke, of those that were open when the step began."""
    facts = [each for each in _facts(result, name) if each.get("established_before") or each.get("broken")]
    return _of_all(_sum(facts, "broken"), sum(each.get("established_before", 0) for each in facts))


def _failed(result: Result, name: str) -> str:
    facts = _facts(result, name)
    return _of_all(_sum(facts, "failed"), sum(each.get("requests", 0) for each in facts))


def _gap(result: Result, name: str) -> str:
    gaps = [each.get("longest_gap", 0.0) for each in _facts(result, name) if each.get("pings") or each.get("sent")]
    return seconds(max(gaps)) if gaps else _NONE


def _slowest(result: Result, name: str) -> str:
    slowest = [each.get("slowest_request", 0.0) for each in _facts(result, name) if each.get("requests")]
    return seconds(max(slowest)) if slowest else _NONE


def _failover(result: Result, name: str) -> str:
    times = [each.seconds for run in result.runs for each in run.failover_times if each.step == name]
    return seconds(percentile(times, 0.5)) if times else _NONE


def _sum(facts: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(sum(each.get(key, {}).values()) for each in facts)


def _of_all(count: int, every: int) -> str:
    return f"{count:,} of {every:,}" if every else _NONE


_MEASURES: tuple[tuple[str, Callable[[Result, str], str]], ...] = (
    ("flows broken, of those open when the step began", _broken),
    ("requests failed", _failed),
    ("longest time from a ping of a flow to its answer", _gap),
    ("slowest request", _slowest),
    ("failover_time: from the action's effect to the last router's kernel", _failover),
)
