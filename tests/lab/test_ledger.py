"""The ledger: what it counts, what it refuses, and that neither marks nor the number of processes change a total."""

import json
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.traffic.evidence import EVIDENCE_LIMIT, Kind, Reason
from lab.traffic.facts import (
    Facts,
    Report,
    facts_from_json,
    merge_facts,
    merge_reports,
    report_from_json,
)
from lab.traffic.flow import flow_from_json, make_flow
from lab.traffic.ledger import Ledger, LedgerError, Request

FLOW = make_flow("198.51.100.9", 40000, "203.0.113.11", 7000)
BREAKS = (Reason.RESET, Reason.EOF, Reason.TIMEOUT, Reason.OTHER_BACKEND, Reason.WRONG_ANSWER)


def open_ledger() -> tuple[Ledger, "Slotted"]:
    ledger = Ledger(100.0)
    slotted = Slotted(ledger)
    ledger.opened(slotted.slot, FLOW)
    return ledger, slotted


@dataclass
class Slotted:
    ledger: Ledger

    def __post_init__(self) -> None:
        self.slot = self.ledger.slot()

    def exchange(self, backend: str, asked: float, answered: float) -> Reason | None:
        line = self.ledger.asked(self.slot, asked)
        return self.ledger.answered(self.slot, f"{backend} {line}", answered)


def test_an_answered_ping_is_a_gap_and_names_the_backend() -> None:
    ledger, one = open_ledger()
    assert one.exchange("a-b1", 100.0, 100.25) is None
    assert one.exchange("a-b1", 101.0, 101.1) is None
    facts = ledger.mark("calm", 102.0)
    assert (facts.pings, facts.answers, facts.longest_gap) == (2, 2, 0.25)
    assert facts.flows_per_backend == {"a-b1": 1}
    assert (facts.population, facts.broken_connections) == (1, 0)
    assert ledger.flows() == {FLOW: "a-b1"}


def test_a_ping_still_unanswered_at_the_end_is_a_gap_and_is_whole_in_the_next_interval() -> None:
    ledger, one = open_ledger()
    ledger.asked(one.slot, 100.0)
    assert ledger.mark("first", 103.0).longest_gap == 3.0
    assert ledger.answered(one.slot, "a-b1 ping 1", 104.5) is None
    assert ledger.mark("second", 105.0).longest_gap == 4.5
    assert ledger.mark("third", 106.0).longest_gap == 0.0


def test_a_gap_runs_on_over_a_reconnect() -> None:
    ledger, one = open_ledger()
    one.exchange("a-b1", 100.0, 100.1)
    ledger.asked(one.slot, 101.0)
    ledger.broke(one.slot, Reason.RESET, 101.5)
    ledger.opened(one.slot, FLOW._replace(client_port=40001))
    one.exchange("b-b1", 103.0, 103.2)
    facts = ledger.mark("move", 104.0)
    assert facts.longest_gap == pytest.approx(2.2)
    assert (facts.opened, facts.established, facts.broken) == (2, 1, {"reset": 1})
    assert facts.flows_per_backend == {"b-b1": 1}


def test_a_break_with_no_answer_due_starts_a_gap_too() -> None:
    ledger, one = open_ledger()
    one.exchange("a-b1", 100.0, 100.1)
    ledger.broke(one.slot, Reason.EOF, 101.0)
    assert ledger.mark("closed", 103.0).longest_gap == 2.0


def test_another_backend_within_one_connection_is_never_an_answer() -> None:
    ledger, one = open_ledger()
    assert one.exchange("a-b1", 100.0, 100.1) is None
    assert one.exchange("a-b2", 101.0, 101.1) is Reason.OTHER_BACKEND
    ledger.broke(one.slot, Reason.OTHER_BACKEND, 101.1)
    (failure,) = ledger.mark("x", 102.0).failures
    assert (failure.kind, failure.backend, failure.flow, failure.time) == (Kind.CONNECTION, "a-b1", FLOW, 101.1)


@pytest.mark.parametrize("line", ["a-b1 ping 2", "a-b1 ping 1 ", "a-b1", "", " ping 1", "ping 1", "a-b1 PING 1"])
def test_a_line_that_is_not_the_echo_is_a_wrong_answer(line: str) -> None:
    ledger, one = open_ledger()
    ledger.asked(one.slot, 100.0)
    assert ledger.answered(one.slot, line, 100.1) is Reason.WRONG_ANSWER
    assert ledger.mark("x", 101.0).answers == 0


def test_an_answer_that_nobody_asked_for_is_wrong() -> None:
    ledger, one = open_ledger()
    one.exchange("a-b1", 100.0, 100.1)
    assert ledger.answered(one.slot, "a-b1 ping 1", 100.2) is Reason.WRONG_ANSWER


