"""Faults of the edges, routers and links of a lab that runs fairhop and FRR: each does what it says, and ends."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lab.faults import parse
from lab.faults.injector import Injector
from lab.job import convergence
from lab.runtime import LabError
from tests.lab import labs
from tests.lab.faults.dying import leave
from tests.lab.faults.trio import journal
from tests.lab.machine import marks, wait_until
from tests.lab.running import RunningLab, running_lab

pytestmark = marks
SOON = 40.0  # s: how long a busy machine may take to come back
EDGES = ("a-e1", "a-e2")


class Broken:
    """A lab to break, and what its edges say."""

    def __init__(self, lab: RunningLab) -> None:
        self.lab = lab
        self.injector = Injector(lab.runtime, lab.topology)

    def apply(self, spelled: str, name: str = "") -> str:
        return self.injector.apply(parse.load(spelled), name).text

    def facts(self, edge: str) -> Any:
        """What the edge says of itself; a status that is bad news has an exit code of its own."""
        return json.loads(self.lab.runtime.exec(edge, ["fairhop", "status", "--json"]).stdout)

    def backends(self, edge: str = "a-e1", pool: str = "web") -> dict[str, str]:
        found = next(each for each in self.facts(edge)["pools"] if each["name"] == pool)
        return {each["name"]: each["state"] for each in found["backends"]}

    def announced_by(self, *edges: str) -> Callable[[], bool]:
        """Whether every router's kernel has the routes of these edges only."""
        wanted = convergence.expected(self.lab.plan, edges)

        def now() -> bool:
            try:
                self.lab.watch.wait_for(wanted, 0.1)
            except LabError:
                return False
            return True

        return now


@pytest.fixture(scope="module")
def module_lab() -> Iterator[Broken]:
    with running_lab("fh-faults", labs.topology("one-site")) as running:
        yield Broken(running)


@pytest.fixture
def lab(module_lab: Broken) -> Iterator[Broken]:
    yield module_lab
    module_lab.injector.revert_all()
    assert journal(module_lab.lab.topology) == []
    for edge in EDGES:
        said = module_lab.lab.shell(edge, "nft list ruleset; grep fault_ /proc/mounts || true")
        assert said == ""
    wait_until(module_lab.announced_by(*EDGES), SOON)
    module_lab.lab.await_backends("a-e1", SOON)


def test_values_of_a_configuration_are_replaced_and_come_back(lab: Broken) -> None:
    text = lab.apply("config: {node: a-e1, set: {pools.web.backends.a-b1.weight: 0}}")
    assert "reloaded" in text
    wait_until(lambda: slots_of(lab, "a-b1") == 0, SOON)
    with pytest.raises(LabError, match="another file by a fault already"):
        lab.apply("config: {node: a-e1, set: {node: x}}")
    lab.injector.revert_all()
    wait_until(lambda: slots_of(lab, "a-b1") > 0, SOON)


def slots_of(lab: Broken, backend: str) -> int:
    return next(int(each["slots"]) for each in lab.facts("a-e1")["pools"][0]["backends"] if each["name"] == backend)


def test_a_refused_configuration_is_an_error_unless_it_is_expected(lab: Broken) -> None:
    wrong = "config: {node: a-e1, set: {pools.web.check.interval: -1}"
    with pytest.raises(LabError, match=r"was refused, exit code 78: .*interval is -1"):
        lab.apply(wrong + "}")
    assert journal(lab.lab.topology) == []
    assert "refused with exit code 78" in lab.apply(wrong + ", refused: true}")
    lab.injector.revert_all()
    with pytest.raises(LabError, match="must be refused, but was taken"):
        lab.apply("config: {node: a-e1, set: {pools.web.check.interval: 0.6}, refused: true}")


def test_a_checker_that_sees_all_down_de_prefers_the_edge_and_withdraws_nothing(lab: Broken) -> None:
    lab.apply("checker-lies: {node: a-e1}")
    wait_until(lambda: set(lab.backends().values()) == {"down"}, SOON)
    wait_until(lambda: stances(lab) == {"de-preferred"}, SOON)
    assert set(lab.backends("a-e2").values()) == {"up"}
    held = "vtysh -c 'show bgp ipv4 unicast 203.0.113.10/32 json'"
    wait_until(lambda: len(json.loads(lab.lab.shell("a-r1", held)).get("paths", ())) >= 2, SOON)


