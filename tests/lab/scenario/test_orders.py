"""When an edge that is not fairhop had its order: what `node-start drain` says, by the clock of the engine."""

import time
from pathlib import Path

import pytest

from lab.runtime import LabError
from lab.scenario.actions import _ordered


def test_the_moment_is_of_the_engines_clock() -> None:
    before = time.monotonic()
    uptime = Path("/proc/uptime").read_text().split()[0]
    moment = _ordered(f"vips4: disabled\nvips6: disabled\nat {uptime}\n")
    assert before - 0.02 <= moment <= time.monotonic()


@pytest.mark.parametrize("said", ["", "vips4: disabled\n", "at\n", "done at 12.5\n"])
def test_no_moment_is_an_error_and_not_taken_for_now(said: str) -> None:
    with pytest.raises(LabError, match="expected a last line 'at SECONDS'"):
        _ordered(said)
