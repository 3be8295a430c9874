"""The verdict on all repetitions of a scenario together: percentiles and sums. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import ceil

from lab.scenario import judge_traffic
from lab.scenario.bounds import Limits, shown
from lab.scenario.checks import NOT_MEASURED, Check
from lab.scenario.evidence import RunEvidence
from lab.scenario.model import Percentiles


def repetition_checks(runs: Sequence[RunEvidence]) -> tuple[Check, ...]:
    """The verdict on all repetitions together, as `over_repetitions` asks."""
    if not runs:
        return (Check("repetitions", False, "none", "at least one"),)
    over = runs[0].scenario.over_repetitions
    checks = list(_percentiles("failover_time", over.failover_time, runs, None))
    for step, percentiles in over.steps.items():
        checks += _percentiles(f"{step}: failover_time", percentiles, runs, step)
    for name, bound, words in (
        ("broken", over.broken, "connections broken"),
        ("failed", over.failed, "requests failed"),
    ):
        if bound is not None:
            each = [judge_traffic.count(name, judge_traffic.chosen(name, run.whole.facts, run)) for run in runs]
            checks.append(_sum_check(f"all runs: {words}", bound, each))
    if over.session_drops is not None:
        drops = [run.whole.session_drops for run in runs]
        checks.append(_sum_check("all runs: BGP sessions dropped", over.session_drops, drops))
    return tuple(replace(check, judged=runs[0].judged) for check in checks)


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the least value that at least `share` of all do not exceed. ValueError for none."""
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def _sum_check(title: str, limits: Limits, each: Sequence[float | None]) -> Check:
    known = [value for value in each if value is not None]
    if len(known) < len(each):
        value = f"{NOT_MEASURED} in {len(each) - len(known)} of {len(each)} runs"
        return Check(title, False, value, limits.shown())
    return Check(title, limits.hold(sum(known)), f"{shown(sum(known))} in {len(each)} runs", limits.shown())


def _percentiles(
    title: str, percentiles: Percentiles, runs: Sequence[RunEvidence], step: str | None
) -> Iterator[Check]:
    by_run = [[time for name, time in run.failover_times if step in (None, name)] for run in runs]
    times = [time for each in by_run for time in each]
    for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
        limits: Limits | None = getattr(percentiles, name)
        if limits is None:
            continue
        if not all(by_run):
            value = f"{NOT_MEASURED} in {by_run.count([])} of {len(runs)} runs"
            yield Check(f"{title} {name}", False, value, limits.shown("ms"))
            continue
        took = percentile(times, share)
        text = f"{shown(took, 'ms')} of {len(times)} in {len(runs)} runs"
        yield Check(f"{title} {name}", limits.hold(took), text, limits.shown("ms"))
