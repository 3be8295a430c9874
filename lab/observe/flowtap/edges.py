"""Which edge each flow and each request went to: joins what clients recorded with what the routers saw. No I/O.

`FlowTap` sees flows on the routers' side of the links to edges, so this works whatever an edge is made of.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lab.observe.flowtap.flows import Carriage
from lab.traffic.flow import Flow
from lab.traffic.series import Done


@dataclass(frozen=True, slots=True)
class Placed:
    """A request or transfer, and the edges that carried it in the interval; several where it moved on its way."""

    done: Done
    edges: tuple[str, ...]

    @property
    def edge(self) -> str:
        """The edge, or that of several which comes last in order; "" where no router saw a packet of it."""
        return self.edges[-1] if self.edges else ""


class Edges:
    """Remembers where each flow was seen, over all intervals: a request may end in another than its packets were in."""

    def __init__(self) -> None:
        self._seen: dict[Flow, tuple[str, ...]] = {}

    def learn(self, carriage: Carriage) -> None:
        """Take what `FlowTap.mark` or `peek` told. A five_tuple that is used again is known by its latest edges."""
        for flow, edges in carriage.edges.items():
            self._seen[flow] = tuple(sorted(edges))

    def of(self, flow: Flow | None) -> tuple[str, ...]:
        """The edges that carried a flow in the latest interval in which it was seen; none for a flow never seen."""
        return () if flow is None else self._seen.get(flow, ())

    def place(self, requests: Iterable[Done]) -> list[Placed]:
        """Each request with its edges.

        Take the requests from the loads first, then `learn` what `FlowTap.mark` tells: every packet of theirs is in it.
        """
        return [Placed(done, self.of(done.flow)) for done in requests]

    def flows(self, open_flows: Mapping[Flow, str]) -> dict[Flow, tuple[tuple[str, ...], str]]:
        """Open flows (`Load.flows`) with their edges and their backend."""
        return {flow: (self.of(flow), backend) for flow, backend in open_flows.items()}