def test_requests_are_counted_once_and_the_slowest_includes_those_under_way() -> None:
    ledger = Ledger(0.0)
    good, bad, slow = ledger.requested(0.0), ledger.requested(0.1), ledger.requested(0.2)
    ledger.replied(good, "a-b1", 0.3)
    ledger.failed(bad, Reason.BAD_STATUS, 0.4)
    facts = ledger.mark("x", 5.2)
    assert (facts.requests, facts.replies, facts.failed, facts.pending) == (3, 1, {"bad_status": 1}, 1)
    assert facts.slowest_request == 5.0
    assert facts.requests_per_backend == {"a-b1": 1}
    ledger.replied(slow, "a-b2", 6.2)
    later = ledger.mark("y", 7.0)
    assert (later.pending_before, later.requests, later.replies, later.slowest_request) == (1, 0, 1, 6.0)


def test_events_that_cannot_follow_are_refused() -> None:
    ledger, one = open_ledger()
    with pytest.raises(LedgerError, match="a slot holds one flow"):
        ledger.opened(one.slot, FLOW)
    with pytest.raises(LedgerError, match="its opening cannot fail"):
        ledger.open_failed(one.slot, Reason.REFUSED, 100.0)
    ledger.asked(one.slot, 100.0)
    with pytest.raises(LedgerError, match="without an answer due"):
        ledger.asked(one.slot, 100.0)
    ledger.broke(one.slot, Reason.EOF, 101.0)
    with pytest.raises(LedgerError, match="breaks once"):
        ledger.broke(one.slot, Reason.EOF, 101.0)
    request = ledger.requested(101.0)
    ledger.replied(request, "", 101.0)
    with pytest.raises(LedgerError, match="ends once"):
        ledger.failed(request, Reason.EOF, 101.0)


def test_evidence_is_bounded_and_counts_are_not() -> None:
    ledger = Ledger(0.0)
    for number in range(EVIDENCE_LIMIT + 5):
        ledger.open_failed(ledger.slot(), Reason.REFUSED, float(number))
    facts = ledger.mark("x", 100.0)
    assert facts.open_failed == {"refused": EVIDENCE_LIMIT + 5}
    assert [failure.time for failure in facts.failures] == [float(n) for n in range(EVIDENCE_LIMIT)]


# One event: (kind, slot, reason, seconds since the event before). What cannot happen just then is left out.
EVENT = st.tuples(
    st.sampled_from(["open", "ping", "answer"] * 3 + ["fail", "foreign", "break", "ask", "reply", "lose", "stall"]),
    st.integers(0, 1),
    st.sampled_from(BREAKS),
    st.integers(0, 8).map(lambda n: n / 4),
)


@dataclass
class Player:
    """Plays events into a ledger and keeps an account of its own, the naive way: one list of what happened."""

    ledger: Ledger = field(default_factory=lambda: Ledger(0.0))
    now: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    gaps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slots = [self.ledger.slot() for _ in range(2)]
        self.felt: list[float | None] = [None] * 2
        self.requests: list[Request] = []

    def play(self, event: tuple[str, int, Reason, float]) -> None:
        kind, index, reason, pause = event
        self.now += pause
        is_open, due = self.slots[index].flow is not None, self.slots[index].asked is not None
        match kind:
            case "open" if not is_open:
                self.counts["opened"] += 1
                self.ledger.opened(self.slots[index], FLOW._replace(client_port=self.counts["opened"]))
            case "fail" if not is_open:
                self.counts["open_failed"] += 1
                self.ledger.open_failed(self.slots[index], Reason.REFUSED, self.now)
            case "ping" if is_open and not due:
                self.counts["pings"] += 1
                self.felt[index] = self.now if self.felt[index] is None else self.felt[index]
                self.ledger.asked(self.slots[index], self.now)
            case "answer" | "foreign" if is_open and due:
                self._answer(index, kind == "foreign")
            case "break" if is_open:
                self._break(index, reason)
            case "ask" | "reply" | "lose" | "stall":
                self._other(kind, reason, pause)

    def _answer(self, index: int, foreign: bool) -> None:
        slot = self.slots[index]
        backend = "foreign" if foreign and slot.backend else "a-b1"
        verdict = self.ledger.answered(slot, f"{backend} ping {slot.number}", self.now)
        if backend == "foreign":
            assert verdict is Reason.OTHER_BACKEND
            self._break(index, verdict)
            return
        assert verdict is None
        self.counts["answers"] += 1
        self.gaps.append(self.now - (self.felt[index] or 0.0))
        self.felt[index] = None

    def _break(self, index: int, reason: Reason) -> None:
        self.counts["broken"] += 1
        self.felt[index] = self.now if self.felt[index] is None else self.felt[index]
        self.ledger.broke(self.slots[index], reason, self.now)

    def _other(self, kind: str, reason: Reason, pause: float) -> None:
        if kind == "ask":
            self.counts["requests"] += 1
            self.requests.append(self.ledger.requested(self.now))
        elif kind == "stall":
            self.ledger.stalled(pause)
        elif self.requests and kind == "reply":
            self.counts["replies"] += 1
            self.ledger.replied(self.requests.pop(0), "a-b1", self.now)
        elif self.requests:
            self.counts["failed"] += 1
            self.ledger.failed(self.requests.pop(), reason, self.now)

    def longest_gap(self) -> float:
        return max([0.0, *self.gaps, *(self.now - since for since in self.felt if since is not None)])


