"""The rise/fall machine."""

from hypothesis import given
from hypothesis import strategies as st

from edge.health import Health, Result, Rules, State


def fed(results: str, rise: int, fall: int) -> Health:
    health = Health((Rules(rise, fall),), 0.0)
    for now, letter in enumerate(results, start=1):
        health.observe(Result(letter == "+", "", 0.0), float(now))
    return health


def test_the_first_result_decides_at_once() -> None:
    assert fed("", 2, 3).state is State.UNKNOWN
    assert fed("+", 2, 3).state is State.UP
    assert fed("-", 2, 3).state is State.DOWN


def test_fall_failures_in_a_row_take_it_down_and_rise_successes_bring_it_back() -> None:
    assert fed("+--", 2, 3).state is State.UP
    assert fed("+--+--", 2, 3).state is State.UP
    assert fed("+---", 2, 3).state is State.DOWN
    assert fed("+---+-+", 2, 3).state is State.DOWN
    assert fed("+---++", 2, 3).state is State.UP


def test_a_transition_names_old_new_and_reason_and_since_is_when_it_happened() -> None:
    health = Health((Rules(1, 1),), 0.0)
    health.observe(Result(True, "connected", 0.0), 1.0)
    transition = health.observe(Result(False, "connection refused", 0.0), 5.0)
    assert transition is not None
    assert (transition.old, transition.new, transition.reason) == (State.UP, State.DOWN, "connection refused")
    assert health.since == 5.0
    assert health.observe(Result(False, "connection refused", 0.0), 6.0) is None


@given(st.text("+-", min_size=1, max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_the_state_is_that_of_the_last_decisive_streak(results: str, rise: int, fall: int) -> None:
    expected = results[0]
    for end in range(1, len(results) + 1):
        needed = fall if expected == "+" else rise
        other = "-" if expected == "+" else "+"
        if end > 1 and results[:end].endswith(other * needed):
            expected = other
    assert fed(results, rise, fall).state is (State.UP if expected == "+" else State.DOWN)
