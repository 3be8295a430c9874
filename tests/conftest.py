"""For every test: where a tier is required, a skip is a failure.

`FAIRHOP_REQUIRE` lists tiers (kernel, lab, containerlab), as CI sets it. A skip names what the machine lacks; on a
machine that must have it, that is an error like any other.
"""

import os
from collections.abc import Generator

import pytest

REQUIRED = frozenset(filter(None, os.environ.get("FAIRHOP_REQUIRE", "").split(",")))


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
