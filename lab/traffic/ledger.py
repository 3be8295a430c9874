"""The record of every flow, request and transfer of one stream. `now` is an argument; nothing here does I/O.

A slot is one member of the population of long-lived flows: it is open or not, and it has an answer due or not. Where a
flow breaks with an answer due, or breaks at all, the slot waits on until a later flow of its own is answered, so the
longest gap is what a client felt and not what a socket saw.
"""

from dataclasses import dataclass, replace
from functools import reduce

from lab.traffic.evidence import Failure, Kind, Reason
from lab.traffic.facts import Facts, Report
from lab.traffic.flow import Flow
from lab.traffic.outstanding import GRACE, Outstanding
from lab.traffic.series import Done, Finished, Series
from lab.traffic.tally import Tally


class LedgerError(Exception):
    """An event that cannot follow what was recorded before it: the recorder is wrong, not the network."""


@dataclass(slots=True)
class Slot:
    """One long-lived flow of the population, over all its reopenings. Only the ledger writes here.

    `flow` is None while it is closed. `asked`: when the ping without an answer was sent. `waiting`: since when its
    client is without an answer. `number` is that of the last ping.
    """

    datagrams: Outstanding
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


@dataclass(slots=True, eq=False)
class Transfer:
    """One transfer under way. `moved`: when its content moved last, or when it started."""

    moved: float
    flow: Flow | None = None
    backend: str = ""


