"""Local checks: a fault of this node, of one service, and only while it lasts."""

from edge.config.file import load
from edge.decide.local_health import LocalHealth
from edge.policy.health import Result, State
from tests.edge.test_config import GOOD

CHECKED = "pool: web, local_check: {type: process, pidfile: /a, hold_down: 0}}"
OTHER = "\n  - {name: other, vips: [203.0.113.11], protocol: tcp, port: 80, pool: web}"
TWO = GOOD.replace("pool: web}", CHECKED + OTHER)


def test_a_failing_one_is_a_fault_of_its_service_alone_until_it_is_well_again() -> None:
    local = LocalHealth(load(TWO, "f.yaml"), 0.0)
    assert (local.surveyed, local.faults(), set(local.health)) == (False, {}, {"web"})
    assert local.observe("other", Result(False, "x", 0.0), 1.0) is None
    local.observe("web", Result(True, "process 7", 0.0), 1.0)
    assert local.surveyed
    transition = local.observe("web", Result(False, "process 7 ended", 0.0, certain=True), 2.0)
    assert transition is not None
    assert transition.new is State.DOWN
    assert local.faults() == {"web": "process 7 ended"}
    for now in (3.0, 4.0):
        local.observe("web", Result(True, "process 8", 0.0), now)
    assert local.faults() == {}


def test_a_reload_keeps_what_stays_and_forgets_what_goes() -> None:
    local = LocalHealth(load(TWO, "f.yaml"), 0.0)
    local.observe("web", Result(False, "gone", 0.0), 1.0)
    local.follow(load(TWO, "f.yaml"), 2.0)
    assert local.faults() == {"web": "gone"}
    local.follow(load(TWO.replace("pidfile: /a", "pidfile: /b"), "f.yaml"), 2.0)
    assert (local.faults(), local.surveyed) == ({}, False)
    local.follow(load(GOOD, "f.yaml"), 3.0)
    assert (dict(local.health), local.surveyed) == ({}, True)
