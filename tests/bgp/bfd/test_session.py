"""The machine of one session, step by step (RFC 5880 6.8)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.bfd.packet import ControlPacket, Diag, State
from bgp.bfd.session import SLOW, TABLE, Event, Phase, Session, Timers, Transition

FAST = Timers(10_000, 10_000, 3)


def said(state: State, **more: int | bool) -> ControlPacket:
    fields: dict[str, int | bool] = {"desired_tx": 10_000, "required_rx": 10_000, "detect_mult": 3, "my": 9, "your": 5}
    return ControlPacket(state=state, **{**fields, **more})  # type: ignore[arg-type]


def session(timers: Timers = FAST) -> Session:
    made = Session(timers, 5, 0.0)
    made.handle(Event.OPEN, 0.0)
    return made


def sent(one: Session, now: float, jitter: float = 0.0) -> list[ControlPacket]:
    found = []
    while one.next_deadline() <= now and (packet := one.due(now, jitter)):
        found.append(packet)
    return found


def up(timers: Timers = FAST) -> Session:
    """At 1.0, the poll's end heard."""
    made = session(timers)
    made.receive(said(State.INIT), 1.0)
    assert made.phase is Phase.UP
    sent(made, 1.0)
    made.receive(said(State.UP, final=True), 1.0)
    assert not made.polling
    return made


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", Event)
def test_the_table_is_the_rfc_s(phase: Phase, event: Event) -> None:
    wire = {Phase.DOWN: State.DOWN, Phase.INIT: State.INIT, Phase.UP: State.UP}
    received = {Event.RX_DOWN: State.DOWN, Event.RX_INIT: State.INIT, Event.RX_UP: State.UP}
    new = TABLE.get((phase, event), (phase, None))[0]
    if phase in wire and event in received:  # the pseudocode at the end of 6.8.6
        state, heard = wire[phase], received[event]
        if state is State.DOWN:
            expected = {State.DOWN: Phase.INIT, State.INIT: Phase.UP}.get(heard, Phase.DOWN)
        elif state is State.INIT:
            expected = Phase.UP if heard in (State.INIT, State.UP) else Phase.INIT
        else:
            expected = Phase.DOWN if heard is State.DOWN else Phase.UP
        assert new is expected
    elif event in (Event.RX_ADMIN_DOWN, Event.EXPIRED):
        assert new is (Phase.DOWN if phase in (Phase.INIT, Phase.UP) else phase)
    elif phase in (Phase.ADMIN_DOWN, Phase.HELD):
        assert event in (Event.OPEN, Event.ENABLE, Event.DISABLE) or new is phase


def test_it_sends_slowly_until_up_and_then_polls_for_speed() -> None:
    one = session()
    (first,) = sent(one, 0.0)
    assert (first.state, first.desired_tx, first.your, first.poll) == (State.DOWN, SLOW, 0, False)
    assert one.next_deadline() == pytest.approx(1.0)
    one.receive(said(State.DOWN, your=0), 0.2)
    (answer,) = sent(one, 0.2)
    assert (answer.state, answer.desired_tx, answer.your) == (State.INIT, SLOW, 9)
    change = one.receive(said(State.UP), 0.3)
    assert change == Transition(Phase.INIT, Phase.UP, Diag.NONE, "the peer says Up", failure=False)
    (poll,) = sent(one, 0.3)
    assert (poll.state, poll.desired_tx, poll.poll) == (State.UP, 10_000, True)
    assert one.next_deadline() == pytest.approx(0.31)
    one.receive(said(State.UP, final=True), 0.305)
    (later,) = sent(one, 0.31)
    assert not later.poll


@pytest.mark.parametrize(
    ("multiplier", "jitter", "pause"), [(3, 0, 1), (3, 0.9999, 0.75), (1, 0, 0.9), (1, 0.9999, 0.75)]
)
def test_the_pause_is_jittered(multiplier: int, jitter: float, pause: float) -> None:
    one = up(Timers(10_000, 10_000, multiplier))
    at = one.next_deadline()
    assert sent(one, at, jitter)
    assert one.next_deadline() - at == pytest.approx(0.01 * pause, rel=1e-3)


def test_the_slower_end_sets_the_pace() -> None:
    one = up()
    one.receive(said(State.UP, required_rx=50_000, desired_tx=40_000, detect_mult=4), 1.0)
    assert one.tx_interval == 50_000
    assert one.detection_time == pytest.approx(0.16)
    one.receive(said(State.UP, required_rx=0), 1.0)
    assert one.tx_interval == 0
    assert one.next_deadline() == pytest.approx(1.03), "only the detection time is left"


def test_silence_takes_it_down_at_the_detection_time_and_not_before() -> None:
    one = up()
    assert one.expire(1.0299) is None
    change = one.expire(1.0301)
    assert change is not None and change.failure and change.diag is Diag.DETECTION_EXPIRED
    assert change.reason == "nothing was received for 30.0 ms"
    (packet,) = sent(one, 1.0301)
    assert (packet.state, packet.your, packet.desired_tx) == (State.DOWN, 0, SLOW), "the peer is forgotten"