def stances(lab: Broken) -> set[str]:
    return {each["stance"] for each in lab.facts("a-e1")["vips"]}


def test_a_checker_that_lies_about_one_backend_and_one_that_says_up(lab: Broken) -> None:
    lab.apply("checker-lies: {node: a-e1, backends: [10.0.8.1]}")
    wait_until(lambda: lab.backends() == {"a-b1": "up", "a-b2": "down", "a-b3": "up"}, SOON)
    lab.injector.revert_all()
    lab.lab.await_backends("a-e1", SOON)
    lab.apply("checker-lies: {node: a-e1, answer: up}")
    lab.apply("kill: {node: a-b1}")
    wait_until(lambda: lab.backends("a-e2")["a-b1"] == "down", SOON)
    assert lab.backends() == {"a-b1": "up", "a-b2": "up", "a-b3": "up"}
    lab.injector.revert("checker-lies")
    wait_until(lambda: lab.backends()["a-b1"] == "down", SOON)


def test_a_checker_that_flaps_lies_and_tells_the_truth_in_turn(lab: Broken) -> None:
    """The rules are looked at, and not what the checks make of them: they sleep every other time."""
    lab.apply("checker-lies: {node: a-e1, backends: [10.0.9.1], every: 0.4}")  # one that no other test takes down
    said = []
    for _ in range(24):
        said.append("flags dormant" in lab.lab.shell("a-e1", "nft list ruleset"))
        time.sleep(0.1)
    assert not said[0], "it lies first"
    assert sum(one is not other for one, other in pairwise(said)) >= 4
    wait_until(lambda: lab.backends()["a-b3"] == "down", SOON)


@pytest.mark.parametrize(
    "spelled",
    [
        "config: {node: a-e1, set: {pools.web.check.interval: 0.6}}",
        "checker-hangs: {node: a-e1}",
        "checker-lies: {node: a-e1, answer: up, every: 0.3}",
    ],
)
def test_what_a_killed_tool_left_at_an_edge_is_undone_by_another(lab: Broken, spelled: str) -> None:
    leave(lab.lab.topology, spelled)
    (left,) = lab.injector.active()
    lab.injector.revert(left.name)
    assert lab.lab.shell("a-e1", "nft list ruleset; grep fault_ /proc/mounts || true") == ""
    assert not lab.injector.active()


def test_a_checker_that_hangs_hears_nothing_or_is_replaced(lab: Broken) -> None:
    lab.apply("checker-hangs: {node: a-e1, how: drop, backends: [10.0.8.1]}")
    wait_until(lambda: lab.backends() == {"a-b1": "up", "a-b2": "down", "a-b3": "up"}, SOON)
    lab.injector.revert_all()
    first = checker(lab)
    assert "stopped" in lab.apply("checker-hangs: {node: a-e1}")
    wait_until(lambda: checker(lab) not in ("", first), SOON)


def checker(lab: Broken) -> str:
    return lab.lab.shell("a-e1", "pgrep -f edge.checks | tail -n 1")


@pytest.mark.parametrize("how", ["clear", "rst"])
def test_a_session_that_is_reset_ends_and_comes_back(lab: Broken, how: str) -> None:
    before = session(lab)["connectionsDropped"]
    lab.apply(f"session-reset: {{node: a-r1, peer: 10.0.3.1, how: {how}}}")
    wait_until(lambda: session(lab)["connectionsDropped"] > before, SOON)
    wait_until(lambda: session(lab)["bgpState"] == "Established", SOON)


def session(lab: Broken) -> dict[str, Any]:
    said = json.loads(lab.lab.shell("a-r1", "vtysh -c 'show bgp neighbors 10.0.3.1 json'"))
    return dict(said["10.0.3.1"])


def test_an_uplink_that_is_down_takes_its_routes_and_brings_them_back(lab: Broken) -> None:
    lab.apply('link-down: {on: "a-e1:eth1"}')
    wait_until(lambda: hops(lab, "a-r1") == {"10.0.5.1"}, SOON)
    lab.injector.revert_all()
    wait_until(lambda: hops(lab, "a-r1") == {"10.0.3.1", "10.0.5.1"}, SOON)


