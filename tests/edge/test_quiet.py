"""When a drained node counts as quiet."""

from edge.policy.quiet import QuietMeter


def test_quiet_takes_a_whole_window_of_few_packets() -> None:
    meter = QuietMeter(packets=10, window=2.0)
    assert [meter.observe(100, now) for now in (0.0, 1.0, 1.9)] == [False, False, False]
    assert meter.observe(105, 2.1)


def test_packets_within_the_window_are_not_quiet_and_older_ones_are_forgotten() -> None:
    meter = QuietMeter(packets=10, window=2.0)
    totals = [(0.0, 0), (1.0, 500), (2.0, 500), (2.5, 500), (3.1, 500)]
    assert [meter.observe(total, now) for now, total in totals] == [False, False, False, False, True]
