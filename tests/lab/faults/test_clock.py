"""A wall clock that jumps for one program that node-start runs, and for nothing else."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.faults import parse
from lab.faults.clock.preload import library
from lab.faults.injector import Injector
from lab.netns.runtime import NetnsRuntime
from lab.runtime import LabError
from lab.topology import parse as topologies
from lab.topology.model import Topology
from tests.lab.faults.dying import leave
from tests.lab.faults.trio import journal, shell
from tests.lab.machine import marks, wait_until

pytestmark = marks

# Each of two programs, started as node-start starts what it supervises, writes its clocks down again and again.
START = """#!/bin/sh
{functions}
name=one; keep one python3 /etc/watch.py one &
name=two; keep two python3 /etc/watch.py two &
exec sleep 1000000
"""
WATCH = """
import os, sys, time
while True:
    with open(f"/run/{sys.argv[1]}.new", "w") as file:
        file.write(f"{time.time() - time.monotonic()} {time.clock_gettime(time.CLOCK_REALTIME) - time.monotonic()}")
    os.rename(f"/run/{sys.argv[1]}.new", f"/run/{sys.argv[1]}.said")
    time.sleep(0.02)
"""
FILE = """
name: NAME
topology:
  nodes:
    n:
      kind: linux
      image: none
      network-mode: none
      env: {FAIRHOP_CLOCK: LIBRARY}
      binds: ["FOLDER/start:/etc/start:ro", "FOLDER/watch.py:/etc/watch.py:ro"]
      cmd: sh /etc/start
"""


Clocks = tuple[NetnsRuntime, Injector, Topology]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clocks]:
    folder, name = tmp_path_factory.mktemp("clock"), f"fault-clock-{os.getpid()}"
    node_start = Path(__file__).parents[3] / "containerlab" / "images" / "node-start"
    functions = node_start.read_text().partition("case ${1:-} in")[0]
    (folder / "start").write_text(START.format(functions=functions))
    (folder / "watch.py").write_text(WATCH)
    text = FILE.replace("NAME", name).replace("FOLDER", str(folder)).replace("LIBRARY", str(library()))
    topology = topologies.load(text, f"{name}.clab.yml", folder=str(folder))
    with NetnsRuntime(topology) as runtime:
        runtime.deploy(lambda _: None)
        wait_until(lambda: shell(runtime, "n", "cat /run/one.said /run/two.said 2>/dev/null").count(" ") == 2)
        yield runtime, Injector(runtime, topology), topology
        assert journal(topology) == []


def off(runtime: NetnsRuntime, program: str) -> float:
    """Seconds by which the program's wall clock is off; both ways to read it must agree."""
    true = time.time() - time.monotonic()
    first, second = (float(word) - true for word in shell(runtime, "n", f"cat /run/{program}.said").split())
    assert abs(first - second) < 0.5
    return first


@pytest.mark.skipif(not shutil.which("clang") and not shutil.which("gcc"), reason="not installed: clang or gcc")
@pytest.mark.parametrize("seconds", [86_400.0, -3_600.5])
def test_the_clock_of_one_program_jumps_and_jumps_back(lab: Clocks, seconds: float) -> None:
    runtime, injector, _ = lab
    assert abs(off(runtime, "one")) < 0.5
    name = injector.apply(parse.load(f"clock-jump: {{node: n, seconds: {seconds}, process: one}}")).name
    wait_until(lambda: abs(off(runtime, "one") - seconds) < 0.5)
    assert abs(off(runtime, "two")) < 0.5
    assert abs(float(shell(runtime, "n", "date +%s")) - time.time()) < 2
    injector.revert(name)
    wait_until(lambda: abs(off(runtime, "one")) < 0.5)


@pytest.mark.skipif(not shutil.which("clang") and not shutil.which("gcc"), reason="not installed: clang or gcc")
def test_a_clock_that_a_killed_tool_left_wrong_is_set_right_by_another(lab: Clocks) -> None:
    runtime, injector, topology = lab
    leave(topology, "clock-jump: {node: n, seconds: 7200, process: one}")
    wait_until(lambda: abs(off(runtime, "one") - 7200) < 0.5)
    injector.revert_all()
    wait_until(lambda: abs(off(runtime, "one")) < 0.5)


def test_a_program_without_a_clock_of_its_own_is_refused(lab: Clocks) -> None:
    _, injector, _ = lab
    with pytest.raises(LabError, match=r"no clock of its own for 'three', only for one, two: give it FAIRHOP_CLOCK"):
        injector.apply(parse.load("clock-jump: {node: n, seconds: 1, process: three}"))
