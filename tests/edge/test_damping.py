"""What is held back: nothing that a router could damp, nothing that a person asked for."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edge.policy.announce import Decision, Reason, Stance
from edge.policy.damping import Damping, DampingRules

WELL = Decision(Stance.ANNOUNCED, Reason.SERVING)
ILL = Decision(Stance.DEPREFERRED, Reason.BACKENDS_DOWN)
BROKEN = Decision(Stance.WITHDRAWN, Reason.FORWARDER)
DRAINED = Decision(Stance.WITHDRAWN, Reason.DRAINED)
STARTING = Decision(Stance.WITHDRAWN, Reason.STARTING)


def started(rules: DampingRules | None = None) -> Damping:
    damping = Damping(rules or DampingRules())
    damping.apply(STARTING, False, 0.0)
    assert damping.apply(WELL, False, 1.0) == WELL
    return damping


def test_the_first_way_up_is_free() -> None:
    damping = Damping(DampingRules())
    for moment, decision in enumerate((STARTING, BROKEN, ILL, BROKEN, ILL, WELL)):
        assert damping.apply(decision, False, float(moment)) == decision
    assert damping.penalty(5.0) == 0


def test_worse_is_said_at_once_and_better_after_it_has_held() -> None:
    damping = started()
    assert damping.apply(BROKEN, False, 10.0) == BROKEN
    assert damping.apply(WELL, False, 11.0) == Decision(Stance.WITHDRAWN, Reason.HELD, 21.0)
    assert damping.apply(BROKEN, False, 15.0) == BROKEN
    assert damping.apply(WELL, False, 16.0).reason is Reason.HELD
    assert damping.apply(WELL, False, 25.9).reason is Reason.HELD
    assert damping.apply(WELL, False, 26.0) == WELL


def test_a_half_recovery_is_held_at_the_worse_stance() -> None:
    damping = started()
    damping.apply(BROKEN, False, 10.0)
    held = damping.apply(ILL, False, 11.0)
    assert (held.stance, held.reason) == (Stance.WITHDRAWN, Reason.HELD)


def test_a_second_fault_soon_after_waits_for_the_routers_penalty_to_halve() -> None:
    damping = started()
    damping.apply(BROKEN, False, 10.0)
    damping.apply(WELL, False, 11.0)
    assert damping.apply(WELL, False, 21.0) == WELL
    damping.apply(BROKEN, False, 22.0)
    damping.apply(WELL, False, 23.0)
    assert damping.apply(WELL, False, 22.0 + 880.0).reason is Reason.HELD
    assert damping.apply(WELL, False, 22.0 + 911.0) == WELL


def test_what_a_person_asks_for_is_neither_held_nor_counted() -> None:
    damping = started()
    for moment in range(50):
        asked = DRAINED if moment % 2 else WELL
        assert damping.apply(asked, False, 10.0 + moment) == asked
    assert damping.penalty(60.0) == 0


def test_a_node_that_is_alone_with_a_prefix_comes_back_at_once() -> None:
    damping = started()
    damping.apply(BROKEN, False, 10.0)
    assert damping.apply(WELL, True, 10.1) == WELL


def test_a_check_that_alternates_each_second_for_ten_minutes_is_two_updates_at_most() -> None:
    for bad in (ILL, BROKEN):
        damping = started()
        said = [damping.apply(bad if second % 2 else WELL, False, 10.0 + second).stance for second in range(600)]
        assert sum(a is not b for a, b in pairwise(said)) <= 2


class Router:
    """A router that damps as RFC 2439 says, with the common parameters and its decay in steps of five seconds."""

    def __init__(self) -> None:
        self.penalty, self.as_of, self.worst = 0.0, 0.0, 0.0
        self.stance = Stance.WITHDRAWN

    def hears(self, stance: Stance, now: float) -> None:
        if stance is Stance.WITHDRAWN and self.stance is Stance.ANNOUNCED:
            steps = math.floor((now - self.as_of) / 5.0) * 5.0
            self.penalty, self.as_of = self.penalty * 0.5 ** (steps / 900.0) + 1000.0, now
            self.worst = max(self.worst, self.penalty)
        self.stance = stance


@given(st.lists(st.tuples(st.sampled_from([WELL, BROKEN]), st.floats(0.05, 600)), max_size=60))
def test_no_sequence_of_checks_brings_a_router_to_suppress_the_prefix(steps: list[tuple[Decision, float]]) -> None:
    damping, router, now = started(), Router(), 1.0
    router.hears(Stance.ANNOUNCED, now)
    for wanted, pause in steps:
        now += pause
        router.hears(damping.apply(wanted, False, now).stance, now)
        assert router.worst < 2000.0