def hops(lab: Broken, router: str) -> set[str]:
    """The next hops of the first VIP in the router's kernel."""
    (route,) = json.loads(lab.lab.shell(router, "ip -j route show 203.0.113.10")) or [{}]
    return {each["gateway"] for each in route.get("nexthops", [route]) if "gateway" in each}


def test_a_loss_at_an_edge_is_made_at_its_router(lab: Broken) -> None:
    assert lab.apply('loss: {on: "a-e1:eth1", percent: 1, direction: in}').endswith("egress of a-r1:eth3")
    assert "fault_loss" in lab.lab.shell("a-r1", "nft list ruleset")


def test_without_bfd_the_session_ends_in_its_time_and_the_routes_with_it(lab: Broken) -> None:
    """FRR takes BGP up again without BFD from the peer, so that the routes are soon back, fault or not."""
    before, since = session(lab)["connectionsDropped"], time.monotonic()
    lab.apply('bfd-down: {on: "a-e1:eth1"}')
    wait_until(lambda: session(lab)["connectionsDropped"] > before, SOON)
    wait_until(lambda: [each for each in lab.lab.watch.events(since) if each.router == "a-r1"], SOON)


@pytest.mark.parametrize(
    ("node", "process", "command"),
    [
        ("a-e1", "fairhop run", "fairhop run"),
        ("a-e1", "exabgp", "exabgp"),
        ("a-e1", "bgp.bfd", "bgp.bfd"),
        ("a-e1", "edge.checks", "edge.checks"),
        ("a-r1", "bgpd", "bgpd"),
    ],
)
def test_a_program_is_frozen_by_its_name(lab: Broken, node: str, process: str, command: str) -> None:
    lab.apply(f"freeze: {{node: {node}, process: {process}}}")
    try:
        said = lab.lab.shell(node, "ps -eo stat=,args=")
        stopped = [line for line in said.splitlines() if line.startswith("T")]
        assert stopped
        assert all(command in line for line in stopped), stopped
    finally:
        lab.injector.revert_all()


@pytest.fixture
def copy(lab: Broken) -> Iterator[Path]:
    """The lab's file under the name that it runs by."""
    file = labs.FOLDER / f"{lab.lab.topology.name}.clab.yml"
    text = (labs.FOLDER / "one-site.clab.yml").read_text()
    file.write_text(text.replace("name: one-site", f"name: {lab.lab.topology.name}"))
    yield file
    file.unlink()


def test_the_commands_make_list_and_undo_a_fault(lab: Broken, copy: Path) -> None:
    made = json.loads(fault(copy, "add", 'loss: {on: "a-r1:eth3", percent: 1}', "--name", "x", "--json"))
    assert (made["name"], made["fault"]) == ("x", {"loss": {"on": "a-r1:eth3", "percent": 1.0}})
    assert [each["name"] for each in json.loads(fault(copy, "list", "--json"))["faults"]] == ["x"]
    began = time.monotonic()
    fault(copy, "add", 'blackhole: {on: "a-r1:eth7"}', "--for", "0.5")
    assert time.monotonic() - began >= 0.5
    assert journal(lab.lab.topology) == ["x"]
    fault(copy, "clear", "x")
    assert journal(lab.lab.topology) == []


def test_what_frr_runs_is_saved_and_is_a_configuration(lab: Broken, copy: Path, tmp_path: Path) -> None:
    said = command("save", "--folder", str(tmp_path), "-t", str(copy))
    routers = {"transit", "a-r1", "a-r2", "client-a", "client-t"}
    files = [Path(line) for line in said.splitlines()]
    assert {file.relative_to(tmp_path) for file in files} == {Path(node, "frr.conf") for node in routers}
    for file in files:
        asn = lab.lab.plan.nodes[file.parent.name].asn
        text = file.read_text()
        assert f"router bgp {asn}\n" in text
        running = lab.lab.shell(file.parent.name, "vtysh -c 'show running-config no-header'")
        assert text.splitlines() == running.lstrip("\n").splitlines()
        checked = subprocess.run(["vtysh", "-C", "-f", str(file)], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def fault(file: object, verb: str, *words: str) -> str:
    return command("fault", verb, *words, "-t", str(file))


def command(*words: str) -> str:
    argv = [sys.executable, "-c", "from lab.main import main; main()", "lab", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
