"""The rules by which ExaBGP is watched: the table, the delays, and a daemon that was away itself."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.life import Action
from bgp.supervisor import (
    DELAYS,
    KILL_LIMIT,
    SILENCE_LIMIT,
    STABLE_AFTER,
    START_LIMIT,
    TABLE,
    Event,
    Phase,
    Supervisor,
    Transition,
)


def running(now: float = 0.0) -> Supervisor:
    supervisor = Supervisor()
    assert supervisor.handle(Event.START, "start", now)[0] is Action.SPAWN
    supervisor.handle(Event.CONNECTED, "relay", now)
    return supervisor


def advance(supervisor: Supervisor, start: float, seconds: float) -> list[tuple[Action, Transition | None]]:
    """Tick every 0.1 s; the steps in which something happened."""
    steps = [supervisor.tick(start + n / 10) for n in range(round(seconds * 10) + 1)]
    return [step for step in steps if step != (Action.NOTHING, None)]


@pytest.mark.parametrize(
    ("events", "limit", "reason"),
    [
        ([Event.START], START_LIMIT, "the relay has not connected for 10.0 s"),
        ([Event.ADOPT], SILENCE_LIMIT, "the relay has not come back for 2.0 s"),
        ([Event.START, Event.CONNECTED], SILENCE_LIMIT, "the relay has been silent for 2.0 s"),
        ([Event.START, Event.CONNECTED, Event.DISCONNECTED], SILENCE_LIMIT, "the relay has not come back for 2.0 s"),
    ],
)
def test_whatever_keeps_the_relay_silent_ends_exabgp(events: list[Event], limit: float, reason: str) -> None:
    supervisor = Supervisor()
    for event in events:
        supervisor.handle(event, "", 0.0)
    before = supervisor.phase
    assert advance(supervisor, 0.0, limit - 0.1) == []
    assert supervisor.tick(limit) == (Action.KILL, Transition(before, Phase.KILLING, reason))


def test_an_end_on_purpose_makes_no_delay_longer_and_is_no_death() -> None:
    supervisor, now = running(), 0.0
    for _ in range(5):
        assert supervisor.handle(Event.ENDED, "all off", now)[0] is Action.NOTHING
        assert supervisor.phase is Phase.BACKOFF
        supervisor.tick(now)
        assert supervisor.tick(now + DELAYS[0])[0] is Action.SPAWN
        now += 0.2
        supervisor.handle(Event.CONNECTED, "relay", now)
    assert supervisor.deaths == 0


def test_a_word_in_time_keeps_it_alive() -> None:
    supervisor = running()
    for second in range(10):
        assert advance(supervisor, second, 0.9) == []
        supervisor.handle(Event.HEARD, "", second + 0.9)
    assert supervisor.phase is Phase.RUNNING


def test_a_kill_is_repeated_until_it_works() -> None:
    supervisor = running()
    steps = advance(supervisor, 0.0, SILENCE_LIMIT + 2 * KILL_LIMIT + 0.1)
    assert [action for action, _ in steps] == [Action.KILL] * 3
    assert supervisor.handle(Event.EXITED, "gone", 5.0)[1] == Transition(Phase.KILLING, Phase.BACKOFF, "gone")


def test_a_daemon_that_was_stopped_blames_nobody_else() -> None:
    supervisor = running()
    assert advance(supervisor, 0.0, 1.0) == []
    assert supervisor.tick(60.0) == (Action.NOTHING, None)
    supervisor.handle(Event.HEARD, "", 60.0)
    assert advance(supervisor, 60.1, 1.0) == []


def test_delays_grow_and_start_again_after_a_stable_time() -> None:
    supervisor, now = running(), 0.0
    for delay in (*DELAYS, DELAYS[-1]):
        supervisor.handle(Event.EXITED, "died", now)
        assert advance(supervisor, now, delay - 0.1) == []
        assert supervisor.tick(now + delay)[0] is Action.SPAWN
        now += delay
        supervisor.handle(Event.CONNECTED, "relay", now)
    now += STABLE_AFTER
    supervisor.tick(now)
    supervisor.handle(Event.EXITED, "died", now)
    assert supervisor.tick(now + DELAYS[0])[0] is Action.SPAWN
    assert supervisor.deaths == len(DELAYS) + 2


def test_stop_ends_the_watch_from_every_phase() -> None:
    for phase in Phase:
        supervisor = Supervisor(phase=phase)
        supervisor.handle(Event.STOP, "stop", 0.0)
        assert supervisor.phase is Phase.STOPPED
        assert advance(supervisor, 0.0, 20.0) == []


@given(st.lists(st.tuples(st.sampled_from(Event), st.floats(0.0, 3.0))))
def test_no_live_phase_is_without_a_deadline(events: list[tuple[Event, float]]) -> None:
    supervisor, now, history = Supervisor(), 0.0, [Phase.STOPPED]
    for event, pause in events:
        now += pause
        supervisor.handle(event, "", now)
        history.append(supervisor.phase)
    assert all(
        old is new or any(TABLE.get((old, e), (old,))[0] is new for e in Event) for old, new in pairwise(history)
    )
    if supervisor.phase is not Phase.STOPPED:
        assert advance(supervisor, now, START_LIMIT + 0.2), f"{supervisor.phase} can last for ever"


def test_delays_start_again_when_one_that_ran_long_loses_its_relay_first() -> None:
    supervisor, now = running(), 0.0
    for delay in DELAYS[:3]:
        supervisor.handle(Event.EXITED, "died", now)
        assert advance(supervisor, now, delay)[-1][0] is Action.SPAWN
        now += delay
        supervisor.handle(Event.CONNECTED, "relay", now)
    now += STABLE_AFTER
    supervisor.handle(Event.DISCONNECTED, "relay", now)
    supervisor.handle(Event.EXITED, "died", now)
    assert supervisor.deadline == now + DELAYS[0]
