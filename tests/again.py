"""A test of times that failed while the machine itself stood still is played again, and says so.

Only the tests marked `calm`, which run alone, and only on the word of the witnesses: a failure without a pause stands.
A real-time program of ours that hogs a core looks like a pause to them; so a test is played TIMES times at the most.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Final

import pytest
from _pytest.runner import runtestprotocol

from tests.pauses import Pause, Pauses, witnessed

STILL: Final = 0.02
"""Seconds: the shortest bounds of these tests are some tens of milliseconds."""
TIMES: Final = 3
_WITNESSES: Final = pytest.StashKey[Pauses | None]()


def longest(pauses: Iterable[Pause]) -> float:
    """The longest in seconds, 0 if there was none."""
    return max((pause.end - pause.start for pause in pauses), default=0.0)


def play(item: pytest.Item, pauses: Pauses, nextitem: pytest.Item | None) -> list[pytest.TestReport]:
    """The reports of the first play that passed or that the machine did not stand still in; at most TIMES plays."""
    for left in reversed(range(TIMES)):
        before = len(pauses.found)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        stood = longest(pauses.found[before:])
        if not left or stood < STILL or not any(report.failed for report in reports):
            break
        writer = item.config.get_terminal_writer()
        writer.line(f"\n{item.nodeid} failed while the machine stood still for {stood * 1e3:.0f} ms: played again")
        item._initrequest()  # type: ignore[attr-defined]  # its fixtures anew, as pytest-rerunfailures does it
    return reports


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Pytest's own protocol for all but the tests of times."""
    pauses = _witnesses(item.config) if item.get_closest_marker("calm") else None
    if pauses is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in play(item, pauses, nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _witnesses(config: pytest.Config) -> Pauses | None:
    """One set for the whole run, None without the right to them."""
    if _WITNESSES not in config.stash:
        stack = ExitStack()
        try:
            config.stash[_WITNESSES] = stack.enter_context(witnessed())
        except PermissionError:
            config.stash[_WITNESSES] = None
        config.add_cleanup(stack.close)
    return config.stash[_WITNESSES]
