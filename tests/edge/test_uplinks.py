"""Which routers count as silent: those whose session was up and is no more, unless it is all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.policy.uplinks import Heard, Uplinks

UP, DOWN = Heard(bgp=True, bfd=True), Heard(bgp=False, bfd=False)


def test_a_router_is_silent_once_a_session_that_was_up_is_down() -> None:
    uplinks = Uplinks()
    assert uplinks.silent({"r1": UP, "r2": UP}) == frozenset()
    assert uplinks.silent({"r1": Heard(bgp=True, bfd=False), "r2": UP}) == {"r1"}, "BFD tells before BGP does"
    assert uplinks.silent({"r1": DOWN, "r2": UP}) == {"r1"}
    assert uplinks.silent({"r1": Heard(bgp=False, bfd=True), "r2": UP}) == {"r1"}
    assert uplinks.silent({"r1": UP, "r2": UP}) == frozenset()


def test_a_session_that_was_never_up_says_nothing() -> None:
    uplinks = Uplinks()
    assert uplinks.silent({"r1": DOWN, "r2": UP}) == frozenset()
    assert uplinks.silent({"r1": Heard(bgp=True, bfd=False), "r2": UP}) == frozenset(), "a router that speaks no BFD"
    assert uplinks.silent({"r1": Heard(bgp=False), "r2": UP}) == {"r1"}


@pytest.mark.parametrize("names", [("r1",), ("r1", "r2")])
def test_when_all_are_silent_none_is(names: tuple[str, ...]) -> None:
    uplinks = Uplinks()
    uplinks.silent(dict.fromkeys(names, UP))
    assert uplinks.silent(dict.fromkeys(names, DOWN)) == frozenset()


def test_a_router_whose_bfd_is_unknown_is_judged_by_bgp_and_one_that_left_the_file_is_forgotten() -> None:
    uplinks = Uplinks()
    uplinks.silent({"r1": UP, "r2": UP})
    assert uplinks.silent({"r1": Heard(bgp=True), "r2": UP}) == frozenset()
    uplinks.silent({"r2": UP})
    assert uplinks.silent({"r1": DOWN, "r2": UP}) == frozenset()


HEARD = st.builds(Heard, bgp=st.booleans(), bfd=st.sampled_from([None, True, False]))


@given(st.lists(st.fixed_dictionaries({"r1": HEARD, "r2": HEARD, "r3": HEARD}), min_size=1))
def test_whoever_is_up_by_all_its_sessions_is_never_left_out_and_some_router_always_stays(
    moments: list[dict[str, Heard]],
) -> None:
    uplinks = Uplinks()
    for heard in moments:
        silent = uplinks.silent(heard)
        assert len(silent) < len(heard)
        assert all(not (each.bgp and each.bfd is not False) for name, each in heard.items() if name in silent)
