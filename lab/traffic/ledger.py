"""The record of every connection and request of one client. `now` is an argument; nothing here does I/O.

A slot is one member of the population of long-lived connections: it is open or not, and it has an answer due or not.
Where a connection breaks with an answer due, or breaks at all, the slot waits on until a later connection of its own
is answered, so the longest gap is what a client felt and not what a socket saw.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import reduce

from lab.traffic.facts import EVIDENCE_LIMIT, Facts, Failure, Kind, Reason, Report, first_failures
from lab.traffic.flow import Flow


class LedgerError(Exception):
    """An event that cannot follow what was recorded before it: the recorder is wrong, not the network."""


@dataclass(slots=True)
class Slot:
    """One long-lived connection of the population, over all its reopenings. Only the ledger writes here.

    `flow` is None while it is closed. `asked`: when the ping without an answer was sent. `waiting`: since when its
    client is without an answer. `number` is that of the last ping.
    """

    flow: Flow | None = None
    backend: str = ""
    asked: float | None = None
    waiting: float | None = None
    number: int = 0


@dataclass(slots=True, eq=False)
class Request:
    """One request under way."""

    started: float
    flow: Flow | None = None


@dataclass(slots=True)
class _Tally:
    """What is counted since the last mark."""

    label: str
    since: float
    established_before: int
    pending_before: int
    opened: int = 0
    pings: int = 0
    answers: int = 0
    requests: int = 0
    replies: int = 0
    longest_gap: float = 0.0
    slowest_request: float = 0.0
    stall: float = 0.0
    open_failed: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    requests_per_backend: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)


class Ledger:
    """The one place where a client's traffic is written down. All times in seconds of one monotonic clock."""

    def __init__(self, now: float) -> None:
        self._slots: list[Slot] = []
        self._pending: dict[Request, None] = {}
        self._windows: list[Facts] = []
        self._tally = self._new_tally(now)

    def slot(self) -> Slot:
        """A new member of the population, closed."""
        slot = Slot()
        self._slots.append(slot)
        return slot

    def opened(self, slot: Slot, flow: Flow) -> None:
        """The connection of a slot is established."""
        if slot.flow is not None:
            raise LedgerError(f"{slot.flow} is open; a slot holds one connection")
        slot.flow, slot.backend, slot.asked = flow, "", None
        self._tally.opened += 1

    def open_failed(self, slot: Slot, reason: Reason, now: float) -> None:
        """An attempt to open the connection of a slot ended without one."""
        if slot.flow is not None:
            raise LedgerError(f"{slot.flow} is open; its opening cannot fail")
        self._tally.open_failed[reason] += 1
        self._evidence(Failure(now, Kind.OPENING, reason))

    def asked(self, slot: Slot, now: float) -> str:
        """The next ping of an open slot that has no answer due; returns the line to send, without its newline."""
        if slot.flow is None or slot.asked is not None:
            raise LedgerError(f"a ping needs an open connection without an answer due, not {slot}")
        slot.number += 1
        slot.asked = now
        if slot.waiting is None:
            slot.waiting = now
        self._tally.pings += 1
        return f"ping {slot.number}"

    def answered(self, slot: Slot, line: str, now: float) -> Reason | None:
        """A line received by an open slot: `<backend> ping <n>`.

        Returns the reason why the connection must count as broken, None when the answer is the expected one. A line
        that is not expected is recorded by `broke`, which the caller then calls.
        """
        backend, _, echo = line.partition(" ")
        if slot.flow is None or slot.asked is None or not backend or echo != f"ping {slot.number}":
            return Reason.WRONG_ANSWER
        if slot.backend and backend != slot.backend:
            return Reason.OTHER_BACKEND
        slot.backend = backend
        self._end_gap(slot, now)
        slot.asked = slot.waiting = None
        self._tally.answers += 1
        return None

    def broke(self, slot: Slot, reason: Reason, now: float) -> None:
        """The connection of an open slot is gone, once; the slot is closed and waits on."""
        if slot.flow is None:
            raise LedgerError("a connection breaks once; this slot is closed")
        self._tally.broken[reason] += 1
        self._evidence(Failure(now, Kind.CONNECTION, reason, slot.backend, slot.flow))
        if slot.waiting is None:
            slot.waiting = now
        self._end_gap(slot, now)
        slot.flow = slot.asked = None
        slot.backend = ""

    def requested(self, now: float) -> Request:
        """A request starts, with the opening of its connection."""
        request = Request(now)
        self._pending[request] = None
        self._tally.requests += 1
        return request

    def replied(self, request: Request, backend: str, now: float) -> None:
        """The whole answer to a request is there; `backend` is "" where the answer does not say."""
        self._end_request(request, now)
        self._tally.replies += 1
        self._tally.requests_per_backend[backend] += 1

    def failed(self, request: Request, reason: Reason, now: float) -> None:
        """A request ended without its answer."""
        self._end_request(request, now)
        self._tally.failed[reason] += 1
        self._evidence(Failure(now, Kind.REQUEST, reason, "", request.flow))

    def stalled(self, late: float) -> None:
        """The recorder itself was `late` seconds behind its schedule."""
        self._tally.stall = max(self._tally.stall, late)

    def mark(self, label: str, now: float) -> Facts:
        """End the interval that began at the previous mark, name it and return its facts."""
        facts = self._facts(label, now)
        self._windows.append(facts)
        self._tally = self._new_tally(now)
        return facts

    def report(self, now: float) -> Report:
        """Everything recorded: the marked intervals, and the total up to `now`."""
        parts = [*self._windows, self._facts("", now)]
        total = reduce(lambda one, later: one.then(later), parts)
        return Report(replace(total, label="total"), tuple(self._windows))

    def flows(self) -> dict[Flow, str]:
        """Every connection open now, and the backend that answers it ("" before its first answer)."""
        return {slot.flow: slot.backend for slot in self._slots if slot.flow is not None}

    def _new_tally(self, now: float) -> _Tally:
        return _Tally("", now, sum(slot.flow is not None for slot in self._slots), len(self._pending))

    def _end_gap(self, slot: Slot, now: float) -> None:
        if slot.waiting is not None:
            self._tally.longest_gap = max(self._tally.longest_gap, now - slot.waiting)

    def _end_request(self, request: Request, now: float) -> None:
        if request not in self._pending:
            raise LedgerError("a request ends once; this one has ended")
        del self._pending[request]
        self._tally.slowest_request = max(self._tally.slowest_request, now - request.started)

    def _evidence(self, failure: Failure) -> None:
        if len(self._tally.failures) < EVIDENCE_LIMIT:
            self._tally.failures.append(failure)

    def _facts(self, label: str, now: float) -> Facts:
        tally = self._tally
        open_slots = [slot for slot in self._slots if slot.flow is not None]
        gaps = (now - slot.waiting for slot in self._slots if slot.waiting is not None)
        ages = (now - request.started for request in self._pending)
        return Facts(
            label=label,
            since=tally.since,
            until=now,
            established_before=tally.established_before,
            opened=tally.opened,
            open_failed=dict(tally.open_failed),
            broken=dict(tally.broken),
            established=len(open_slots),
            pings=tally.pings,
            answers=tally.answers,
            longest_gap=max([tally.longest_gap, *gaps]),
            pending_before=tally.pending_before,
            requests=tally.requests,
            replies=tally.replies,
            failed=dict(tally.failed),
            pending=len(self._pending),
            slowest_request=max([tally.slowest_request, *ages]),
            stall=tally.stall,
            flows_per_backend=dict(Counter(slot.backend for slot in open_slots)),
            requests_per_backend=dict(tally.requests_per_backend),
            failures=first_failures(tally.failures),
        )
