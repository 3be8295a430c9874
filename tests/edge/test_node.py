"""The node as a whole: results, intent and faults in, selections and decisions out."""

from ipaddress import IPv4Network

from edge.config.file import load
from edge.decide.intent import Drain, Intent
from edge.decide.node import Node
from edge.policy.announce import Reason, Stance
from edge.policy.health import Result, State
from tests.edge.test_config import GOOD
from tests.edge.test_plan import THREE, config

VIP = IPv4Network("203.0.113.10/32")
OK, BAD = Result(True, "connected", 0.001), Result(False, "connection refused", 0.001)
DRAIN = Drain("2026-01-01T00:00:00Z", 0)


def serving(intent: Intent | None = None) -> Node:
    node = Node(config(), intent or Intent(), now=0.0)
    for name in ("b1", "b2", "b3"):
        node.observe("web", name, OK, 1.0)
    node.forwarder_applied()
    return node


def stance(node: Node, now: float) -> tuple[Stance, Reason]:
    decision = node.decisions(now)[VIP]
    return decision.stance, decision.reason


def test_nothing_is_announced_before_every_backend_has_a_result_and_a_table_is_loaded() -> None:
    node = Node(config(), Intent(), now=0.0)
    node.forwarder_applied()
    assert stance(node, 1.0) == (Stance.WITHDRAWN, Reason.STARTING)
    node = Node(config(), Intent(), now=0.0)
    for name in ("b1", "b2", "b3"):
        node.observe("web", name, OK, 1.0)
    assert stance(node, 1.0) == (Stance.WITHDRAWN, Reason.STARTING)
    assert stance(serving(), 1.0) == (Stance.ANNOUNCED, Reason.SERVING)


def test_a_drain_settles_and_then_withdraws_and_an_undrain_announces() -> None:
    node = serving()
    node.set_intent(Intent(node=DRAIN), 10.0)
    assert stance(node, 10.0) == (Stance.DEPREFERRED, Reason.DRAINING)
    assert stance(node, 10.0 + node.config.drain.settle) == (Stance.WITHDRAWN, Reason.DRAINED)
    node.set_intent(Intent(), 20.0)
    assert stance(node, 20.0) == (Stance.ANNOUNCED, Reason.SERVING)


def test_a_second_drain_does_not_begin_anew() -> None:
    node = serving()
    node.set_intent(Intent(node=DRAIN), 10.0)
    node.set_intent(Intent(node=DRAIN, backends={"b1": DRAIN}), 12.0)
    assert stance(node, 12.0) == (Stance.WITHDRAWN, Reason.DRAINED)


def test_a_stored_drain_never_announces_after_a_restart() -> None:
    node = serving(Intent(node=DRAIN))
    assert stance(node, 2.0) == (Stance.WITHDRAWN, Reason.DRAINED)


def test_every_local_fault_withdraws_until_the_last_is_gone() -> None:
    node = serving()
    assert node.set_fault("tables", "stale")
    assert not node.set_fault("tables", "stale")
    node.set_fault("interfaces", "not attached to eth1")
    assert stance(node, 2.0) == (Stance.WITHDRAWN, Reason.FORWARDER)
    node.set_fault("tables", "")
    assert stance(node, 2.0) == (Stance.WITHDRAWN, Reason.FORWARDER)
    node.set_fault("interfaces", "")
    assert stance(node, 2.0) == (Stance.ANNOUNCED, Reason.SERVING)


def test_backends_that_all_look_down_cost_preference_and_are_all_used() -> None:
    node = serving()
    for moment in range(5):
        for name in ("b1", "b2", "b3"):
            node.observe("web", name, BAD, 2.0 + moment)
    assert stance(node, 9.0) == (Stance.DEPREFERRED, Reason.BACKENDS_DOWN)
    assert node.selections()["web"].panic


def test_stopping_is_a_drain_of_this_process_and_leaves_the_intent_alone() -> None:
    node = serving()
    node.stop(10.0)
    assert stance(node, 10.0) == (Stance.DEPREFERRED, Reason.STOPPING)
    assert stance(node, 11.0) == (Stance.WITHDRAWN, Reason.STOPPING)
    assert node.intent == Intent()


def test_a_reload_keeps_the_health_of_backends_whose_check_stays() -> None:
    node = serving()
    for moment in range(3):
        node.observe("web", "b1", BAD, 2.0 + moment)
    node.reload(config(), 6.0)
    assert node.view("web").down == {"b1"}
    fewer = GOOD.replace("[{name: a-b1, address: 10.0.9.1}]", "[{name: b1, address: 10.0.9.1}]")
    node.reload(load(fewer, "f"), 7.0)
    assert set(node.health) == {("web", "b1")}
    node.reload(load(fewer.replace("type: http", "type: tcp"), "f"), 8.0)
    assert node.health["web", "b1"].state is State.UNKNOWN


def test_a_backend_that_a_reload_adds_waits_outside_and_takes_no_vip_away() -> None:
    node = serving()
    four = THREE[:-1] + ", {name: b4, address: 10.0.9.4}]"
    node.reload(load(GOOD.replace("[{name: a-b1, address: 10.0.9.1}]", four), "f"), 5.0)
    assert stance(node, 5.0) == (Stance.ANNOUNCED, Reason.SERVING)
    slots = {member.key for member in node.selections()["web"].members if member.weight}
    assert slots == {"10.0.9.1", "10.0.9.2", "10.0.9.3"}
    node.observe("web", "b4", OK, 6.0)
    assert "10.0.9.4" in {member.key for member in node.selections()["web"].members if member.weight}


def test_a_pool_of_newcomers_alone_is_used_whole_and_says_nothing() -> None:
    node = serving()
    node.reload(load(GOOD, "f"), 5.0)
    assert stance(node, 5.0) == (Stance.ANNOUNCED, Reason.SERVING)
    assert all(member.weight for member in node.selections()["web"].members)


def test_a_change_of_intent_does_not_stop_the_stopping() -> None:
    node = serving()
    node.stop(10.0)
    node.set_intent(Intent(backends={"b1": DRAIN}), 11.5)
    assert stance(node, 11.5) == (Stance.WITHDRAWN, Reason.STOPPING)


def test_a_result_of_a_backend_that_is_gone_is_ignored() -> None:
    assert serving().observe("web", "gone", OK, 2.0) is None
