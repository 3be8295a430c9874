"""ns/packet of the shipped forwarder, case by case, net of the driver; beside it the floor and an empty program."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from edge.datapath.xdp import Program
from lab.bench.cases import CASES, FLOWS, MANY, Case
from lab.bench.figures import Figure, Verdict
from lab.bench.harness import FLOOR, BenchError, Driver, Subject
from lab.bench.world import Scale, state

FORWARD = "forward"
_GRE_OVERHEAD = 24


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is measured: `rounds` times `repeat` packets each."""

    rounds: int = 11
    repeat: int = 500_000


@dataclass(frozen=True, slots=True)
class PacketRow:
    """What one case costs at one number of flows.

    `net` is the program's own time. `plain` is what the driver with it takes more than the driver with an empty one;
    for a packet that was encapsulated that includes the driver's call that takes the outer header off again.
    """

    case: str
    flows: str
    net: Figure
    plain: Figure
    driver: Figure
    most: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        figures = {name: getattr(self, name).to_json() for name in ("net", "plain", "driver")}
        return {"case": self.case, "flows": self.flows, **figures, "most": self.most}

    def verdicts(self) -> Iterator[Verdict]:
        """The target of the case is for 64 k flows."""
        if self.most is not None and self.flows == FLOWS[MANY]:
            yield Verdict(f"{self.case}, {self.flows} flows, net", self.net, self.most)


@dataclass(slots=True)
class _Round:
    """ns/packet of the driver with each program behind it, in one round."""

    taken: dict[str, float] = field(default_factory=dict)

    def plain(self, name: str) -> float:
        return self.taken[name] - self.taken["nothing"]

    def net(self, name: str, *, grown: bool) -> float:
        """`grow` costs the driver what an encapsulation does, and is one adjust_head, worth `grow_twice` - `grow`."""
        if not grown:
            return self.plain(name)
        return self.taken[name] - self.taken["grow"] + self.taken["grow_twice"] - self.taken["grow"]


class Measurement:
    """One case at one number of flows; `round` after `round`, then `row`."""

    def __init__(self, case: Case, mask: int, services: int = 1, *, settle: bool = True) -> None:
        self._case, self._mask = case, mask
        self._driver = Driver(case, mask, services, _GRE_OVERHEAD, settle=settle)
        self._rounds: list[_Round] = []
        self._grown = False

    def round(self, subject: Subject, repeat: int) -> None:
        """Measure everything once, with a forwarder of this round.

        Raises `BenchError` when a single packet met another fate than the case is about.
        """
        now = _Round()
        programs: dict[str, Program] = {**self._driver.own, FORWARD: subject.program}
        for name, program in programs.items():
            before = subject.count(self._case)
            ran = self._driver.run(program, repeat)
            now.taken[name] = ran.ns
            if name == FORWARD:
                self._check(ran.verdict, subject.count(self._case) - before, repeat)
                self._grown = ran.size != len(self._case.frame)
        self._rounds.append(now)

    def row(self) -> PacketRow:
        """The case's own figures."""
        return self._row(self._case.name, FORWARD, self._case.most, grown=self._grown)

    def nets(self) -> list[float]:
        """The case's own time, round by round."""
        return [now.net(FORWARD, grown=self._grown) for now in self._rounds]

    def floor(self) -> PacketRow:
        """A bare encapsulation of the same packets."""
        return self._row("floor: bare encapsulation", FLOOR, None, grown=True)

    def empty(self) -> PacketRow:
        """The driver with an empty program: `driver` is what is taken off everywhere, `net` is 0 by definition."""
        return self._row("no-op", "nothing", None, grown=False)

    def close(self) -> None:
        """Let the kernel forget the driver."""
        self._driver.close()

    def _row(self, name: str, program: str, most: float | None, *, grown: bool) -> PacketRow:
        return PacketRow(
            name,
            FLOWS[self._mask],
            Figure.of(now.net(program, grown=grown) for now in self._rounds),
            Figure.of(now.plain(program) for now in self._rounds),
            Figure.of(now.taken["nothing"] for now in self._rounds),
            most,
        )

    def _check(self, verdict: int, counted: int, repeat: int) -> None:
        wanted = self._case
        if verdict != wanted.verdict or counted != repeat:
            fate = f"{wanted.verdict.name} {wanted.reason.label}"
            raise BenchError(
                f"{wanted.name}: the last verdict is {verdict}, expected {int(wanted.verdict)}, "
                f"and {counted} packets were counted as {fate}, expected all {repeat}"
            )


def measure(amount: Amount, tell: Callable[[str], None], cases: Sequence[Case] = CASES) -> list[PacketRow]:
    """All cases in interleaved rounds, so that a disturbance meets all of them. Raises `BenchError`, `BpfError`.

    Each round loads the program anew while the earlier ones stay: where its code and its maps come to lie is chance,
    and one place can cost several ns a packet more than another.
    """
    with ExitStack() as held:
        running = [Measurement(case, mask) for case in cases for mask in case.masks]
        for each in running:
            held.callback(each.close)
        for number in range(amount.rounds):
            tell(f"packets: round {number + 1} of {amount.rounds}")
            subject = held.enter_context(Subject(state(Scale())))
            for each in running:
                each.round(subject, amount.repeat)
        return [running[0].empty(), running[0].floor(), *(each.row() for each in running)]
