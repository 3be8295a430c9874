"""The ledger of datagrams and of transfers: no datagram answered is lost, sums agree, and no gap outlasts the run."""

import json
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.traffic.evidence import Reason
from lab.traffic.facts import Facts, merge_reports, report_from_json
from lab.traffic.flow import UDP, make_flow
from lab.traffic.ledger import Ledger, Transfer
from lab.traffic.outstanding import GRACE, Outstanding

FLOW = make_flow("198.51.100.9", 40000, "203.0.113.11", 7000, UDP)
START = 100.0
Event = tuple[str, int, int, float]  # what, of which of two slots, a number to choose by, seconds since the one before


def test_what_is_under_way_is_not_lost_and_what_is_beyond_the_grace_is() -> None:
    ledger = Ledger(0.0, grace=1.0)
    slot = ledger.slot()
    for time in (0.0, 0.5, 1.0):
        ledger.sent(slot, time)
    ledger.opened(slot, FLOW)
    assert ledger.received(slot, "a-b1", 3, 1.0) is None
    first = ledger.mark("first", 1.25)
    assert (first.sent, first.received, first.under_way, first.lost) == (3, 1, 1, 1), "0.0 is lost, 0.5 under way"
    second = ledger.mark("second", 1.5)
    assert (second.sent, second.under_way_before, second.under_way, second.lost) == (0, 1, 0, 1)


def test_an_answer_within_the_grace_takes_what_was_under_way_away_from_the_next_interval() -> None:
    ledger = Ledger(0.0, grace=1.0)
    slot = ledger.slot()
    ledger.sent(slot, 0.0)
    assert ledger.mark("first", 0.5).lost == 0
    ledger.opened(slot, FLOW)
    assert ledger.received(slot, "a-b1", 1, 0.9) is None
    second = ledger.mark("second", 2.0)
    assert (second.received, second.under_way_before, second.under_way, second.lost) == (1, 1, 0, 0)


def test_an_answer_after_the_grace_makes_up_for_the_loss_in_the_total() -> None:
    ledger = Ledger(0.0, grace=1.0)
    slot = ledger.slot()
    ledger.sent(slot, 0.0)
    assert ledger.mark("first", 2.0).lost == 1
    ledger.opened(slot, FLOW)
    assert ledger.received(slot, "a-b1", 1, 2.5) is None
    assert ledger.mark("second", 3.0).lost == 0
    assert ledger.report(3.0).total.lost == 0


@pytest.mark.parametrize("established", [True, False])
def test_what_a_flow_had_under_way_is_lost_with_it(established: bool) -> None:
    ledger = Ledger(0.0, grace=1.0)
    slot = ledger.slot()
    if established:
        ledger.opened(slot, FLOW)
    ledger.sent(slot, 0.0)
    if established:
        ledger.broke(slot, Reason.TIMEOUT, 0.1)
    else:
        ledger.open_failed(slot, Reason.REFUSED, 0.1)
    assert ledger.mark("x", 0.2).lost == 1
    ledger.opened(slot, FLOW)
    assert ledger.received(slot, "a-b1", 1, 0.3) is Reason.WRONG_ANSWER, "a number of the flow before"


def test_the_gap_goes_on_where_an_answer_leaves_later_datagrams_without_one() -> None:
    ledger = Ledger(0.0)
    slot = ledger.slot()
    ledger.sent(slot, 0.0)
    ledger.sent(slot, 0.1)
    ledger.opened(slot, FLOW)
    assert ledger.received(slot, "a-b1", 1, 0.2) is None
    assert ledger.mark("x", 0.75).longest_gap == pytest.approx(0.55)


def test_an_answer_that_comes_again_is_known_while_it_is_among_the_last_64() -> None:
    one = Outstanding(GRACE)
    for number in range(200):
        one.sent(number / 1000)
    assert [one.answered(number) for number in (10, 10, 9, 9, 80, 10, 200, 80)] == [
        *(True, False, True, False, True, True, True, True)
    ], "10 and 80 are too long ago to be known"
    assert one.under_way(0.2) == 200 - 4


