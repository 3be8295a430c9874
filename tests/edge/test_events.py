"""The event log: one line for a transition, the last ones kept, and a stream that is gone costs nothing."""

import asyncio
import io

from edge.log.events import BACKLOG, HISTORY, KEPT, EventLog
from edge.log.limit import BURST


def test_an_event_is_one_line_and_is_kept() -> None:
    stream = io.StringIO()
    log = EventLog(stream)
    log.record("backend web/b1", "up", "down", "connection refused")
    (event,) = log.last
    assert stream.getvalue() == f"{event['at']} backend web/b1: up -> down, reason: connection refused\n"
    assert (event["subject"], event["old"], event["new"]) == ("backend web/b1", "up", "down")


def test_what_others_chose_cannot_begin_a_line_or_paint_the_terminal() -> None:
    stream = io.StringIO()
    log = EventLog(stream)
    log.record("peer a-r1", "up", "down", "bye\n2026-01-01T00:00:00Z vip: all -> well\x1b[31m, grüße")
    assert stream.getvalue().count("\n") == 1
    assert log.last[0]["reason"] == r"bye\n2026-01-01T00:00:00Z vip: all -> well\x1b[31m, grüße"


def test_only_the_last_events_are_kept_oldest_first() -> None:
    log = EventLog(io.StringIO())
    for number in range(KEPT + 5):
        log.record(f"x{number}", "a", "b", str(number))
    assert [event["reason"] for event in log.last] == [str(number) for number in range(5, KEPT + 5)]


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise BlockingIOError(11, "would block")


def test_a_stream_that_is_full_or_closed_does_not_stop_the_daemon() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (_Full(), closed):
        log = EventLog(stream)
        log.record("x", "a", "b", "why")
        assert log.last[0]["reason"] == "why"


def test_an_event_has_a_number_both_clocks_and_what_was_seen() -> None:
    log = EventLog(io.StringIO())
    log.record("backend web/b1", "up", "down", "refused", {"detail": "\x1b[31mrefused", "latency": 0.001})
    log.record("backend web/b1", "down", "up", "well")
    first, second = log.last
    assert (first["number"], second["number"]) == (1, 2)
    assert first["evidence"] == {"detail": r"\x1b[31mrefused", "latency": 0.001}
    assert second["evidence"] == {}
    assert 0 < first["monotonic"] <= second["monotonic"]


def test_a_reader_goes_on_after_the_number_that_it_saw_last() -> None:
    log = EventLog(io.StringIO())
    for number in range(HISTORY + 5):
        log.record(f"x{number}", "a", "b", "")
    assert [event["number"] for event in log.after(HISTORY + 3)[1]] == [HISTORY + 4, HISTORY + 5]
    missed, events = log.after(2)
    assert (missed, events[0]["number"], len(events)) == (3, 6, HISTORY)
    assert log.after(HISTORY + 5) == (0, [])
    assert len(log.after(10**9)[1]) == HISTORY  # of an earlier daemon


def test_a_follower_is_told_what_happens_and_how_much_it_missed() -> None:
    async def story() -> None:
        log = EventLog(io.StringIO())
        log.record("early", "a", "b", "")
        quick, slow = log.follow(0), log.follow()
        log.record("next", "a", "b", "")
        assert [event["subject"] for event in (await quick.take())[1]] == ["early", "next"]
        for number in range(BACKLOG + 6):
            log.record(f"x{number}", "a", "b", "")
        missed, events = await slow.take()
        assert (missed, len(events), events[-1]["subject"]) == (7, BACKLOG, f"x{BACKLOG + 5}")
        log.unfollow(slow)
        log.record("late", "a", "b", "")
        waiting = asyncio.create_task(slow.take())
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()

    asyncio.run(story())


def test_a_subject_that_flaps_leaves_room_in_the_log_for_others_and_is_kept_whole() -> None:
    stream = io.StringIO()
    log = EventLog(stream)
    for number in range(BURST + 10):
        log.record("backend web/b1", "up", "down", f"n{number}")
    log.record("backend web/b2", "up", "down", "the other")
    lines = stream.getvalue().splitlines()
    assert len(lines) == BURST + 2
    assert "more lines are left out" in lines[BURST]
    assert lines[-1].endswith("reason: the other")
    assert len(log.last) == BURST + 11
