"""What is said of a VIP: a table of cases, and what no input may cause."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.announce import Decision, NodeFacts, Others, Reason, Stance, VipFacts, decide

WELL = NodeFacts(True, True, None, 1.0)
UP = VipFacts()
NONE_LEFT, SOME_LEFT = Others(0, 2), Others(1)
LEAVING = NodeFacts(True, True, 99.0, 1.0)  # its time to settle is over
CASES = [
    (WELL, UP, Stance.ANNOUNCED, Reason.SERVING),
    (WELL, VipFacts(backends_up=False), Stance.DEPREFERRED, Reason.BACKENDS_DOWN),
    (WELL, VipFacts(enough=False), Stance.DEPREFERRED, Reason.TOO_FEW),
    (NodeFacts(False, True, None, 1.0), UP, Stance.WITHDRAWN, Reason.STARTING),
    (NodeFacts(True, True, None, 1.0, announce_from=100.5), UP, Stance.WITHDRAWN, Reason.SETTLING),
    (NodeFacts(True, True, None, 1.0, announce_from=100.0), UP, Stance.ANNOUNCED, Reason.SERVING),
    (NodeFacts(True, False, None, 1.0), UP, Stance.WITHDRAWN, Reason.FORWARDER),
    (WELL, VipFacts(service_ok=False), Stance.WITHDRAWN, Reason.SERVICE_DOWN),
    (WELL, VipFacts(silent_since=100.0), Stance.WITHDRAWN, Reason.CHECKER_SILENT),
    (WELL, VipFacts(silent_since=99.5, others=SOME_LEFT), Stance.DEPREFERRED, Reason.CHECKER_SILENT),
    (WELL, VipFacts(silent_since=99.0, others=SOME_LEFT), Stance.WITHDRAWN, Reason.CHECKER_SILENT),
    (WELL, VipFacts(silent_since=99.0, others=NONE_LEFT), Stance.DEPREFERRED, Reason.LAST),
    (WELL, VipFacts(skewed_since=99.5, others=SOME_LEFT), Stance.DEPREFERRED, Reason.SKEWED),
    (WELL, VipFacts(skewed_since=99.0, others=SOME_LEFT), Stance.WITHDRAWN, Reason.SKEWED),
    (WELL, VipFacts(skewed_since=99.0, others=NONE_LEFT), Stance.DEPREFERRED, Reason.LAST),
    (WELL, VipFacts(skewed_since=99.0), Stance.ANNOUNCED, Reason.SERVING),
    (NodeFacts(True, True, 99.5, 1.0), UP, Stance.DEPREFERRED, Reason.DRAINING),
    (LEAVING, UP, Stance.WITHDRAWN, Reason.DRAINED),
    (LEAVING, VipFacts(others=SOME_LEFT), Stance.WITHDRAWN, Reason.DRAINED),
    (LEAVING, VipFacts(others=NONE_LEFT), Stance.DEPREFERRED, Reason.LAST),
    (dataclasses.replace(LEAVING, forced=True), VipFacts(others=NONE_LEFT), Stance.WITHDRAWN, Reason.DRAINED),
    (dataclasses.replace(LEAVING, stopping=True), VipFacts(others=NONE_LEFT), Stance.WITHDRAWN, Reason.STOPPING),
    (NodeFacts(True, True, 99.5, 1.0, stopping=True), UP, Stance.DEPREFERRED, Reason.STOPPING),
    (NodeFacts(True, False, 99.5, 1.0), UP, Stance.WITHDRAWN, Reason.FORWARDER),
    (WELL, VipFacts(drain_since=99.5), Stance.DEPREFERRED, Reason.DRAINING),
    (WELL, VipFacts(drain_since=99.0), Stance.WITHDRAWN, Reason.DRAINED),
    (WELL, VipFacts(drain_since=99.0, others=NONE_LEFT), Stance.DEPREFERRED, Reason.LAST),
    (WELL, VipFacts(drain_since=99.0, forced=True, others=NONE_LEFT), Stance.WITHDRAWN, Reason.DRAINED),
    (WELL, VipFacts(blackholed=True), Stance.BLACKHOLED, Reason.BLACKHOLED),
    (NodeFacts(False, False, None, 1.0), VipFacts(blackholed=True), Stance.BLACKHOLED, Reason.BLACKHOLED),
    (dataclasses.replace(LEAVING, stopping=True), VipFacts(blackholed=True), Stance.WITHDRAWN, Reason.STOPPING),
]


@pytest.mark.parametrize(("node", "vip", "stance", "reason"), CASES)
def test_decisions(node: NodeFacts, vip: VipFacts, stance: Stance, reason: Reason) -> None:
    decision = decide(node, vip, now=100.0)
    assert (decision.stance, decision.reason) == (stance, reason)


def test_every_reason_is_met_by_a_case_or_is_that_of_damping() -> None:
    assert {reason for *_, reason in CASES} == set(Reason) - {Reason.HELD}


def test_a_drain_says_when_it_goes_on() -> None:
    assert decide(NodeFacts(True, True, 99.5, 1.0), UP, now=100.0).until == 100.5


OTHERS = st.none() | st.builds(Others, st.integers(0, 2), st.integers(0, 2))
NODES = st.builds(
    NodeFacts,
    ready=st.booleans(),
    forwarding=st.booleans(),
    drain_since=st.none() | st.floats(0, 200),
    settle=st.floats(0, 60),
    stopping=st.booleans(),
    forced=st.booleans(),
    announce_from=st.none() | st.floats(0, 200),
)
VIPS = st.builds(
    VipFacts,
    *[st.booleans()] * 3,
    silent_since=st.none() | st.floats(0, 200),
    skewed_since=st.none() | st.floats(0, 200),
    drain_since=st.none() | st.floats(0, 200),
    forced=st.booleans(),
    blackholed=st.booleans(),
    others=OTHERS,
)


@given(NODES, VIPS)
def test_what_backends_look_like_never_withdraws(node: NodeFacts, vip: VipFacts) -> None:
    def said(well: bool) -> Decision:
        return decide(node, dataclasses.replace(vip, backends_up=well, enough=well), 100.0)

    assert (said(True).stance is Stance.WITHDRAWN) == (said(False).stance is Stance.WITHDRAWN)


@given(NODES, VIPS)
def test_the_last_announcement_goes_only_for_a_fault_of_this_node_or_by_force(node: NodeFacts, vip: VipFacts) -> None:
    last = dataclasses.replace(vip, others=NONE_LEFT)
    decision = decide(node, last, 100.0)
    if decision.stance is Stance.WITHDRAWN:
        broken = not node.ready or not node.forwarding or not vip.service_ok
        starting = decision.reason is Reason.SETTLING
        assert broken or starting or node.stopping or node.forced or vip.forced


@given(st.floats(0, 200), OTHERS.filter(lambda others: others is not None), st.booleans())
def test_a_skewed_node_leaves_as_one_whose_checker_is_silent(since: float, others: Others, well: bool) -> None:
    """So what the model of a fleet shows of silence (test_fleet_model.py) holds for skew as well."""
    facts = VipFacts(backends_up=well, others=others)
    skewed = decide(WELL, dataclasses.replace(facts, skewed_since=since), 100.0)
    silent = decide(WELL, dataclasses.replace(facts, silent_since=since), 100.0)
    assert (skewed.stance, skewed.until) == (silent.stance, silent.until)
