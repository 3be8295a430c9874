"""What a forwarder is told to do, as frozen values: no kernel, no map layout.

`edge.datapath.encode` turns a `ForwarderState` into map bytes; `edge.datapath.oracle` answers from the same value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

DEFAULT_TABLE_SIZE = 65537

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network
Vip = IPv4Address | IPv6Address | IPv4Network | IPv6Network
"""A single address, or a prefix whose addresses all have the same services."""


class Encap(IntEnum):
    """How a packet travels to a backend; the value is the IP protocol number of the tunnel around IPv4."""

    IPIP = 4
    GRE = 47


class Protocol(IntEnum):
    """The transport of a service; the value is the IP protocol number."""

    TCP = 6
    UDP = 17


class HashMode(IntEnum):
    """What of a flow chooses its slot. An ICMP error hashes the flow that it quotes, in the same way."""

    FIVE_TUPLE = 0
    CLIENT = 1  # the client's address alone: all its connections, TCP and UDP, have one backend
    CLIENT_PORT = 2  # client address, vip port and protocol


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where the outer frame goes: out of `ifindex`, from `source_mac` to `destination_mac` (six bytes each).

    `vlan` 1..4094 tags it (802.1Q). `ifindex` 0: the backend is this host, and takes the packet without a tunnel.
    """

    ifindex: int
    source_mac: bytes
    destination_mac: bytes
    vlan: int = 0


LOCAL_DELIVERY = NextHop(0, bytes(6), bytes(6))


@dataclass(frozen=True, slots=True)
class Backend:
    """One member of one pool. `id` is 1..65535 and unique on the node; 0 means "none" in a slot.

    `key` is the GRE key of its tunnel (RFC 2890); None: no key. `server_id` is what QUIC connection ids name it by.
    """

    id: int
    name: str
    address: IpAddress
    encap: Encap
    next_hop: NextHop | None = None
    key: int | None = None
    server_id: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A (vip, protocol, port) and the index of the pool that answers it in `ForwarderState.pools`.

    Port 0 means every port that no other service of the VIP has. `quic`: connection ids route before the hash does.
    """

    id: int
    vip: Vip
    protocol: Protocol
    port: int
    pool: int
    hashing: HashMode = HashMode.FIVE_TUPLE
    quic: bool = False


@dataclass(frozen=True, slots=True)
class Pool:
    """A lookup_table: `slots[i]` is a backend id (0 when the pool has nobody). len(slots) is the table size."""

    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `per_second` packets a second on average, and `burst` of them at once. `per_second` 0: no limit."""

    per_second: int
    burst: int


UNLIMITED = Rate(0, 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates of what the edge answers itself (whole node), and of ICMP errors it relays (each VIP by itself)."""

    echo: Rate = Rate(1000, 1000)
    too_big: Rate = Rate(1000, 1000)
    errors: Rate = Rate(10_000, 10_000)


NO_LIMITS = Limits(UNLIMITED, UNLIMITED, UNLIMITED)


@dataclass(frozen=True, slots=True)
class QuicLb:
    """How connection ids name backends: QUIC-LB's plaintext form (draft-ietf-quic-load-balancers, section 5.2).

    The first octet's top three bits are `config_id` (0..6), then come `length` octets (1..3) of server id.
    """

    config_id: int = 0
    length: int = 2


@dataclass(frozen=True, slots=True)
class Protection:
    """What is refused before a service is asked. Rates are packets to VIPs; state that is lost lets packets through.

    `reflection_ports` are UDP source ports that no client uses (53, 123, 11211...). `blocking`: sources are looked up
    in the block list, which is installed by itself (`Forwarder.block`).
    """

    drop_private: bool = False
    blocking: bool = False
    reflection_ports: frozenset[int] = frozenset()
    per_source: Rate = UNLIMITED
    per_vip: Rate = UNLIMITED


@dataclass(frozen=True, slots=True)
class ForwarderState:
    """Everything the forwarder needs; one value describes one consistent generation.

    `outer_source` and `outer_source6` are prefixes: their host bits are filled from the flow hash (a /32 gives one
    fixed source). `infrastructure` holds the addresses that a client can never have: this edge, the other edges, the
    backends. `mtu` bounds the outer packet, in bytes. `echo_vips` answer ICMP echo (they are served just now).
    `vlans`: VIP packets in 802.1Q frames are handled, not passed.
    """

    seed: int
    table_size: int
    outer_source: IPv4Network
    mtu: int
    services: tuple[Service, ...]
    pools: tuple[Pool, ...]
    backends: tuple[Backend, ...]
    infrastructure: frozenset[IpAddress] = frozenset()
    echo_vips: frozenset[Vip] = frozenset()
    generation: int = 0
    outer_source6: IPv6Network | None = None
    vlans: bool = False
    quic: QuicLb = QuicLb()
    protection: Protection = Protection()


@dataclass(frozen=True, slots=True)
class DecapState:
    """What a backend accepts: tunnels for one of `addresses` from `edges`, carrying packets for `vips`.

    `key`: the GRE key that every GRE tunnel must carry; None: it must carry none.
    """

    addresses: frozenset[IpAddress]
    vips: frozenset[Vip]
    edges: tuple[IpNetwork, ...]
    encaps: frozenset[Encap] = frozenset(Encap)
    infrastructure: frozenset[IpAddress] = frozenset()
    key: int | None = None


@dataclass(frozen=True, slots=True)
class Counted:
    """Packets and bytes (of the inner IP packets) sent to backends, and packets dropped after the service was known."""

    packets: int
    bytes: int
    drops: int = 0


@dataclass(frozen=True, slots=True)
class Counters:
    """Packets by what became of them, summed over CPUs; `rx == tx + passed + sum(drops)` holds exactly."""

    rx: int
    tx: int
    passed: int
    drops: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    services: Mapping[int, Counted] = field(default_factory=dict)
    backends: Mapping[int, Counted] = field(default_factory=dict)
