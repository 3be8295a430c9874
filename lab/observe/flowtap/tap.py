"""The taps on all routers at once: open, mark intervals, ask who carried what."""

import socket
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge.datapath.bpf_error import BpfError
from edge.datapath.bpf_map import BpfMap
from edge.datapath.bpf_object import BpfObject
from lab.observe.flowtap.batch import read_all
from lab.observe.flowtap.flows import Carriage, Reading, add_up, carriage, read_rows
from lab.observe.inside import inside
from lab.observe.sockets import Observer, packet_socket
from lab.observe.taps import Tap
from lab.runtime import LabError
from lab.traffic.flow import IpAddress

OBJECT = Path(__file__).with_name("flowtap.bpf.o")
_SO_ATTACH_BPF = 50
_ETH_P_ALL = 3


@dataclass(frozen=True, slots=True)
class _Router:
    counts: BpfMap
    edges: Mapping[int, str]


class FlowTap(Observer):
    """Counts the packets that routers send to edges, by flow, from now until `close`.

    `netns`: router name -> its network namespace. Raises LabError. The sockets keep the namespaces alive: close it.
    A map holds 65,536 flows of a router and forgets the least recently seen.
    """

    def __init__(self, netns: Mapping[str, Path], taps: Sequence[Tap], vips: Collection[IpAddress]) -> None:
        self._vips = frozenset(vips)
        self._routers: list[_Router] = []
        self._taps: dict[str, list[Tap]] = defaultdict(list)
        for tap in taps:
            self._taps[tap.router].append(tap)
        with ExitStack() as opened:
            for router in self._taps:
                self._tap(router, netns[router], opened)
            self._before = self._read()
            self._resources = opened.pop_all()

    def follow(self, router: str, netns: Path) -> None:
        """Go on with a router in another namespace, where it has been started anew. Raises LabError."""
        if router in self._taps:
            self._tap(router, netns, self._resources)  # what the former one has counted stays counted

    def mark(self) -> Carriage:
        """Which edges carried which flows since the previous mark (the first interval begins with the tap)."""
        before, self._before = self._before, self._read()
        return carriage(before, self._before)

    def peek(self) -> Carriage:
        """The same as `mark`, without ending the interval."""
        return carriage(self._before, self._read())

    def _tap(self, router: str, netns: Path, opened: ExitStack) -> None:
        try:
            self._routers.append(inside(netns, partial(_open, self._taps[router], opened)))
        except (BpfError, OSError) as error:
            raise LabError(f"{router}: cannot count its flows: {error}") from error

    def _read(self) -> Reading:
        try:
            rows = (row for each in self._routers for row in read_rows(read_all(each.counts), each.edges))
            return add_up(rows, self._vips)
        except (BpfError, ValueError) as error:
            raise LabError(f"cannot read the flows: {error}") from error


def _open(taps: Sequence[Tap], opened: ExitStack) -> _Router:
    """Load the filter and put it on each interface of one router, in whose namespace this is called."""
    with BpfObject(OBJECT) as loaded:
        loaded.load("flowtap")
        counts = opened.enter_context(loaded.map("flows"))
        with loaded.program("flowtap") as program:
            for tap in taps:
                packet_socket(opened, tap.interface, _ETH_P_ALL, (_SO_ATTACH_BPF, program.fileno()))
    return _Router(counts, {socket.if_nametoindex(tap.interface): tap.edge for tap in taps})
