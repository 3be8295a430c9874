"""For every test: where a tier is required, a skip is a failure.

`FAIRHOP_REQUIRE` lists tiers (kernel, lab, containerlab), as CI sets it. A skip names what the machine lacks; on a
machine that must have it, that is an error like any other.
"""

import os
import signal
from collections.abc import Generator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from tests.again import pytest_runtest_protocol

__all__ = ["pytest_runtest_protocol"]
LABS = ("tests/lab/", "tests/containerlab/")
for _number, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:  # as under nohup: programs that tests signal would inherit it
        signal.signal(_number, _default)
REQUIRED = frozenset(filter(None, os.environ.get("FAIRHOP_REQUIRE", "").split(",")))


class OneForTheLabs(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Of the workers one has all the labs; the others share the files of the rest.

    The names of labs, their namespaces and Docker's daemon are the machine's: two labs of one name cannot stand side by
    side. The scheduler begins with the longest row, which is theirs.
    """

    def _split_scope(self, nodeid: str) -> str:
        return "labs" if nodeid.startswith(LABS) else str(super()._split_scope(nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneForTheLabs | None:
    """Ours for `--dist loadgroup`, whose own marks pytest 9.2 and xdist 3.8 cannot agree on."""
    return OneForTheLabs(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    tiers = {mark.name for mark in item.iter_markers()} & REQUIRED
    if report.skipped and tiers and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"the tier {', '.join(sorted(tiers))} is required here, and this test was skipped: {reason}"
    return report
