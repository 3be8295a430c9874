"""A stage without a lab: it holds what is announced and answers from that, by a clock of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

from lab.job import convergence
from lab.observe.fib import Expected
from lab.observe.flowtap.flows import Carriage
from lab.runtime import LabError
from lab.scenario import routing
from lab.scenario.evidence import Change, FaultSpan, Outcome, Table, Transition
from lab.scenario.model import Announcing
from lab.scenario.moves import Drain, Exec, Kill, Move, Start, Undrain
from lab.scenario.parse import Case
from lab.scenario.routing import Standing
from lab.scenario.staging import Deed
from lab.traffic.facts import Facts
from lab.traffic.flow import Flow, make_flow


@dataclass
class FakeStage:
    """`delay`: from an action to the routers. `breaks`: connections broken by each. `deaf`: edges that ignore it."""

    case: Case
    delay: float = 0.06
    breaks: int = 0
    deaf: frozenset[str] = frozenset()
    clock: float = 1000.0
    out: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)
    told: list[Change] = field(default_factory=list)
    interval: float = 1000.0
    broken: int = 0
    broken_in_all: int = 0
    seen: dict[Flow, str] = field(default_factory=dict)

    def now(self) -> float:
        return self.clock

    def wait(self, seconds: float) -> None:
        self.clock += seconds

    def prepare(self) -> None:
        self.log.append("prepare")

    def start_traffic(self) -> None:
        self.log.append("traffic")

    def act(self, moves: Sequence[Move], reason: str) -> Deed:
        outcomes = []
        before = self.table()
        taken = None
        for move in moves:
            self.log.append(str(move))
            if isinstance(move, Drain | Kill):
                self.out |= set(move.nodes) - self.deaf
                self.broken += self.breaks
            elif isinstance(move, Undrain | Start):
                self.out -= set(move.nodes)
            elif isinstance(move, Exec):
                outcomes.append(Outcome(str(move), 1 if move.command == ("false",) else 0, move.exit))
            if isinstance(move, Drain | Undrain):
                taken = self.clock + 0.1
        self.clock += 0.1 + self.delay
        for router, rows in self.table().items():
            for prefix, hops in rows.items():
                if before[router].get(prefix) != hops:
                    self.told.append(Change(self.clock, router, prefix, hops))
        return Deed(taken, tuple(outcomes))

    def await_routes(self, expected: Expected, within: float) -> None:
        now = self._expected()
        if {router: dict(rows) for router, rows in expected.items()} != now:
            self.clock += within
            raise LabError(f"the routers did not converge within {within:g} s")

    def table(self) -> Table:
        names = convergence.gateway_names(self.case.plan)
        return {
            router: {str(prefix): routing.hops_of([*hops], names) for prefix, hops in rows.items()}
            for router, rows in self._expected().items()
        }

    def next_hops(self) -> list[tuple[str, str, str]]:
        return [("a-r1", "203.0.113.10/32", "10.0.5.1 dev eth3 (a-e1)")]

    def changes(self, since: float) -> list[Change]:
        return [change for change in self.told if change.time >= since]

    def mark(self, label: str) -> Mapping[str, Facts]:
        since, self.interval = self.interval, self.clock
        broken, self.broken = self.broken, 0
        self.broken_in_all += broken
        return self._facts(label, since, broken)

    def carried(self) -> Carriage:
        flows = {make_flow("198.51.100.11", port, "203.0.113.11", 7000): port for port in range(40000, 40100)}
        edges = sorted({"a-e1", "a-e2"} - self.out) or ["b-e1"]
        now = {flow: edges[port % len(edges)] for flow, port in flows.items()}
        before, self.seen = self.seen, now
        return Carriage({flow: frozenset({edge}) for flow, edge in now.items()}, {f: before.get(f, "") for f in now})

    def long_flows(self) -> set[Flow]:
        return {*self.seen}

    def reasons(self) -> Mapping[str, Mapping[str, int]]:
        return {"a-e1": {"ttl": 1}}

    def session_drops(self) -> int | None:
        return None

    def events(self) -> Mapping[str, Sequence[Transition]]:
        return {"a-e1": [Transition("node", "serving", "drained", "operator")]}

    def digests(self) -> Mapping[str, Mapping[str, str]]:
        return {edge: {"web": "x"} for edge in ("a-e1", "a-e2", "b-e1", "b-e2")}

    def healed(self, since: float) -> float | None:
        return None

    def rates(self) -> Mapping[str, Mapping[str, Any]]:
        return {"streams": {"web": [[self.clock, 100.0, 0.0]]}}

    def faults(self) -> list[FaultSpan]:
        return [FaultSpan("loss", "30 %", self.clock, None)]

    def end_traffic(self) -> Mapping[str, Facts]:
        return self._facts("total", 1000.0, self.broken_in_all)

    def _expected(self) -> dict[str, dict[Any, Any]]:
        without = Announcing(without=tuple(self.out))
        standing = Standing.of(self.case.plan).after(self.case.plan, without)
        return {router: dict(rows) for router, rows in standing.expected(self.case.plan).items()}

    def _facts(self, label: str, since: float, broken: int) -> dict[str, Facts]:
        reset = {"reset": broken} if broken else {}
        count = round((self.clock - since) * 200)
        return {
            "web": Facts(label, since, self.clock, requests=count, replies=count),
            "held": Facts(label, since, self.clock, 600, broken, {}, reset, 600, pings=count, answers=count),
        }


PREFIX = ip_network("203.0.113.10/32")
