"""What is said of a VIP: a table of cases, and what no input may cause."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.announce import NodeFacts, Reason, Stance, decide

CASES = [
    (NodeFacts(True, True, None, 1.0), True, Stance.ANNOUNCED, Reason.SERVING),
    (NodeFacts(True, True, None, 1.0), False, Stance.DEPREFERRED, Reason.BACKENDS_DOWN),
    (NodeFacts(False, True, None, 1.0), True, Stance.WITHDRAWN, Reason.STARTING),
    (NodeFacts(True, False, None, 1.0), True, Stance.WITHDRAWN, Reason.FORWARDER),
    (NodeFacts(True, True, 99.5, 1.0), True, Stance.DEPREFERRED, Reason.DRAINING),
    (NodeFacts(True, True, 99.0, 1.0), True, Stance.WITHDRAWN, Reason.DRAINED),
    (NodeFacts(True, True, 99.5, 1.0, stopping=True), True, Stance.DEPREFERRED, Reason.STOPPING),
    (NodeFacts(True, False, 99.5, 1.0), True, Stance.WITHDRAWN, Reason.FORWARDER),
]


@pytest.mark.parametrize(("node", "backends_up", "stance", "reason"), CASES)
def test_decisions(node: NodeFacts, backends_up: bool, stance: Stance, reason: Reason) -> None:
    decision = decide(node, backends_up, now=100.0)
    assert (decision.stance, decision.reason) == (stance, reason)


def test_a_drain_says_when_it_goes_on() -> None:
    assert decide(NodeFacts(True, True, 99.5, 1.0), True, now=100.0).until == 100.5


NODES = st.builds(
    NodeFacts,
    ready=st.booleans(),
    forwarding=st.booleans(),
    drain_since=st.none() | st.floats(0, 200),
    settle=st.floats(0, 60),
    stopping=st.booleans(),
)


@given(NODES)
def test_what_backends_look_like_never_withdraws(node: NodeFacts) -> None:
    up, down = (decide(node, backends_up, 100.0).stance for backends_up in (True, False))
    assert (up is Stance.WITHDRAWN) == (down is Stance.WITHDRAWN)
