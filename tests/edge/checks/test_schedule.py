"""When checks are due: steady places, spread rounds, jitter, and no synchronised storms."""

import random
from collections import Counter
from itertools import pairwise

from edge.checks.schedule import FIRST_ROUND, Schedule


class Clock:
    """Checks whose probes take no time, run for a while; keeps when each began."""

    def __init__(self, start: float = 1000.0, seed: int = 1) -> None:
        self.schedule = Schedule(random.Random(seed).random)
        self.now = self.start = start
        self.began: dict[int, list[float]] = {}
        self.paces: dict[int, float] = {}

    def add(self, number: int, key: str, interval: float = 1.0, jitter: float = 0.0) -> None:
        self.paces[number] = interval
        self.schedule.add(number, interval, jitter, key, self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (due := self.schedule.next_due()) is not None and due < end:
            self.now = max(self.now, due)
            for number, _ in self.schedule.take(self.now, 64):
                self.began.setdefault(number, []).append(self.now)
                self.schedule.again(number, self.now, self.paces[number], self.now)
        self.now = end


def test_the_first_round_is_at_once_and_spread_where_there_are_many() -> None:
    clock = Clock()
    for number in range(2000):
        clock.add(number, f"n/{number}")
    clock.run(0.3)
    first = [times[0] - clock.start for times in clock.began.values()]
    assert len(first) == 2000
    assert max(first) <= 2000 * FIRST_ROUND
    fullest = Counter(int(each / 0.01) for each in first).most_common(1)[0][1]
    assert fullest < 500


def test_a_check_keeps_its_place_in_the_interval() -> None:
    clock = Clock()
    clock.add(1, "n/web/b1")
    clock.run(100)
    gaps = [after - before for before, after in pairwise(clock.began[1])]
    assert 0.5 <= gaps[0] <= 1.5
    assert all(abs(gap - 1.0) < 1e-6 for gap in gaps[1:])
    assert 99 <= len(clock.began[1]) <= 101


def test_a_late_probe_moves_none_of_those_behind_it() -> None:
    clock = Clock()
    clock.add(1, "n/web/b1")
    clock.run(10)
    ((number, due),) = clock.schedule.take(clock.now + 2, 1)
    clock.now = due + 0.3
    clock.schedule.again(number, clock.now, 1.0, clock.now)
    assert abs((clock.schedule.next_due() or 0) - (due + 1.0)) < 1e-6


def test_jitter_moves_a_probe_within_its_share_and_no_further() -> None:
    clock = Clock()
    clock.add(1, "n/web/b1", jitter=0.2)
    clock.run(500)
    offsets = [time % 1.0 for time in clock.began[1][1:]]
    middle = sorted(offsets)[len(offsets) // 2]
    assert 0.15 < max(offsets) - min(offsets) <= 0.2 + 1e-6 or middle < 0.1 or middle > 0.9


def test_a_pace_below_the_interval_counts_from_the_beginning_of_the_last_probe() -> None:
    clock = Clock()
    clock.add(1, "n/web/b1")
    clock.run(5)
    ((number, _),) = clock.schedule.take(clock.now + 2, 1)
    clock.schedule.again(number, 2000.0, 0.25, 2000.1)
    assert clock.schedule.next_due() == 2000.25
    ((number, _),) = clock.schedule.take(3000.0, 1)
    clock.schedule.again(number, 3000.0, 0.25, 3000.8)  # it took longer than the pace
    assert clock.schedule.next_due() == 3000.8


def test_thirty_two_edges_that_start_together_do_not_ask_a_backend_together() -> None:
    """F14: 32 edges with 100 backends each, restarted in one moment; the probes that one backend gets."""
    seen: Counter[int] = Counter()
    for edge in range(32):
        clock = Clock(seed=edge)
        for backend in range(100):
            clock.add(backend, f"e{edge}/web/b{backend}", jitter=0.1)
        clock.run(20)
        seen.update(int(time / 0.05) for time in clock.began[42] if time > clock.start + 2)
    fullest, mean = max(seen.values()), 32 * 0.05
    assert fullest <= mean + 6  # of 32 that could be
    assert fullest < 10


def test_ten_thousand_checks_fill_the_interval_evenly() -> None:
    clock = Clock()
    for number in range(10_000):
        clock.add(number, f"n/{number}", jitter=0.1)
    clock.run(4)
    third = Counter(int(time * 100) for times in clock.began.values() for time in times if 1001.5 <= time < 1003.5)
    assert max(third.values()) < 160  # 100 a hundredth of a second on average
    assert min(third.values()) > 50


def test_what_was_removed_is_due_no_more_and_what_is_added_again_begins_anew() -> None:
    clock = Clock()
    clock.add(1, "a")
    clock.add(2, "b")
    clock.run(3)
    before = len(clock.began[1])
    clock.schedule.remove(1)
    clock.run(3)
    assert len(clock.began[1]) == before
    clock.add(1, "a")
    clock.run(3)
    assert before + 3 <= len(clock.began[1]) <= before + 4
