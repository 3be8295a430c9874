"""What a forwarder is told to do, as frozen values: no kernel, no map layout.

`edge.datapath.encode` turns a `ForwarderState` into map bytes; `edge.datapath.oracle` answers from the same value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network

DEFAULT_TABLE_SIZE = 65537


class Encap(IntEnum):
    """How a packet travels to a backend; the value is the IP protocol number of the tunnel."""

    IPIP = 4
    GRE = 47


class Protocol(IntEnum):
    """The transport of a service; the value is the IP protocol number."""

    TCP = 6
    UDP = 17


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where the outer frame goes: out of `ifindex`, from `source_mac` to `destination_mac` (six bytes each)."""

    ifindex: int
    source_mac: bytes
    destination_mac: bytes


@dataclass(frozen=True, slots=True)
class Backend:
    """One member of one pool. `id` is 1..65535 and unique on the node; 0 means "none" in a slot."""

    id: int
    name: str
    address: IPv4Address
    encap: Encap
    next_hop: NextHop | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A (vip, protocol, port) and the index of the pool that answers it in `ForwarderState.pools`."""

    id: int
    vip: IPv4Address
    protocol: Protocol
    port: int
    pool: int


@dataclass(frozen=True, slots=True)
class Pool:
    """A lookup_table: `slots[i]` is a backend id (0 when the pool has nobody). len(slots) is the table size."""

    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ForwarderState:
    """Everything the forwarder needs; one value describes one consistent generation.

    `outer_source` is a prefix: its host bits are filled from the flow hash (a /32 gives one fixed source).
    `infrastructure` holds the addresses that a client can never have: this edge, the other edges, the backends.
    `mtu` bounds the outer IPv4 packet, in bytes. `echo_vips` answer ICMP echo (they are served just now).
    """

    seed: int
    table_size: int
    outer_source: IPv4Network
    mtu: int
    services: tuple[Service, ...]
    pools: tuple[Pool, ...]
    backends: tuple[Backend, ...]
    infrastructure: frozenset[IPv4Address] = frozenset()
    echo_vips: frozenset[IPv4Address] = frozenset()
    generation: int = 0


@dataclass(frozen=True, slots=True)
class DecapState:
    """What a backend accepts: tunnels for `address` from `edges`, carrying packets for `vips`."""

    address: IPv4Address
    vips: frozenset[IPv4Address]
    edges: tuple[IPv4Network, ...]
    encaps: frozenset[Encap] = frozenset(Encap)
    infrastructure: frozenset[IPv4Address] = frozenset()


@dataclass(frozen=True, slots=True)
class Counters:
    """Packets by what became of them, summed over CPUs; `rx == tx + passed + sum(drops)` holds exactly."""

    rx: int
    tx: int
    passed: int
    drops: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    services: Mapping[int, int] = field(default_factory=dict)
    backends: Mapping[int, int] = field(default_factory=dict)
