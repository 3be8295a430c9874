"""The checker's life, its words, and what is expected of it: tables, lines and deadlines."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgp.life import Action
from edge.checks.freshness import SILENCE, START, Freshness, patience
from edge.checks.keeper import SILENCE_LIMIT, STABLE_AFTER, TABLE, Event, Keeper, Phase
from edge.checks.target import (
    LINE_MAX,
    Beat,
    Lines,
    Outcome,
    ProtocolError,
    Target,
    heartbeat,
    orders,
    read,
    read_orders,
    results,
)
from edge.policy.health import Damped, Rules

TARGET = Target(
    "http",
    "10.0.9.1",
    0.25,
    0.1,
    Rules(2, 3, 2.0, Damped(30.0, 1500, 750, 300.0), 0.5, 0.25, "http"),
    "n/w/b/0",
    {"port": 80},
)
TEXT = st.text(st.sampled_from("abc é漢\"\\{}[],:'"), max_size=40)


def test_orders_arrive_as_they_were_given() -> None:
    fresh = dict.fromkeys(range(1, 2001), TARGET)
    lines = list(orders(7, fresh, range(100)))
    assert max(map(len, lines)) < LINE_MAX
    read_back = [read_orders(line) for line in lines]
    assert {number: target for order in read_back for number, target in order["set"].items()} == fresh
    assert [number for order in read_back for number in order["drop"]] == list(range(100))
    assert [order["end"] for order in read_back] == [False] * (len(lines) - 1) + [True]
    assert {order["n"] for order in read_back} == {7}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.booleans(), st.integers(0, 10**7), TEXT, st.booleans()), max_size=20)
)
def test_results_arrive_as_they_were_given(given_ones: list[tuple[int, bool, int, str, bool]]) -> None:
    outcomes = [Outcome(number, ok, us / 1e6, detail, sure) for number, ok, us, detail, sure in given_ones]
    lines = Lines()
    found = [read(line) for data in results(outcomes) for line in lines.feed(data)]
    assert [each for batch in found if isinstance(batch, list) for each in batch] == outcomes


def test_a_heartbeat_arrives() -> None:
    assert read(heartbeat(3, 7, 0.00041).strip()) == Beat(7, 0.00041)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"hello", b"[]", b"7", b"{}", b'{"h": 1}', b'{"r": 5}', b'{"r": [1]}', b'{"r": [[1, 1, 5, "", false]]}',
        b'{"r": [["1", true, 5, "", false]]}', b'{"r": [[1, true, 5, "a\\nb", false]]}', b'{"r": [[1, true, 5, ""]]}',
        b'{"n": "x", "late": 0}', b'{"r": [[1, true, 0.5, "", false]]}', b"\xff\xfe", b"[" * 100_000,
        json.dumps({"r": [[1, True, 5, "x" * 201, False]]}).encode(),
    ],
)  # fmt: skip
def test_a_line_that_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(line)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=300))
def test_whatever_bytes_come_they_are_read_or_refused(data: bytes) -> None:
    lines = Lines()
    for line in lines.feed(data):
        with contextlib.suppress(ProtocolError):
            read(line)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=40)), st.integers(1, 7))
def test_lines_are_the_same_however_they_are_cut(pieces: list[bytes], size: int) -> None:
    whole = b"\n".join(piece.replace(b"\n", b"") for piece in pieces) + b"\n"
    lines = Lines()
    found = [line for start in range(0, len(whole), size) for line in lines.feed(whole[start : start + size])]
    assert b"\n".join(found) + b"\n" == whole


def test_a_line_without_end_is_refused_before_it_takes_memory() -> None:
    lines = Lines()
    with pytest.raises(ProtocolError):
        for _ in range(10):
            list(lines.feed(b"x" * (LINE_MAX // 2)))


def fresh(now: float = 0.0, interval: float = 0.5) -> Freshness:
    found = Freshness()
    found.expect(1, interval, 0.1, 0.25, now)
    found.begun(now)
    return found


def test_results_that_stay_away_make_a_check_stale_within_three_seconds_and_a_result_ends_it() -> None:
    found = fresh()
    found.beat(10.0)
    found.result(1, 10.0)
    until = 10.0 + patience(0.5, 0.1, 0.25)
    for now in (10.5, 11.0, 11.5):
        found.beat(now)
        assert found.stale(now) == frozenset()
    found.beat(until - 0.1)
    assert found.next_deadline(until - 0.1) == until
    assert found.stale(until - 0.01) == frozenset()
    assert found.stale(until) == {1}
    found.result(1, 13.0)
    assert found.stale(13.0) == frozenset()


@pytest.mark.parametrize(("interval", "seconds"), [(0.1, 2.36), (0.5, 2.8), (1.0, 3.0), (1.6, 3.01), (60.0, 67.25)])
def test_a_missed_result_is_missed_after_three_seconds_or_one_after_it_was_due(interval: float, seconds: float) -> None:
    assert patience(interval, 0.1, 0.25) == pytest.approx(seconds)


def test_silence_makes_every_check_stale_also_those_with_long_intervals() -> None:
    found = fresh(interval=600.0)
    found.beat(10.0)
    found.result(1, 10.0)
    assert found.stale(10.0 + SILENCE - 0.01) == frozenset()
    assert found.stale(10.0 + SILENCE) == {1}
    assert found.next_deadline(10.0) == 10.0 + SILENCE
    assert SILENCE < 3
    found.beat(13.0)
    assert found.stale(13.0) == frozenset()


def test_a_checker_that_starts_again_and_again_without_results_is_found_out() -> None:
    found = fresh(interval=600.0)
    found.result(1, 0.0)
    for now in range(1, 10):  # it lives long enough for a heartbeat each time
        found.begun(float(now))
        found.beat(float(now))
    assert found.stale(1.0 + START + 0.24) == frozenset()
    assert found.stale(1.0 + START + 0.25) == {1}


def test_our_own_absence_is_not_the_checkers_fault() -> None:
    found = fresh()
    found.beat(10.0)
    found.result(1, 10.0)
    found.away(60.0)
    assert found.stale(71.0) == frozenset()


def test_nothing_is_expected_of_what_was_forgotten() -> None:
    found = fresh()
    found.forget(1)
    assert found.stale(1e9) == frozenset()
    assert found.result(1, 5.0) is False
    assert found.next_deadline(0.0) is None


def started(now: float = 0.0) -> Keeper:
    keeper = Keeper()
    assert keeper.handle(Event.START, "go", now)[0] is Action.SPAWN
    keeper.handle(Event.HEARD, "a heartbeat", now + 0.1)
    return keeper


def test_a_checker_that_ran_is_started_again_at_once() -> None:
    keeper = started()
    assert keeper.handle(Event.ENDED, "killed", 20.0)[0] is Action.NOTHING
    assert keeper.tick(20.0)[0] is Action.SPAWN
    assert keeper.deaths == 1


def test_one_that_ends_again_and_again_is_given_pauses_up_to_two_seconds() -> None:
    keeper, now, pauses = Keeper(), 0.0, []
    keeper.handle(Event.START, "go", now)
    for _ in range(7):
        keeper.handle(Event.ENDED, "crash", now)
        assert keeper.deadline is not None
        pauses.append(round(keeper.deadline - now, 3))
        now = keeper.deadline
        assert keeper.tick(now)[0] is Action.SPAWN
    assert pauses == [0.0, 0.1, 0.5, 1.0, 2.0, 2.0, 2.0]
    keeper.handle(Event.HEARD, "a heartbeat", now)
    keeper.handle(Event.ENDED, "crash", now + STABLE_AFTER)
    assert keeper.deadline == now + STABLE_AFTER


def test_a_silent_one_is_killed_and_again_while_it_does_not_end() -> None:
    keeper = started()
    keeper.handle(Event.HEARD, "a heartbeat", 5.0)
    assert keeper.tick(5.0 + SILENCE_LIMIT - 0.01)[0] is Action.NOTHING
    assert keeper.tick(5.0 + SILENCE_LIMIT)[0] is Action.KILL
    assert keeper.reason == "it has been silent for 1 s"
    assert keeper.tick(7.0)[0] is Action.KILL
    keeper.handle(Event.ENDED, "killed", 7.1)
    assert keeper.tick(7.1)[0] is Action.SPAWN


def test_our_own_absence_moves_the_deadline() -> None:
    keeper = started()
    keeper.away(60.0)
    assert keeper.tick(50.0)[0] is Action.NOTHING


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Event), st.floats(0, 5)), max_size=60))
def test_no_sequence_leaves_a_checker_without_a_way_on(events: list[tuple[Event, float]]) -> None:
    keeper, now = Keeper(), 0.0
    for event, gap in events:
        now += gap
        keeper.handle(event, "", now)
        assert (keeper.deadline is None) == (keeper.phase is Phase.STOPPED)
        if keeper.deadline is not None:
            assert keeper.deadline <= now + 2.0
            assert (keeper.phase, Event.TIMEOUT) in TABLE