def conserved(facts: Facts) -> bool:
    connections = facts.established_before + facts.opened - facts.broken_connections == facts.established
    requests = facts.pending_before + facts.requests - facts.replies - facts.failed_requests == facts.pending
    return connections and requests and sum(facts.flows_per_backend.values()) == facts.established


@settings(deadline=None)
@given(st.lists(EVENT, max_size=60))
def test_the_ledger_agrees_with_a_naive_account_and_conserves(events: list[tuple[str, int, Reason, float]]) -> None:
    player = Player()
    for event in events:
        player.play(event)
    facts = player.ledger.report(player.now).total
    assert conserved(facts)
    counted = {
        "opened": facts.opened,
        "open_failed": sum(facts.open_failed.values()),
        "pings": facts.pings,
        "answers": facts.answers,
        "broken": facts.broken_connections,
        "requests": facts.requests,
        "replies": facts.replies,
        "failed": facts.failed_requests,
    }
    assert +Counter(counted) == player.counts
    assert facts.longest_gap == pytest.approx(player.longest_gap())


@settings(deadline=None)
@given(st.lists(st.one_of(EVENT, EVENT, EVENT, st.just(None)), max_size=60))
def test_marks_change_no_total(events: list[tuple[str, int, Reason, float] | None]) -> None:
    marked, unmarked = Player(), Player()
    for event in events:
        if event is None:
            assert conserved(marked.ledger.mark("step", marked.now))
        else:
            marked.play(event)
            unmarked.play(event)
    report, plain = marked.ledger.report(marked.now), unmarked.ledger.report(unmarked.now)
    assert report.total == plain.total
    assert report.total.label == "total"
    assert len(report.windows) == events.count(None)
    assert report_from_json(json.loads(json.dumps(report.to_json()))) == report


def report_of(events: list[tuple[str, int, Reason, float]]) -> Report:
    player = Player()
    for event in events:
        player.play(event)
    player.ledger.mark("step", player.now)
    return player.ledger.report(player.now)


EVENTS = st.lists(EVENT, max_size=40)


@settings(deadline=None)
@given(EVENTS, EVENTS, EVENTS)
def test_merging_clients_adds_up_in_any_order(
    a: list[tuple[str, int, Reason, float]],
    b: list[tuple[str, int, Reason, float]],
    c: list[tuple[str, int, Reason, float]],
) -> None:
    one, two, three = report_of(a), report_of(b), report_of(c)
    together = merge_reports([one, two, three])
    assert merge_reports([merge_reports([one, two]), three]) == together
    assert merge_reports([three, one, two]) == together
    assert conserved(together.total)
    assert together.total.population == sum(each.total.population for each in (one, two, three))
    assert together.total.answers == sum(each.total.answers for each in (one, two, three))
    assert together.total.longest_gap == max(each.total.longest_gap for each in (one, two, three))
    assert together.windows[0].label == "step"


def test_merging_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="one label"):
        merge_facts([Facts("a", 0, 1), Facts("b", 0, 1)])
    with pytest.raises(ValueError, match="one label"):
        merge_facts([])
    with pytest.raises(ValueError, match="different marks"):
        merge_reports([Report(Facts("", 0, 1), (Facts("a", 0, 1),)), Report(Facts("", 0, 1), ())])


@pytest.mark.parametrize(
    "damage",
    [{"extra": 1}, {"failures": [{"time": 1}]}, {"failures": 3}, {"failures": [{"time": 1, "kind": "x"}]}],
)
def test_facts_that_are_none_are_refused(damage: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="facts"):
        facts_from_json(Facts("a", 0, 1).to_json() | damage)


def test_a_report_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="schema_version is 1, expected 3"):
        report_from_json({"schema_version": 1})


@pytest.mark.parametrize(
    "value",
    [None, [], ["a"], ["1.2.3.4", 1, "1.2.3.4", 70000, 6], ["1.2.3.4", 1, "x", 7, 6], ["1.2.3.4", 1, "::1", 7, 6]],
)
def test_a_flow_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="flow: "):
        flow_from_json(value)
    assert flow_from_json(FLOW.to_json()) == FLOW
