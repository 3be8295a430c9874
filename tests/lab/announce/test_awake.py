"""Cores that are kept awake are never idle, and nobody who wants them waits."""

import os
import time
from pathlib import Path

import pytest

from lab.announce.awake import awake

pytestmark = pytest.mark.process


def idle() -> int:
    """Clock ticks in which the cores had nothing to do (proc_stat(5))."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu "))
    return int(line.split()[4])


def test_no_core_is_idle_while_they_are_kept_awake() -> None:
    with awake():
        time.sleep(0.2)
        before = idle()
        time.sleep(0.5)
        slept = idle() - before
    assert slept <= 0.1 * os.cpu_count() * os.sysconf("SC_CLK_TCK"), slept  # type: ignore[operator]
