"""The gate: open only while all beat, closed at once, patient only with its own lateness and planned restarts."""

import pytest

from bgp.bfd.gate import HOLD_MAX, Gate, Source
from bgp.bfd.packet import Diag

SOURCES = (Source("daemon", 0.005, 3), Source("forwarder", 0.01, 3))


def gate(settle: float = 0.1) -> Gate:
    return Gate(SOURCES, settle, 0.0)


def run(one: Gate, until: float, now: float, dead: str = "", step: float = 0.005) -> tuple[float, Diag] | None:
    """Beats of all but `dead` every step; when and how it closed."""
    beats = {source.name: now for source in SOURCES}
    while now < until:
        beats.update({source.name: now for source in SOURCES if source.name != dead})
        change = one.look(beats, now)
        if change is not None and not change.opened:
            return now, change.diag
        now = min(one.next_deadline(), now + step)
    return None


def test_it_opens_when_all_have_been_fresh_for_the_settle_time() -> None:
    one = gate()
    assert one.look({}, 0.0) is None
    assert one.look({"daemon": 0.01}, 0.01) is None
    assert one.look({"daemon": 0.02, "forwarder": 0.02}, 0.02) is None
    assert one.look({"daemon": 0.11, "forwarder": 0.11}, 0.11) is None
    change = one.look({"daemon": 0.13, "forwarder": 0.13}, 0.13)
    assert change is not None and change.opened and one.open


@pytest.mark.parametrize(("dead", "limit", "diag"), [("daemon", 0.015, 5), ("forwarder", 0.03, 4)])
def test_it_closes_as_soon_as_one_is_stale(dead: str, limit: float, diag: int) -> None:
    one = gate()
    run(one, 1.0, 0.0)
    closed = run(one, 2.0, 1.0, dead)
    assert closed is not None
    assert closed[0] - 1.0 == pytest.approx(limit, abs=1e-3)
    assert closed[1] == diag
    assert dead in one.reason
    assert run(one, 3.0, 2.0, dead) is None
    opened = [one.open]
    run(one, 4.0, 3.0)
    assert [*opened, one.open] == [False, True]


def test_a_beat_of_the_future_is_none() -> None:
    one = gate(settle=0.0)
    assert one.look({"daemon": 9.0, "forwarder": 9.0}, 1.0) is None


def test_its_own_lateness_is_not_held_against_the_others_but_once() -> None:
    one = gate()
    run(one, 1.0, 0.0)
    beats = {source.name: 0.995 for source in SOURCES}
    assert one.look(beats, 1.5) is None and one.open, "the whole machine was away for half a second"
    change = one.look(beats, 1.6)
    assert change is not None and not change.opened, "still nobody beats"


def test_a_hold_keeps_it_as_it_is_and_ends_by_itself() -> None:
    one = gate()
    run(one, 1.0, 0.0)
    one.hold(3.0, 1.0)
    assert run(one, 2.99, 1.0, "daemon") is None and one.open
    closed = run(one, 4.0, 2.99, "daemon")
    assert closed is not None and closed[0] == pytest.approx(3.005, abs=0.011)


def test_a_hold_is_bounded_and_opens_nothing() -> None:
    one = gate()
    one.hold(1e9, 1.0)
    assert one.look({}, 1.0) is None and not one.open
    assert one.held(HOLD_MAX + 0.9) and not one.held(HOLD_MAX + 1.1)
    one.hold(1e9, 20.0)
    assert not one.held(HOLD_MAX + 1.1), "the same wish again does not prolong it"


def test_without_sources_it_is_open() -> None:
    one = Gate((), 5.0, 0.0)
    change = one.look({}, 0.0)
    assert change is not None and change.opened