class Ledger:
    """The one place where a stream's traffic is written down. All times in seconds of one monotonic clock.

    A datagram that is without an answer for `grace` is lost.
    """

    def __init__(self, now: float, stream: str = "", finished: Finished | None = None, grace: float = GRACE) -> None:
        self.series = Series(stream)
        self._stream, self._grace = stream, grace
        self._finished = Finished() if finished is None else finished
        self._slots: list[Slot] = []
        self._pending: dict[Request, None] = {}
        self._transfers: dict[Transfer, None] = {}
        self._windows: list[Facts] = []
        self._tally = self._new_tally(now)

    def slot(self) -> Slot:
        """A new member of the population, closed."""
        slot = Slot(Outstanding(self._grace))
        self._slots.append(slot)
        return slot

    def opened(self, slot: Slot, flow: Flow) -> None:
        """The flow of a slot is established."""
        if slot.flow is not None:
            raise LedgerError(f"{slot.flow} is open; a slot holds one flow")
        slot.flow, slot.backend, slot.asked = flow, "", None
        self._tally.opened += 1

    def open_failed(self, slot: Slot, reason: Reason, now: float, flow: Flow | None = None) -> None:
        """An attempt to open the flow of a slot ended without one."""
        if slot.flow is not None:
            raise LedgerError(f"{slot.flow} is open; its opening cannot fail")
        slot.datagrams.give_up()
        self._tally.open_failed[reason] += 1
        self._tally.evidence(Failure(now, Kind.OPENING, reason, "", flow))

    def moved(self, slot: Slot, flow: Flow) -> None:
        """An open slot goes on as another five_tuple: its client changed the port."""
        if slot.flow is None:
            raise LedgerError("only an open flow can go on from another port")
        slot.flow = flow

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
        self.series.answered(now, backend)
        return None

    def sent(self, slot: Slot, now: float) -> int:
        """A datagram of a slot, open or not, whether or not answers are due; returns its number."""
        if slot.waiting is None:
            slot.waiting = now
        self._tally.sent += 1
        return slot.datagrams.sent(now)

    def received(self, slot: Slot, backend: str, number: int, now: float, roaming: bool = False) -> Reason | None:
        """The answer to datagram `number` by an open slot. The same of `broke` holds as for `answered`.

        The gap ends; where later datagrams are still without an answer another one begins.
        """
        datagrams, tally = slot.datagrams, self._tally
        if slot.flow is None or not backend or not datagrams.knows(number):
            return Reason.WRONG_ANSWER
        if slot.backend and backend != slot.backend and not roaming:
            return Reason.OTHER_BACKEND
        slot.backend = backend
        tally.received += 1
        if number > datagrams.newest:
            self._end_gap(slot, now)
            slot.waiting = None if number == datagrams.number else now
        if not datagrams.answered(number):
            tally.duplicated += 1
            return None
        self.series.answered(now, backend)
        return None

    def broke(self, slot: Slot, reason: Reason, now: float) -> None:
        """The flow of an open slot is gone, once; the slot is closed and waits on."""
        if slot.flow is None:
            raise LedgerError("a flow breaks once; this slot is closed")
        self._tally.broken[reason] += 1
        self._tally.evidence(Failure(now, Kind.CONNECTION, reason, slot.backend, slot.flow))
        self.series.failed(now, slot.backend)
        if slot.waiting is None:
            slot.waiting = now
        self._end_gap(slot, now)
        slot.flow = slot.asked = None
        slot.backend = ""
        slot.datagrams.give_up()

    def requested(self, now: float, flow: Flow | None = None) -> Request:
        """A request starts, with the opening of its connection."""
        request = Request(now, flow)
        self._pending[request] = None
        self._tally.requests += 1
        return request

    def replied(self, request: Request, backend: str, now: float) -> None:
        """The whole answer to a request is there; `backend` is "" where the answer does not say."""
        self._end_request(request, now)
        self._tally.replies += 1
        self._tally.requests_per_backend[backend] += 1
        self.series.answered(now, backend)
        self._finished.add(Done(now, self._stream, request.flow, backend, None))

    def failed(self, request: Request, reason: Reason, now: float) -> None:
        """A request ended without its answer."""
        self._end_request(request, now)
        self._tally.failed[reason] += 1
        self._tally.evidence(Failure(now, Kind.REQUEST, reason, "", request.flow))
        self.series.failed(now, "")
        self._finished.add(Done(now, self._stream, request.flow, "", reason))

    def transferring(self, now: float) -> Transfer:
        """A transfer starts, with the opening of its connection."""
        transfer = Transfer(now)
        self._transfers[transfer] = None
        return transfer

    def progressed(self, transfer: Transfer, octets: int, now: float) -> None:
        """So many more octets of a transfer's content moved."""
        self._tally.gap(now, transfer.moved, transfer.flow, transfer.backend)
        transfer.moved = now
        self._tally.transferred_bytes += octets

    def transferred(self, transfer: Transfer, now: float) -> None:
        """A transfer is complete."""
        self._end_transfer(transfer, now)
        self._tally.transfers += 1
        self.series.answered(now, transfer.backend)
        self._finished.add(Done(now, self._stream, transfer.flow, transfer.backend, None))

    def transfer_failed(self, transfer: Transfer, reason: Reason, now: float) -> None:
        """A transfer ended and is not complete."""
        self._end_transfer(transfer, now)
        self._tally.transfers_failed[reason] += 1
        self._tally.evidence(Failure(now, Kind.TRANSFER, reason, transfer.backend, transfer.flow))
        self.series.failed(now, transfer.backend)
        self._finished.add(Done(now, self._stream, transfer.flow, transfer.backend, reason))

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
        """Every long-lived flow open now, and the backend that answers it ("" before its first answer)."""
        return {slot.flow: slot.backend for slot in self._slots if slot.flow is not None}

    def under_way(self, now: float) -> int:
        """Datagrams without an answer that are not lost yet."""
        return sum(slot.datagrams.under_way(now) for slot in self._slots)

    def _new_tally(self, now: float) -> Tally:
        open_slots = sum(slot.flow is not None for slot in self._slots)
        return Tally(now, open_slots, len(self._pending), self.under_way(now))

    def _end_gap(self, slot: Slot, now: float) -> None:
        if slot.waiting is not None:
            self._tally.gap(now, slot.waiting, slot.flow, slot.backend)

    def _end_request(self, request: Request, now: float) -> None:
        if request not in self._pending:
            raise LedgerError("a request ends once; this one has ended")
        del self._pending[request]
        self._tally.slowest_request = max(self._tally.slowest_request, now - request.started)

    def _end_transfer(self, transfer: Transfer, now: float) -> None:
        if transfer not in self._transfers:
            raise LedgerError("a transfer ends once; this one has ended")
        del self._transfers[transfer]
        self._tally.gap(now, transfer.moved, transfer.flow, transfer.backend)

    def _facts(self, label: str, now: float) -> Facts:
        waiting = [slot.waiting for slot in self._slots if slot.waiting is not None]
        waiting += [transfer.moved for transfer in self._transfers]
        backends = [slot.backend for slot in self._slots if slot.flow is not None]
        ages = [now - request.started for request in self._pending]
        return self._tally.facts(label, now, backends, waiting, ages, self.under_way(now))
