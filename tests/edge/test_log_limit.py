"""The limit of log lines: a burst, then a steady rate, each subject by itself, in bounded memory."""

from edge.log.limit import BURST, PER_SECOND, SUBJECTS, LineLimit, Verdict


def test_a_burst_is_written_and_what_follows_is_counted() -> None:
    limit = LineLimit()
    assert all(limit.ask("a", 0.0).write for _ in range(BURST))
    assert limit.ask("a", 0.0) == Verdict(False, 1, first=True)
    assert limit.ask("a", 0.0) == Verdict(False, 2)
    assert limit.ask("b", 0.0).write
    assert limit.ask("a", 1 / PER_SECOND) == Verdict(True, 2)
    assert limit.ask("a", 1 / PER_SECOND) == Verdict(False, 1, first=True)


def test_in_the_long_run_a_subject_writes_at_its_rate() -> None:
    limit = LineLimit()
    written = sum(limit.ask("a", tick / 10).write for tick in range(6000))  # 10 minutes at 10 Hz
    assert written in range(int(600 * PER_SECOND), int(600 * PER_SECOND) + BURST + 2)


def test_the_subject_heard_of_longest_ago_is_forgotten_first() -> None:
    limit = LineLimit()
    for _ in range(BURST + 1):
        limit.ask("old", 0.0)
    for number in range(SUBJECTS - 1):
        limit.ask(f"x{number}", 0.0)
    assert not limit.ask("old", 0.0).write  # still known, and now the newest
    for number in range(SUBJECTS):
        limit.ask(f"y{number}", 0.0)
    assert limit.ask("old", 0.0).write
