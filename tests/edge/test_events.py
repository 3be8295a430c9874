"""The event log: one line for a transition, the last ones kept, and a stream that is gone costs nothing."""

import io

from edge.events import KEPT, EventLog


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
        log.record("x", "a", "b", str(number))
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
