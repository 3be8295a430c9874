"""Faults of nodes and their programs, and a tool that dies with faults on its hands."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.faults import parse
from lab.faults.injector import Injector
from lab.runtime import LabError
from tests.lab.faults.test_links import Lab
from tests.lab.faults.trio import answered, journal, same_state, shell, trio, whole_state
from tests.lab.machine import marks, wait_until

pytestmark = marks


@pytest.fixture(scope="module")
def module_lab() -> Iterator[Lab]:
    with trio("nodes") as (runtime, topology):
        yield Lab(runtime, topology)


@pytest.fixture
def lab(module_lab: Lab) -> Iterator[Lab]:
    before = whole_state(module_lab.runtime, module_lab.topology)
    yield module_lab
    module_lab.injector.revert_all()
    assert answered(module_lab.runtime, "h1", "10.9.2.1")
    same_state(module_lab.runtime, module_lab.topology, before)
    assert journal(module_lab.topology) == []


def states(lab: Lab, word: str) -> list[str]:
    """The state letters of h2's processes with a word in their command line."""
    said = shell(lab.runtime, "h2", "ps -eo stat=,args=")
    return [line[0] for line in said.splitlines() if word in line and "ps -eo" not in line and "tini" not in line]


def test_a_paused_node_is_stopped_whole_and_one_frozen_program_stays_frozen(lab: Lab) -> None:
    freeze = lab.apply("freeze: {node: h2, process: sleep 1000000}")
    assert states(lab, "sleep 1000000") == ["T"]
    assert states(lab, "sleep 2000000") == ["S"]
    pause = lab.apply("pause: {node: h2}")
    assert set(states(lab, "sleep")) == {"T"}
    lab.injector.revert(pause)
    assert states(lab, "sleep 1000000") == ["T"]
    assert states(lab, "sleep 2000000") == ["S"]
    lab.injector.revert(freeze)
    assert states(lab, "sleep 1000000") == ["S"]


def test_a_killed_node_comes_back_with_its_links(lab: Lab) -> None:
    lab.apply("kill: {node: h2}")
    assert {node.name: node.state for node in lab.runtime.nodes()}["h2"] == "exited"
    assert answered(lab.runtime, "h1", "10.9.2.1")  # the kernel of a namespace answers without any process


def test_a_killed_process_is_gone_and_that_is_all(lab: Lab) -> None:
    shell(lab.runtime, "h2", "setsid sleep 31 >/dev/null 2>&1 &")
    lab.apply("kill-process: {node: h2, process: sleep 31}")
    wait_until(lambda: states(lab, "sleep 31") == [])
    with pytest.raises(LabError, match=r"no process with 'sleep 31' .* it runs .*sleep 1000000"):
        lab.apply("kill-process: {node: h2, process: sleep 31}")


def test_a_router_restarts(lab: Lab) -> None:
    first = {node.name: node.pid for node in lab.runtime.nodes()}["h2"]
    applied = lab.injector.apply(parse.load("router-restart: {node: h2, down: 0.3}"))
    assert "ready again after 0." in applied.text
    assert {node.name: node.pid for node in lab.runtime.nodes()}["h2"] not in (0, first)


def test_a_store_is_cut_off(lab: Lab) -> None:
    with pytest.raises(LabError, match="no node has the role store"):
        lab.apply("store-loss: {}")
    lab.apply("store-loss: {nodes: [h2]}")
    assert not lab.ping("10.9.2.1", "-c", "1", "-W", "1")[1]


TOOL = """
import sys, time
from lab.faults import parse
from lab.faults.injector import Injector
from lab.netns.runtime import NetnsRuntime
from lab.topology import parse as topologies
from tests.lab.faults.trio import FILE
topology = topologies.load(FILE.replace("NAME", sys.argv[1]), "x.clab.yml", folder=".")
injector = Injector(NetnsRuntime(topology), topology)
for spelled in ('loss: {on: "r:eth2", percent: 100}', 'link-down: {on: "r:eth1"}', 'pause: {node: h2}'):
    injector.apply(parse.load(spelled))
print("made", flush=True)
time.sleep(1000)
"""


def test_what_a_killed_tool_left_is_undone_by_another(lab: Lab) -> None:
    argv = [sys.executable, "-c", TOOL, lab.topology.name]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as tool:
        assert tool.stdout
        assert tool.stdout.readline() == "made\n"
        os.kill(tool.pid, signal.SIGKILL)
    assert not lab.ping("10.9.2.1", "-c", "1", "-W", "1")[1]
    assert [each.name for each in Injector(lab.runtime, lab.topology).active()] == ["loss", "link-down", "pause"]
    began = time.monotonic()
    Injector(lab.runtime, lab.topology).revert_all()
    assert time.monotonic() - began < 5
