"""The failover times of a result and what it allowed them to be. No I/O."""

import re

from lab.report.result import Result

_BOUND = re.compile(r"(-?[0-9.]+)\s*(ms|s)\b")
_ABOUT = ("failover", "routes_within", "last router's kernel")


def failover_times(result: Result) -> dict[str, list[float]]:
    """Seconds by step, over all runs."""
    times: dict[str, list[float]] = {}
    for run in result.runs:
        for each in run.failover_times:
            times.setdefault(each.step, []).append(each.seconds)
    return times


def bounds_of(result: Result) -> list[tuple[str, float]]:
    """What checks about failover_time allow: words and seconds, each bound once.

    A check's `bound` is text for people; the number taken from it is the first that has a unit of time.
    """
    found: dict[float, str] = {}
    checks = [*result.checks, *(check for _, check in result.all_checks())]
    for check in checks:  # those over all runs first: they are about this distribution
        if not any(words in check.name.lower() for words in _ABOUT):
            continue
        if match := _BOUND.search(check.bound):
            seconds = float(match[1]) / (1000 if match[2] == "ms" else 1)
            if seconds > 0:
                found.setdefault(seconds, f"{check.name}: {check.bound}")
    return [(words, seconds) for seconds, words in found.items()]
