"""What the counts of two moments say about the flows between them. No I/O."""

import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address

from lab.traffic.flow import Flow, IpAddress

_FLOW = struct.Struct("!16s16sHH")  # struct flow_key up to the ports; then protocol and ifindex, in machine order
_SEEN = struct.Struct("=QQ")  # struct flow_seen: packets, last (ns)
_FLOW_BYTES, _KEY_BYTES = 40, 44
_VIP = slice(16, 32)
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, how an IPv4 address stands in the key


@dataclass(frozen=True, slots=True)
class Seen:
    """Packets of a flow that left towards one edge, and the CLOCK_MONOTONIC time of the last one, in seconds."""

    packets: int
    last: float


# Flows stay the map's bytes until they are told: hashing an address costs more than all the rest of a reading.
Reading = Mapping[tuple[bytes, str], Seen]
Row = tuple[bytes, bytes]


def read_rows(rows: Iterable[Row], edges: Mapping[int, str]) -> Iterator[tuple[tuple[bytes, str], Seen]]:
    """The map's (key, value) pairs; `edges`: the edge behind each interface index. Other interfaces are left out."""
    for key, value in rows:
        edge = edges.get(int.from_bytes(key[_FLOW_BYTES:_KEY_BYTES], "little"))
        if edge is not None:
            packets, last = _SEEN.unpack(value)
            yield (key[:_FLOW_BYTES], edge), Seen(packets, last / 1e9)


def add_up(rows: Iterable[tuple[tuple[bytes, str], Seen]], vips: Collection[IpAddress]) -> Reading:
    """One reading out of those of several routers: packets to `vips`, summed over the routers they came through."""
    wanted = {packed(vip) for vip in vips}
    reading: dict[tuple[bytes, str], Seen] = {}
    for key, seen in rows:
        if key[0][_VIP] in wanted:
            old = reading.get(key)
            reading[key] = Seen(old.packets + seen.packets, max(old.last, seen.last)) if old else seen
    return reading


def read_flow(packed: bytes) -> Flow:
    """The flow that the first 40 bytes of a key mean."""
    client, vip, client_port, vip_port = _FLOW.unpack_from(packed)
    protocol = int.from_bytes(packed[_FLOW.size : _FLOW_BYTES], "little")
    return Flow(_address(client), client_port, _address(vip), vip_port, protocol)


def packed(address: IpAddress) -> bytes:
    """The 16 bytes of an address in a key."""
    return address.packed if isinstance(address, IPv6Address) else _MAPPED + address.packed


def _address(data: bytes) -> IpAddress:
    address = IPv6Address(data)
    return address.ipv4_mapped or address


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

    def then(self, later: "Carriage") -> "Carriage":
        """This interval and the one that follows it, as one."""
        edges = {
            flow: self.edges.get(flow, frozenset()) | later.edges.get(flow, frozenset())
            for flow in {**self.edges, **later.edges}
        }
        return Carriage(edges, {**later.before, **self.before})

    def only(self, flows: Collection[Flow]) -> "Carriage":
        """The same, of some flows: those of a ledger's connections, say."""
        wanted = set(flows)
        return Carriage(
            {flow: edges for flow, edges in self.edges.items() if flow in wanted},
            {flow: edge for flow, edge in self.before.items() if flow in wanted},
        )


def carriage(before: Reading, after: Reading) -> Carriage:
    """What happened between two readings. A flow whose count fell was forgotten by the map and seen anew."""
    edges: dict[bytes, set[str]] = {}
    for (flow, edge), seen in after.items():
        old = before.get((flow, edge))
        if old is None or seen.packets != old.packets:
            edges.setdefault(flow, set()).add(edge)
    latest: dict[bytes, tuple[float, str]] = {}
    for (flow, edge), seen in before.items():
        latest[flow] = max(latest.get(flow, (0.0, "")), (seen.last, edge))
    flows = {packed: read_flow(packed) for packed in edges}
    return Carriage(
        {flows[packed]: frozenset(names) for packed, names in edges.items()},
        {flow: latest.get(packed, (0.0, ""))[1] for packed, flow in flows.items()},
    )
