"""What the counts of two moments say about the flows between them. No I/O."""

import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from lab.flow import Flow

KEY = struct.Struct("!4s4sHH4s4s")  # struct flow_key; its last two words are in the machine's byte order
SEEN = struct.Struct("=QQ")  # struct flow_seen: packets, last (ns)


@dataclass(frozen=True, slots=True)
class Seen:
    """Packets of a flow that left towards one edge, and the CLOCK_MONOTONIC time of the last one, in seconds."""

    packets: int
    last: float


Reading = Mapping[tuple[Flow, str], Seen]


def read_rows(rows: Iterable[tuple[bytes, bytes]], edges: Mapping[int, str]) -> Iterator[tuple[tuple[Flow, str], Seen]]:
    """The map's (key, value) pairs; `edges`: the edge behind each interface index. Other interfaces are left out."""
    for key, value in rows:
        client, vip, client_port, vip_port, protocol, index = KEY.unpack(key)
        edge = edges.get(int.from_bytes(index, "little"))
        if edge is not None:
            flow = Flow(
                IPv4Address(client), client_port, IPv4Address(vip), vip_port, int.from_bytes(protocol, "little")
            )
            packets, last = SEEN.unpack(value)
            yield (flow, edge), Seen(packets, last / 1e9)


def add_up(rows: Iterable[tuple[tuple[Flow, str], Seen]], vips: Collection[IPv4Address]) -> Reading:
    """One reading out of those of several routers: packets to `vips`, summed over the routers they came through."""
    reading: dict[tuple[Flow, str], Seen] = {}
    for key, seen in rows:
        if key[0].vip in vips:
            old = reading.get(key, Seen(0, 0.0))
            reading[key] = Seen(old.packets + seen.packets, max(old.last, seen.last))
    return reading


@dataclass(frozen=True, slots=True)
class Carriage:
    """Which edges carried each flow in an interval, and the edge that had carried it last before ("" if none)."""

    edges: Mapping[Flow, frozenset[str]]
    before: Mapping[Flow, str]

    @property
    def flows_per_edge(self) -> dict[str, int]:
        """Flows that each edge carried; a flow that moved counts at every edge it used."""
        return dict(sorted(Counter(edge for edges in self.edges.values() for edge in edges).items()))

    @property
    def moved(self) -> dict[Flow, frozenset[str]]:
        """The flows that used more than one edge, counting the one before the interval; with all of these."""
        used = {flow: edges | {self.before[flow]} - {""} for flow, edges in self.edges.items()}
        return {flow: edges for flow, edges in used.items() if len(edges) > 1}

    def only(self, flows: Collection[Flow]) -> "Carriage":
        """The same, of some flows: those of a ledger's connections, say."""
        wanted = set(flows)
        return Carriage(
            {flow: edges for flow, edges in self.edges.items() if flow in wanted},
            {flow: edge for flow, edge in self.before.items() if flow in wanted},
        )


def carriage(before: Reading, after: Reading) -> Carriage:
    """What happened between two readings. A flow whose count fell was forgotten by the map and seen anew."""
    latest: dict[Flow, tuple[float, str]] = {}
    for (flow, edge), seen in before.items():
        latest[flow] = max(latest.get(flow, (0.0, "")), (seen.last, edge))
    edges: dict[Flow, set[str]] = {}
    for (flow, edge), seen in after.items():
        old = before.get((flow, edge))
        if old is None or seen.packets != old.packets:
            edges.setdefault(flow, set()).add(edge)
    return Carriage(
        {flow: frozenset(names) for flow, names in edges.items()},
        {flow: latest.get(flow, (0.0, ""))[1] for flow in edges},
    )
