"""How long shipped labs take from nothing to the last router's kernel, as a user runs them."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import labs, machine

pytestmark = [*machine.marks, pytest.mark.calm]

FAIRHOP = Path(sys.executable).with_name("fairhop")


def lab(verb: str, name: str) -> float:
    """Seconds that `fairhop lab VERB` takes on a shipped file."""
    began = time.monotonic()
    file = labs.FOLDER / f"{name}.clab.yml"
    subprocess.run([FAIRHOP, "lab", verb, "--topology", file], check=True, capture_output=True, timeout=120)
    return time.monotonic() - began


@pytest.fixture(params=[("two-site", 10.0), ("three-site", 15.0)], ids=lambda param: param[0])
def wanted(request: pytest.FixtureRequest) -> Iterator[tuple[str, float]]:
    """A lab and the seconds it may take; it is taken down afterwards."""
    yield request.param
    lab("down", request.param[0])


def test_a_lab_is_up_and_converged_in_time(wanted: tuple[str, float]) -> None:
    name, bound = wanted
    times = []
    for _ in range(6):  # a busy machine gets six tries: the bound is on what the lab needs, not on its neighbours
        times.append(lab("up", name))
        if times[-1] < bound:
            return
        lab("down", name)
        time.sleep(5.0)  # what the last one left to do
    pytest.fail(f"{name}: up took {times} seconds, expected one under {bound:g}")