def test_what_is_beyond_the_grace_takes_no_memory() -> None:
    one = Outstanding(1.0)
    for number in range(10_000):
        one.sent(number / 100)
    assert one.under_way(100.0) <= 100


@dataclass
class Datagram:
    """One datagram as the naive account has it."""

    at: float
    answers: int = 0
    dead: bool = False


@dataclass
class Player:
    """Plays events into a ledger and keeps an account of its own, the naive way: every datagram and every pause."""

    ledger: Ledger = field(default_factory=lambda: Ledger(START, grace=1.0))
    now: float = START
    counts: Counter[str] = field(default_factory=Counter)
    pauses: list[float] = field(default_factory=list)
    late: int = 0

    def __post_init__(self) -> None:
        self.slots = [self.ledger.slot() for _ in range(2)]
        self.datagrams: list[list[Datagram]] = [[], []]
        self.progress = [START, START]
        self.transfers: list[tuple[Transfer, list[float]]] = []

    def play(self, event: Event) -> None:
        kind, index, choice, pause = event
        self.now += pause
        match kind:
            case "send":
                self.datagrams[index].append(Datagram(self.now))
                assert self.ledger.sent(self.slots[index], self.now) == len(self.datagrams[index])
            case "answer":
                self._answer(index, choice)
            case "break":
                self._break(index)
            case "transfer":
                self.counts["started"] += 1
                self.transfers.append((self.ledger.transferring(self.now), [self.now]))
            case _ if self.transfers:
                self._transfer(kind, choice)

    def _answer(self, index: int, choice: int) -> None:
        slot, sent = self.slots[index], self.datagrams[index]
        alive = [number for number, each in enumerate(sent, 1) if not each.dead]
        if not alive:
            return
        number = alive[choice % len(alive)]
        one = sent[number - 1]
        newest = max((n for n, each in enumerate(sent, 1) if each.answers), default=0)
        if slot.flow is None:
            self.ledger.opened(slot, FLOW)
        assert self.ledger.received(slot, "a-b1", number, self.now) is None
        self.late += not one.answers and self.now - one.at >= 1.0
        one.answers += 1
        if number > newest:
            self.progress[index] = self.now

    def _break(self, index: int) -> None:
        slot = self.slots[index]
        if slot.flow is None:
            self.ledger.open_failed(slot, Reason.TIMEOUT, self.now)
        else:
            self.ledger.broke(slot, Reason.TIMEOUT, self.now)
        for each in self.datagrams[index]:
            each.dead = True

    def _transfer(self, kind: str, choice: int) -> None:
        transfer, times = self.transfers[choice % len(self.transfers)]
        self.pauses.append(self.now - times[-1])
        times.append(self.now)
        if kind == "progress":
            self.counts["octets"] += choice
            self.ledger.progressed(transfer, choice, self.now)
            return
        self.transfers.remove((transfer, times))
        self.counts[kind] += 1
        if kind == "complete":
            self.ledger.transferred(transfer, self.now)
        else:
            self.ledger.transfer_failed(transfer, Reason.EOF, self.now)

    def lost(self) -> int:
        """Datagrams that no answer came to, and that none can be hoped for."""
        every = [each for sent in self.datagrams for each in sent]
        return sum(not each.answers and (each.dead or self.now - each.at >= 1.0) for each in every)

    def silences(self) -> list[float]:
        """How long each slot is without news now that it waits for."""
        found = []
        for sent, since in zip(self.datagrams, self.progress, strict=True):
            newest = max((n for n, each in enumerate(sent, 1) if each.answers), default=0)
            if later := sent[newest:]:
                found.append(self.now - max(since, later[0].at))
        return found


def played(events: list[Event | None]) -> Player:
    """A player that has played them; None is a mark."""
    player = Player()
    for event in events:
        if event is None:
            player.ledger.mark("step", player.now)
        else:
            player.play(event)
    return player


