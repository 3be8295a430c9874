"""How fast backends may leave a table."""

from hypothesis import given
from hypothesis import strategies as st

from edge.policy.velocity import Velocity, VelocityRules

TEN = [f"b{n}" for n in range(10)]


def test_a_mass_failure_leaves_by_the_share_of_a_window() -> None:
    velocity = Velocity(VelocityRules(share=0.2, window=10.0))
    assert velocity.limit(10, TEN, 0.0) == {"b0", "b1"}
    assert velocity.limit(10, TEN, 9.9) == {"b0", "b1"}
    assert velocity.next_deadline(TEN) == 10.0
    assert velocity.limit(10, TEN, 10.0) == {"b0", "b1", "b2", "b3"}


def test_one_may_always_leave_and_who_is_well_again_is_back_at_once() -> None:
    velocity = Velocity(VelocityRules(share=0.0, window=10.0))
    assert velocity.limit(3, ["b1"], 0.0) == {"b1"}
    assert velocity.limit(3, [], 1.0) == frozenset()
    assert velocity.limit(3, ["b2"], 2.0) == frozenset()
    assert velocity.next_deadline([]) is None
    assert velocity.limit(3, ["b2"], 10.0) == {"b2"}


@given(st.lists(st.tuples(st.sets(st.sampled_from(TEN)), st.floats(0, 12)), max_size=40), st.floats(0, 1))
def test_no_sequence_takes_more_out_in_a_window_than_its_share(
    steps: list[tuple[set[str], float]], share: float
) -> None:
    velocity, now, removals = Velocity(VelocityRules(share, 10.0)), 0.0, list[float]()
    before: frozenset[str] = frozenset()
    for down, pause in steps:
        now += pause
        out = velocity.limit(10, down, now)
        assert out <= down
        removals += [now for _ in out - before]
        before = out
        assert len([moment for moment in removals if moment + 10.0 > now]) <= max(1, -(-share * 10 // 1))
