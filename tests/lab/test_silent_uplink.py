"""A link that loses one direction in silence: the edge goes on by its other router, and its backend looks well.

Four nodes of one-site: an edge on two routers with BFD, and a backend behind one of them.
"""

import json
import time
from collections.abc import Iterator

import pytest

from lab import planning
from lab.faults import parse as faults
from lab.faults.injector import Injector
from lab.render import folder, lab_files
from lab.topology import parse
from tests.lab import labs
from tests.lab.machine import marks, wait_until
from tests.lab.running import RunningLab, running_lab

pytestmark = [*marks, pytest.mark.calm]
NAME = "fh-silent"
NODES = """  nodes:
    a-r1: {group: router, labels: {fairhop.site: a, fairhop.asn: 65101, fairhop.bfd: 60x3}}
    a-r2: {group: router, labels: {fairhop.site: a, fairhop.asn: 65102, fairhop.bfd: 60x3}}
    a-e1: {group: edge, labels: {fairhop.site: a, fairhop.asn: 65110}}
    a-b1: {group: backend, labels: {fairhop.site: a}}
  links:
    - {endpoints: ["a-r1:eth1", "a-r2:eth1"], mtu: 1500}
    - {endpoints: ["a-r1:eth2", "a-e1:eth1"], mtu: 1500}
    - {endpoints: ["a-r2:eth2", "a-e1:eth2"], mtu: 1500}
    - {endpoints: ["a-r2:eth3", "a-b1:eth1"], mtu: 1500}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLab]:
    place = tmp_path_factory.mktemp("silent")
    (place / "images").symlink_to(labs.FOLDER / "images")
    text = (labs.FOLDER / "one-site.clab.yml").read_text().partition("  nodes:\n")[0].replace("one-site", NAME) + NODES
    topology = parse.load(text, str(place / f"{NAME}.clab.yml"), folder=str(place))
    wanted = lab_files.render(planning.plan(topology))
    folder.write(place, wanted, folder.compare(place, wanted))
    with running_lab(NAME, topology) as running:
        yield running


@pytest.mark.parametrize("direction", ["out", "in"])
def test_an_uplink_that_is_silent_one_way_is_left_by_packets_and_checks(lab: RunningLab, direction: str) -> None:
    """Without that half of the checks fail, and the backend is down within a second or two."""
    wait_until(lambda: bfd(lab) == {"up"}, 20)
    before = time.monotonic()
    with Injector(lab.runtime, lab.topology) as injector:
        injector.apply(faults.load(f'loss: {{on: "a-r1:eth2", percent: 100, direction: {direction}}}'))
        wait_until(lambda: "silent routers" in told(lab, before), 2)
        time.sleep(4)
        assert {subject.split()[0] for subject in told(lab, before)} & {"backend", "vip"} == set()
    wait_until(lambda: told(lab, before).count("silent routers") == 2, 20)
    wait_until(lambda: bfd(lab) == {"up"}, 20)


def bfd(lab: RunningLab) -> set[str]:
    """The states of the edge's BFD sessions."""
    return {peer["bfd"]["state"] for peer in lab.facts("a-e1", "bgp", "status")["peers"]}


def told(lab: RunningLab, since: float) -> list[str]:
    """The subjects of the edge's events."""
    lines = lab.fairhop("a-e1", "events", "--since", "0", "--json").splitlines()
    return [row["subject"] for row in map(json.loads, lines) if row["monotonic"] >= since]
