"""Faults of nodes and their programs, and a tool that dies with faults on its hands."""

import time
from collections.abc import Iterator

import pytest

from lab.faults import parse
from lab.faults.injector import Injector
from lab.runtime import LabError
from tests.lab.faults.dying import leave
from tests.lab.faults.trio import Lab, answered, as_before, shell, trio
from tests.lab.machine import marks, wait_until

pytestmark = marks


@pytest.fixture(scope="module")
def module_lab() -> Iterator[Lab]:
    with trio("nodes") as lab:
        yield lab


@pytest.fixture
def lab(module_lab: Lab) -> Iterator[Lab]:
    with as_before(module_lab):
        yield module_lab


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


@pytest.mark.parametrize("path", ["/tmp", "/var/log"])
def test_a_full_disk_takes_no_byte_and_shows_what_was_there(lab: Lab, path: str) -> None:
    shell(lab.runtime, "h2", f"echo before > {path}/old")
    lab.apply(f"disk-full: {{node: h2, path: {path}}}")
    assert shell(lab.runtime, "h2", f"cat {path}/old") == "before\n"
    said = shell(lab.runtime, "h2", f"echo more 2>&1 >> {path}/old; head -c 100000 /dev/zero 2>&1 > {path}/new")
    assert "No space left" in shell(lab.runtime, "h2", f"head -c 9000 /dev/zero 2>&1 > {path}/new") + said
    lab.injector.revert_all()
    assert shell(lab.runtime, "h2", f"echo after > {path}/new; cat {path}/old {path}/new") == "before\nafter\n"


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


@pytest.mark.parametrize(
    "spelled",
    [
        ('loss: {on: "r:eth2", percent: 100}', 'link-down: {on: "r:eth1"}', "pause: {node: h2}"),
        (
            'rate: {on: "r:eth1", mbit: 8, direction: both}',
            'bfd-down: {on: "r:eth2"}',
            "disk-full: {node: h2}",
            "ecmp-rehash: {node: r}",
            'udp-flood: {node: h1, to: "10.9.2.1:80", rate: 100}',
            'blackhole: {on: "r:eth2"}',
        ),
        (
            'delay: {on: "r:eth2", ms: 5}',
            'ptb-storm: {node: r, to: "10.9.2.1:80", rate: 100}',
            'syn-flood: {node: h1, to: "10.9.2.1:80", rate: 100}',
            'mtu: {on: "r:eth1", bytes: 1300}',
            "freeze: {node: h2, process: sleep 1000000}",
            "store-loss: {nodes: [h2]}",
        ),
        ("store-loss: {nodes: [h1], how: pause}", "kill: {node: h2}"),
        ("store-loss: {nodes: [h2], how: kill}", 'loss: {on: "r:eth1", percent: 100}'),
    ],
    ids=lambda spelled: spelled[0].partition(":")[0],
)
def test_what_a_killed_tool_left_is_undone_by_another(lab: Lab, spelled: tuple[str, ...]) -> None:
    kinds = [each.partition(":")[0] for each in spelled]
    leave(lab.topology, *spelled)
    assert [each.name for each in Injector(lab.runtime, lab.topology).active()] == kinds
    if "pause" not in spelled[0]:
        assert not lab.ping("10.9.2.1", "-c", "1", "-W", "1")[1]
    began = time.monotonic()
    Injector(lab.runtime, lab.topology).revert_all()
    assert time.monotonic() - began < 5
    wait_until(lambda: lab.ping("10.9.2.1", "-c", "1", "-W", "1")[1], 5.0)
