"""The main job's report as text. No I/O."""

from collections.abc import Iterator

from lab.job.demo import Report
from lab.job.scenario import StepResult


def lines(report: Report) -> Iterator[str]:
    """The whole report, line by line; plain text, never cut to a width."""
    yield f"the lab on {report.runtime}: up {report.up:.1f} s, converged {report.converged:.1f} s"
    yield ""
    yield "next hops in each router's kernel before the first step"
    for router, prefix, hops in report.next_hops:
        yield f"  {router:<8} {prefix:<18} {hops}"
    yield ""
    heads = f"{'step':<13} {'command':>8} {'routes':>8} {'broken':>13} {'failed':>11} {'gap':>8} {'moved':>6}"
    yield f"{heads}  flows per edge"
    for result in report.steps:
        yield _row(result)
    yield "command: until the node's daemon had it; routes: until the last router's kernel had changed"
    yield ""
    for result in report.steps:
        if result.step.remark:
            yield f"{result.step.name}: {result.step.remark}."
    yield ""
    yield from map(str, report.checks)
    failed = sum(not check.passed for check in report.checks)
    total = report.total
    yield (
        f"VERDICT {'PASS' if report.passed else 'FAIL'}: {len(report.checks) - failed} of {len(report.checks)} checks "
        f"passed; {total.opened} connections opened, {total.replies} of {total.requests} requests answered"
    )


def _row(result: StepResult) -> str:
    facts = result.facts
    routes = "-" if result.routes is None else f"{result.routes * 1000:.0f} ms"
    taken = "-" if result.taken is None else f"{result.taken * 1000:.0f} ms"
    edges = " ".join(f"{edge} {count}" for edge, count in sorted(result.edges.items()))
    return (
        f"{result.step.name:<13} {taken:>8} {routes:>8} {f'{facts.broken_connections} of {facts.population}':>13} "
        f"{f'{facts.failed_requests} of {facts.requests}':>11} {facts.longest_gap * 1000:>5.0f} ms "
        f"{result.moved:>6}  {edges}"
    )
