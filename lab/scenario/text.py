"""A scenario's result as text: plain, never cut to a width. No I/O."""

from collections.abc import Iterator, Sequence

from lab.scenario.evidence import RunEvidence, StepEvidence
from lab.scenario.judge import all_checks
from lab.scenario.result import Result
from lab.traffic.facts import merge_facts


def report(result: Result) -> Iterator[str]:
    """The whole report of a scenario, every run of it."""
    for run in result.runs:
        yield from _run(run, result)
    if result.checks:
        yield from map(str, result.checks)
    yield verdict(result)


def brief(result: Result) -> Iterator[str]:
    """The checks alone, and the verdict: what a suite prints."""
    scenario = result.scenario
    yield f"{result.name}: {scenario.title}"
    for run in result.runs:
        where = f"run {run.number}: " if len(result.runs) > 1 else ""
        for check in all_checks(run):
            yield f"[{check.word}] {where}{check.facts}"
        yield from left_out(run)
    yield from map(str, result.checks)


def left_out(run: RunEvidence) -> Iterator[str]:
    """What was not judged because the lab cannot show it."""
    for name, why in run.left_out.items():
        yield f"not judged: {name} ({why})"


def verdict(result: Result) -> str:
    """The last line."""
    checks = [check for check in result.every_check if check.judged]
    passed = sum(check.passed for check in checks)
    words = f"VERDICT {'PASS' if result.passed else 'FAIL'}: {passed} of {len(checks)} checks passed"
    facts = [each for run in result.runs for each in run.whole.facts.values()]
    if not facts:
        return words
    opened, answered = sum(each.opened for each in facts), sum(each.replies for each in facts)
    requests = sum(each.requests for each in facts)
    return f"{words}; {opened} connections opened, {answered} of {requests} requests answered"


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows in columns, the first of them the headings."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _run(run: RunEvidence, result: Result) -> Iterator[str]:
    if len(result.runs) > 1:
        yield f"run {run.number}"
    if run.up is not None and run.converged is not None:
        yield f"the lab on {result.around.runtime}: up {run.up:.1f} s, converged {run.converged:.1f} s"
        yield ""
    if run.next_hops:
        yield "next hops in each router's kernel before the first step"
        for router, prefix, hops in run.next_hops:
            yield f"  {router:<8} {prefix:<18} {hops}"
        yield ""
    width = max(13, *(len(step.step.name) for step in run.steps)) if run.steps else 13
    heads = f"{'step':<{width}} {'command':>8} {'routes':>8} {'broken':>13} {'failed':>11} {'gap':>8} {'moved':>6}"
    yield f"{heads}  flows per edge"
    for step in run.steps:
        yield _row(step, width)
    yield "command: until the action had its effect; routes: until the last router's kernel had changed"
    yield ""
    for step in run.steps:
        if step.step.remark:
            yield f"{step.step.name}: {step.step.remark}."
    yield from left_out(run)
    yield ""
    yield from map(str, all_checks(run))


def _row(step: StepEvidence, width: int) -> str:
    routes = "-" if step.routes is None else f"{step.routes * 1000:.0f} ms"
    taken = "-" if step.taken is None else f"{step.taken * 1000:.0f} ms"
    edges = " ".join(f"{edge} {count}" for edge, count in sorted(step.edges.items()))
    broken = failed = gap = "-"
    if step.facts:
        facts = merge_facts([*step.facts.values()])
        broken = f"{facts.broken_connections} of {facts.population}"
        failed = f"{facts.failed_requests} of {facts.requests}"
        gap = f"{facts.longest_gap * 1000:.0f} ms"
    moved = "-" if step.moved is None else str(step.moved)
    row = f"{step.step.name:<{width}} {taken:>8} {routes:>8} {broken:>13} {failed:>11} {gap:>8} {moved:>6}  {edges}"
    return row.rstrip()
