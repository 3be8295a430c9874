"""The endurance program in its short form: twelve seconds under load, no false down at any end of ours."""

import shutil
import subprocess
import sys

import pytest

from bgp.bfd.gate import Source
from tests.bgp.bfd.endure import endure
from tests.bgp.bfd.node import ROOT
from tests.bgp.routers.net import needs

pytestmark = pytest.mark.kernel


def test_nothing_goes_down_for_nothing_under_full_load() -> None:
    needs("bird")
    gate = (Source("daemon", 0.05, 20), Source("forwarder", 0.05, 20))  # one second: this is about BFD's own times
    found = endure(10.0, 2, 0.01, gate)
    refused = [remark for remark in found["remarks"] if "SCHED_FIFO" in remark]
    if refused:
        pytest.skip(f"needs the right to real-time scheduling, a busy machine holds no 10 ms {refused[0]}")
    assert (found["near"]["downs"], found["far"]["downs"], found["bird_false_downs"]) == ([], [], 0)
    for side in ("near", "far"):
        for gaps in found[side]["gaps_ms"].values():
            assert gaps["count"] > 900
            assert gaps["longest"] < 25.0


def test_the_program_runs_as_its_help_says() -> None:
    assert shutil.which("nsenter"), "needs util-linux"
    argv = [sys.executable, "-m", "tests.bgp.bfd.endure", "--help"]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "--minutes" in done.stdout and "--load" in done.stdout