def test_a_peer_that_is_silent_while_down_is_forgotten_too() -> None:
    one = session()
    one.receive(said(State.ADMIN_DOWN), 1.0)
    assert one.remote_discriminator == 9
    assert one.expire(1.0 + 0.031) is None
    assert one.remote_discriminator == 0


def test_admin_down_of_the_peer_is_no_failure() -> None:
    one = up()
    change = one.receive(said(State.ADMIN_DOWN), 1.01)
    assert change is not None and not change.failure
    assert (one.phase, one.diag) == (Phase.DOWN, Diag.NEIGHBOR_DOWN)
    assert up().receive(said(State.DOWN), 1.01).failure  # type: ignore[union-attr]


def test_admin_down_of_ours_is_said_at_once_and_ends_all_answers() -> None:
    one = up()
    assert one.handle(Event.DISABLE, 1.01) is not None
    (packet,) = sent(one, 1.01)
    assert (packet.state, packet.diag) == (State.ADMIN_DOWN, Diag.ADMIN_DOWN)
    assert one.receive(said(State.DOWN, poll=True), 1.02) is None
    assert sent(one, 1.02) == []
    one.handle(Event.ENABLE, 2.0)
    assert one.phase is Phase.HELD
    one.handle(Event.OPEN, 2.0)
    assert one.receive(said(State.DOWN), 2.0) is not None


def test_held_down_stays_down_whatever_the_peer_says() -> None:
    one = up()
    change = one.handle(Event.CLOSE, 1.01, "no heartbeat", Diag.FORWARDING_RESET)
    assert change is not None and change.failure and change.reason == "no heartbeat"
    (packet,) = sent(one, 1.01)
    assert (packet.state, packet.diag) == (State.DOWN, Diag.FORWARDING_RESET)
    for state in State:
        assert one.receive(said(state), 1.02) is None
    one.handle(Event.OPEN, 1.5)
    assert one.receive(said(State.INIT), 1.5) is not None
    assert one.phase is Phase.UP


def test_a_poll_is_answered_at_once_and_only_once() -> None:
    one = up()
    sent(one, one.next_deadline())
    one.receive(said(State.UP, poll=True), 1.012)
    (answer,) = sent(one, 1.012)
    assert (answer.final, answer.poll) == (True, False)


def test_a_slower_pace_waits_for_the_polls_end_and_a_faster_one_does_not() -> None:
    one = up()
    one.retime(Timers(40_000, 10_000, 3))
    (poll,) = sent(one, 1.01)
    assert (poll.poll, poll.desired_tx, one.tx_interval) == (True, 40_000, 10_000)
    one.receive(said(State.UP, final=True), 1.012)
    assert one.tx_interval == 40_000
    one.retime(Timers(10_000, 10_000, 3))
    assert (one.tx_interval, one.polling) == (10_000, True)


def test_a_shorter_detection_waits_for_the_polls_end() -> None:
    one = up(Timers(10_000, 40_000, 3))
    one.receive(said(State.UP), 1.0)
    assert one.detection_time == pytest.approx(0.12)
    one.retime(Timers(10_000, 10_000, 3))
    assert one.detection_time == pytest.approx(0.12)
    one.receive(said(State.UP, final=True), 1.01)
    assert one.detection_time == pytest.approx(0.03)


def test_a_second_change_within_a_poll_needs_a_poll_of_its_own() -> None:
    one = up()
    one.retime(Timers(40_000, 10_000, 3))
    one.retime(Timers(80_000, 10_000, 3))
    one.receive(said(State.UP, final=True), 1.01)
    assert (one.tx_interval, one.polling) == (10_000, True)
    one.receive(said(State.UP, final=True), 1.02)
    assert (one.tx_interval, one.polling) == (80_000, False)


def test_a_peer_in_demand_mode_is_not_sent_to_unless_polled() -> None:
    one = up()
    one.receive(said(State.UP, demand=True), 1.0)
    sent(one, 1.0)
    assert one.next_deadline() == pytest.approx(1.03)
    one.retime(Timers(20_000, 10_000, 3))
    assert sent(one, 1.0)[0].poll


@given(st.lists(st.tuples(st.sampled_from(["rx", "event", "time"]), st.integers(0, 8), st.booleans()), max_size=60))
def test_no_order_of_events_breaks_the_rules_of_sending(steps: list[tuple[str, int, bool]]) -> None:
    one, now = session(), 0.0
    for kind, number, flag in steps:
        if kind == "rx":
            one.receive(said(State(number % 4), poll=flag, required_rx=0 if number == 8 else 10_000), now)
        elif kind == "event":
            one.handle([Event.DISABLE, Event.ENABLE, Event.CLOSE, Event.OPEN][number % 4], now)
        else:
            now += number * 0.004
            one.expire(now)
        for packet in sent(one, now, 0.5):
            assert not (packet.poll and packet.final)
            assert packet.state is State.UP or packet.desired_tx >= SLOW
        assert one.next_deadline() > now or math.isinf(one.next_deadline())
