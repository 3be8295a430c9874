"""What the engine needs of whatever a scenario is played on. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.observe.fib import Expected
from lab.observe.flowtap.flows import Carriage
from lab.scenario.evidence import Change, FaultSpan, Outcome, Table, Transition
from lab.scenario.moves import Move
from lab.traffic.facts import Facts
from lab.traffic.flow import Flow


@dataclass(frozen=True, slots=True)
class Deed:
    """An action that was done. `taken`: the moment of its effect, None where nothing tells."""

    taken: float | None = None
    outcomes: Sequence[Outcome] = ()


class Stage(Protocol):
    """What the engine needs of a lab. Times are of the clock that `now` reads. Methods raise `LabError`."""

    def now(self) -> float:
        """Seconds of a clock that never goes back."""

    def wait(self, seconds: float) -> None:
        """Let time pass; faults whose time is over are healed meanwhile."""

    def prepare(self) -> None:
        """Open the observers, and refuse a lab on which a measurement would lie."""

    def start_traffic(self) -> None:
        """Return once every flow is established."""

    def act(self, moves: Sequence[Move], reason: str) -> Deed:
        """Do all that a step does, in order."""

    def await_routes(self, expected: Expected, within: float) -> None:
        """Return when the routers' kernels are as expected."""

    def table(self) -> Table:
        """What the routers' kernels do now."""

    def next_hops(self) -> list[tuple[str, str, str]]:
        """The same as rows for people."""

    def changes(self, since: float) -> list[Change]:
        """What changed in the routers' kernels, with times of `now`."""

    def mark(self, label: str) -> Mapping[str, Facts]:
        """End an interval of traffic; its facts by stream."""

    def carried(self) -> Carriage | None:
        """Which edges carried which flows since the call before."""

    def long_flows(self) -> set[Flow]:
        """The flows that are open now."""

    def reasons(self) -> Mapping[str, Mapping[str, int]] | None:
        """Packets by reason at each edge since the call before."""

    def session_drops(self) -> int | None:
        """BGP sessions that went down since the call before."""

    def events(self) -> Mapping[str, Sequence[Transition]]:
        """Transitions of each edge since the call before."""

    def digests(self) -> Mapping[str, Mapping[str, str]]:
        """Edge -> pool -> digest of its table."""

    def healed(self, since: float) -> float | None:
        """When the first fault was healed by its own time after `since`, None if none was."""

    def rates(self) -> Mapping[str, Mapping[str, Sequence[Sequence[float]]]]:
        """The series of the result, with times of `now`."""

    def faults(self) -> list[FaultSpan]:
        """Every fault of this run, with times of `now`."""

    def end_traffic(self) -> Mapping[str, Facts]:
        """Stop the traffic; the facts of the whole run by stream."""
