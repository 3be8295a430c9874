"""The endurance program in its short form: twelve seconds under load, no false down at any end of ours."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from typing import Final

import pytest

from bgp.bfd.gate import Source
from tests.bgp.bfd.endure import endure
from tests.bgp.bfd.node import ROOT
from tests.bgp.routers.net import needs
from tests.pauses import Pause, covering, witnessed

pytestmark = [pytest.mark.kernel, pytest.mark.calm]


RUNS: Final = 4
STILL: Final = 8.0
"""Milliseconds: of two packets 10 ms apart, the second comes too late for the bound on gaps after such a pause."""


def test_nothing_goes_down_for_nothing_under_full_load() -> None:
    """Until a run in which the machine did not stand still; in none does a session go down for another reason.

    A process of ours that hogged its core would look like such a machine, in every run: then this is no pass either.
    """
    needs("bird")
    gate = (Source("daemon", 0.05, 20), Source("forwarder", 0.05, 20))  # one second: this is about BFD's own times
    for _ in range(RUNS):
        found = endure(10.0, 2, 0.01, gate)
        refused = [remark for remark in found["remarks"] if "SCHED_FIFO" in remark]
        if refused:
            pytest.skip(f"needs the right to real-time scheduling, a busy machine holds no 10 ms {refused[0]}")
        ends = [found["near"], found["far"]]
        assert [end["in_pauses"] for end in ends] == [end["false_downs"] for end in ends], found
        gaps = [gap for end in ends for gap in end["gaps_ms"].values()]
        assert all(gap["count"] > 900 for gap in gaps), gaps
        if not any(length >= STILL for _, _, length in found["pauses"]):
            assert found["bird_false_downs"] == 0, found
            assert all(gap["longest"] < 25.0 for gap in gaps), found
            return
    pytest.skip(f"needs a machine that does not stand still: it did in each of {RUNS} runs, lately {found['pauses']}")


def test_a_down_is_the_machines_only_where_a_long_enough_pause_lies_in_its_detection_time() -> None:
    pauses = [Pause(0, 10.0, 10.02), Pause(1, 50.0, 50.006)]
    assert covering(pauses, 10.03, 0.03, 0.01) == pauses[:1]
    assert covering(pauses, 9.997, 0.03, 0.01) == pauses[:1], "told a little early by another core"
    assert covering(pauses, 10.06, 0.03, 0.01) == []
    assert covering(pauses, 50.01, 0.03, 0.01) == [], "too short to be the cause"
    twice = [*pauses, Pause(0, 50.008, 50.014)]
    assert covering(twice, 50.02, 0.03, 0.01) == twice[1:], "two short ones together are long enough"


def test_a_witness_sees_a_core_that_is_taken_from_it() -> None:
    core = min(os.sched_getaffinity(0))
    with witnessed() as pauses:
        hog = multiprocessing.Process(target=_take, args=(core,))
        hog.start()
        hog.join(10)
        found = pauses.found
    assert any(pause.core == core and pause.end - pause.start > 0.025 for pause in found), found


def _take(core: int) -> None:
    """As a pause of the machine looks to the witness: somebody of its own rank runs for 30 ms."""
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))
    end = time.monotonic() + 0.03
    while time.monotonic() < end:
        pass


def test_the_program_runs_as_its_help_says() -> None:
    assert shutil.which("nsenter"), "needs util-linux"
    argv = [sys.executable, "-m", "tests.bgp.bfd.endure", "--help"]
    done = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "--minutes" in done.stdout and "--load" in done.stdout
