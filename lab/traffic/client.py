"""All the traffic of one client node: every stream of its plan, with a ledger each, on one loop."""

import gc
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lab.traffic.bulk import Transfers
from lab.traffic.datagrams import DatagramFlows
from lab.traffic.facts import Facts, Report
from lab.traffic.flow import Flow
from lab.traffic.ledger import Ledger
from lab.traffic.outstanding import GRACE
from lab.traffic.plan import Plan
from lab.traffic.population import Population
from lab.traffic.quic import QuicFlows
from lab.traffic.reactor import Part, Reactor
from lab.traffic.requester import Requester
from lab.traffic.series import Done, Finished, Sample
from lab.traffic.streams import Bulk, Connections, Datagrams, Quic, Requests, Stream


class Client:
    """The traffic of one plan. Times are CLOCK_MONOTONIC, in seconds."""

    def __init__(self, plan: Plan, reactor: Reactor) -> None:
        self._reactor = reactor
        self._finished = Finished()
        now = reactor.now()
        self.ledgers: Mapping[str, Ledger] = MappingProxyType(
            {
                name: Ledger(now, name, self._finished, min(GRACE, stream.timeout))
                for name, stream in plan.streams.items()
            }
        )
        self._parts = [_part(stream, reactor, self.ledgers[name]) for name, stream in plan.streams.items()]

    def run(self, on_ready: Callable[[], None], going_on: Callable[[], bool]) -> None:
        """Generate traffic until `going_on` says no, which is asked each tick; `close` ends what is open then.

        `on_ready` is called once, when every stream has all its flows established and answered.
        """
        told = False

        def tick(turn: int, now: float) -> bool:
            nonlocal told
            for part in self._parts:
                part.tick(turn, now)
            if not told and turn % 10 == 0 and all(part.ready() for part in self._parts):
                told = True
                gc.freeze()  # what lives now lives long: looking through it for garbage would stall all flows
                on_ready()
            return going_on()

        self._reactor.run(tick, self._late)

    def settle(self) -> float:
        """Send nothing more, and take the answers to datagrams under way until none is; returns when that began.

        What the streams do of their own stands still meanwhile: no time limit passes and nothing is opened.
        """
        began = self._reactor.now()

        def tick(_: int, now: float) -> bool:
            return any(ledger.under_way(now) for ledger in self.ledgers.values())

        self._reactor.run(tick, self._late)
        return began

    def close(self) -> None:
        """Close every socket and count nothing of that."""
        for part in self._parts:
            part.close()

    def mark(self, label: str) -> dict[str, Facts]:
        """End the interval of every stream, at one moment."""
        now = self._reactor.now()
        return {name: ledger.mark(label, now) for name, ledger in self.ledgers.items()}

    def report(self, until: float | None = None) -> dict[str, Report]:
        """Everything recorded, by stream: so far, or until traffic stopped, with the answers since then."""
        now = self._reactor.now() if until is None else until
        return {name: ledger.report(now) for name, ledger in self.ledgers.items()}

    def flows(self) -> dict[Flow, str]:
        """Every long-lived flow open now and its backend."""
        return {flow: backend for ledger in self.ledgers.values() for flow, backend in ledger.flows().items()}

    def requests(self) -> list[Done]:
        """The requests and transfers that ended since somebody asked last."""
        return self._finished.take()

    def series(self, since: int) -> list[Sample]:
        """Answers and failures by second, from second `since` on."""
        now = self._reactor.now()
        return [sample for ledger in self.ledgers.values() for sample in ledger.series.samples(since, now)]

    def _late(self, seconds: float) -> None:
        for ledger in self.ledgers.values():
            ledger.stalled(seconds)


def _part(stream: Stream, reactor: Reactor, ledger: Ledger) -> Part:
    match stream:
        case Requests():
            return Requester(reactor, stream, ledger)
        case Connections():
            return Population(reactor, stream, ledger)
        case Bulk():
            return Transfers(reactor, stream, ledger)
        case Datagrams():
            return DatagramFlows(reactor, stream, ledger)
        case Quic():
            return QuicFlows(reactor, stream, ledger)