KINDS = ["send", "answer"] * 4 + ["break", "transfer", "progress", "progress", "complete", "fail"]
EVENT = st.tuples(st.sampled_from(KINDS), st.integers(0, 1), st.integers(0, 40), st.integers(0, 4).map(lambda n: n / 4))
EVENTS = st.lists(EVENT, max_size=60)  # fewer than the 64 answers that are remembered: the account is exact
MARKED = st.lists(st.one_of(EVENT, EVENT, EVENT, st.none()), max_size=60)


def without_marks(events: list[Event | None]) -> list[Event | None]:
    return [event for event in events if event is not None]


@settings(deadline=None)
@given(MARKED)
def test_no_datagram_answered_is_lost_and_the_sums_agree(events: list[Event | None]) -> None:
    player = played(events)
    facts = player.ledger.report(player.now).total
    every = [each for sent in player.datagrams for each in sent]
    answered = sum(each.answers > 0 for each in every)
    assert facts.sent == len(every)
    assert facts.received == sum(each.answers for each in every)
    assert facts.duplicated == facts.received - answered
    assert facts.lost == player.lost()
    assert facts.sent == answered + facts.lost + facts.under_way
    assert (facts.transfers, facts.failed_transfers) == (player.counts["complete"], player.counts["fail"])
    assert player.counts["started"] == facts.transfers + facts.failed_transfers + len(player.transfers)
    assert facts.transferred_bytes == player.counts["octets"]


@settings(deadline=None)
@given(MARKED)
def test_intervals_hand_on_what_is_under_way_and_lose_no_more_than_the_whole(events: list[Event | None]) -> None:
    player = played(events)
    player.ledger.mark("last", player.now)
    report = player.ledger.report(player.now)
    before = 0
    for window in report.windows:
        assert window.under_way_before == before
        before = window.under_way
    lost = sum(window.lost for window in report.windows)
    assert report.total.lost <= lost <= report.total.lost + player.late, "a late answer makes up in the total only"


@settings(deadline=None)
@given(MARKED)
def test_marks_and_json_change_nothing_of_datagrams_and_transfers(events: list[Event | None]) -> None:
    marked, plain = played(events), played(without_marks(events))
    report = marked.ledger.report(marked.now)
    assert report.total == plain.ledger.report(plain.now).total
    assert report_from_json(json.loads(json.dumps(report.to_json()))) == report


@settings(deadline=None)
@given(EVENTS, EVENTS)
def test_what_two_clients_lost_adds_up(one: list[Event | None], two: list[Event | None]) -> None:
    players = [played(one), played(two)]
    reports = [each.ledger.report(each.now) for each in players]
    total = merge_reports(reports).total
    assert total.lost == sum(each.total.lost for each in reports)
    assert total.under_way == sum(each.total.under_way for each in reports)


def gaps_within(facts: Facts, now: float) -> bool:
    """Whether every gap lies within the time from the ledger's start to `now`."""
    listed = all(gap.time <= now and gap.time - gap.length >= START for gap in facts.gaps)
    return listed and 0 <= facts.longest_gap <= now - START


@settings(deadline=None)
@given(MARKED)
def test_no_gap_is_longer_than_the_time_looked_at_nor_shorter_than_the_silence(events: list[Event | None]) -> None:
    player = played(events)
    report = player.ledger.report(player.now)
    assert all(gaps_within(window, window.until) for window in report.windows)
    assert gaps_within(report.total, player.now)
    pending = [player.now - times[-1] for _, times in player.transfers]
    assert report.total.longest_gap >= max([0.0, *player.pauses, *pending, *player.silences()])


@settings(deadline=None)
@given(EVENTS)
def test_the_pauses_of_transfers_are_the_gaps(events: list[Event]) -> None:
    player = Player()
    for event in events:
        if event[0] not in ("send", "answer", "break"):
            player.play(event)
    facts = replace(player.ledger.report(player.now).total)
    pending = [player.now - times[-1] for _, times in player.transfers]
    assert facts.longest_gap == max([0.0, *player.pauses, *pending])
    assert sorted(gap.length for gap in facts.gaps) == sorted(pause for pause in player.pauses if pause > 0.1)
