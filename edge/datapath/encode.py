"""Turns a `ForwarderState` or a `DecapState` into the bytes of the maps (core: no I/O).

The order of writing makes every step safe: the pools of the idle bank first, the directory that names them last.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from edge.datapath import abi
from edge.datapath.abi import AddressFlag, EncapBit
from edge.datapath.checks import EncodeError, check, check_decap, vip_indexes
from edge.datapath.model import Backend, DecapState, Encap, ForwarderState, Pool, Protocol
from edge.datapath.perfecthash import find_perfect_hash

__all__ = [
    "DEFAULT_LIMITS",
    "NO_LIMITS",
    "EncodeError",
    "Limits",
    "MapWrites",
    "Rate",
    "encode",
    "encode_backend",
    "encode_decap",
    "encode_directory",
    "encode_pool",
    "overhead_of",
    "service_key",
]
_NANOSECONDS = 1_000_000_000
_OUTER_TTL = 64
_IPV4_LENGTH, _GRE_LENGTH = 20, 4


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `per_second` packets a second on average, and `burst` of them at once. `per_second` 0: no limit."""

    per_second: int
    burst: int

    def packed(self) -> tuple[int, int]:
        """The interval and the credit of `struct rate`, in nanoseconds."""
        interval = _NANOSECONDS // self.per_second if self.per_second else 0
        return interval, interval * max(0, self.burst - 1)


@dataclass(frozen=True, slots=True)
class Limits:
    """Rates of what the edge answers itself (whole node), and of ICMP errors it relays (each VIP by itself)."""

    echo: Rate = Rate(1000, 1000)
    too_big: Rate = Rate(1000, 1000)
    errors: Rate = Rate(10_000, 10_000)


DEFAULT_LIMITS = Limits()
NO_LIMITS = Limits(Rate(0, 0), Rate(0, 0), Rate(0, 0))


@dataclass(frozen=True, slots=True)
class MapWrites:
    """One generation of the forwarder: `pools` (index in the outer map -> inner value) first, then `directory`."""

    directory: bytes
    pools: Mapping[int, bytes] = field(default_factory=dict)


def encode(
    state: ForwarderState, interfaces: Mapping[int, bytes], *, bank: int = 0, limits: Limits = DEFAULT_LIMITS
) -> MapWrites:
    """Lay out a generation in pool bank 0 or 1.

    `interfaces` gives the MAC of each interface the program is attached to, by ifindex: a VIP packet is only taken
    when it was sent to that MAC. Raises `EncodeError`.
    """
    first_pool = bank * abi.MAX_POOLS
    directory = encode_directory(state, interfaces, bank=bank, limits=limits)
    pools = {first_pool + index: encode_pool(pool, state.table_size) for index, pool in enumerate(state.pools)}
    return MapWrites(directory, pools)


def encode_directory(
    state: ForwarderState, interfaces: Mapping[int, bytes], *, bank: int = 0, limits: Limits = DEFAULT_LIMITS
) -> bytes:
    """The directory alone, for a change that leaves the tables in `bank` as they are. Raises `EncodeError`."""
    check(state, interfaces)
    vips = vip_indexes(state)
    settings = abi.SETTINGS_FORMAT.pack(
        state.generation,
        state.seed,
        int(state.outer_source.network_address),
        int(state.outer_source.hostmask),
        bank * abi.MAX_POOLS,
        *limits.echo.packed(),
        *limits.too_big.packed(),
        *limits.errors.packed(),
    )
    services = {
        service_key(vips[s.vip], s.protocol, s.port): abi.SERVICE_FORMAT.pack(
            service_key(vips[s.vip], s.protocol, s.port), s.pool + 1, s.id
        )
        for s in state.services
    }
    links = {index: abi.INTERFACE_FORMAT.pack(index, mac) for index, mac in interfaces.items()}
    return b"".join(
        (
            settings,
            _table(_forward_addresses(state, vips), abi.ADDRESS_BUCKETS, abi.ADDRESS_SLOTS, abi.ADDRESS_FORMAT.size),
            _table(services, abi.SERVICE_BUCKETS, abi.SERVICE_SLOTS, abi.SERVICE_FORMAT.size),
            _table(links, abi.INTERFACE_BUCKETS, abi.INTERFACE_SLOTS, abi.INTERFACE_FORMAT.size),
            _backends(state),
        )
    )


def encode_pool(pool: Pool, table_size: int) -> bytes:
    """A lookup_table as the value of an inner map of `pools`: eight bytes a slot, previous owners all 0.

    A pool without slots is a table without backends, so that nothing older stays in its place.
    """
    slots = array("H", bytes(table_size * abi.SLOT_SIZE))
    slots[::4] = array("H", pool.slots or bytes(2 * table_size))
    return slots.tobytes()


def encode_decap(state: DecapState) -> bytes:
    """The directory of a decapsulator. Raises `EncodeError`."""
    prefixes = sorted(network for network in state.edges if network.prefixlen < 32)
    addresses = _decap_addresses(state)
    check_decap(state, len(prefixes), len(addresses))
    encaps = (EncapBit.IPIP if Encap.IPIP in state.encaps else 0) | (EncapBit.GRE if Encap.GRE in state.encaps else 0)
    entries = b"".join(abi.PREFIX_FORMAT.pack(int(p.network_address), int(p.netmask)) for p in prefixes)
    return b"".join(
        (
            abi.DECAP_SETTINGS_FORMAT.pack(int(state.address), encaps, len(prefixes), 0),
            _table(addresses, abi.ADDRESS_BUCKETS, abi.ADDRESS_SLOTS, abi.ADDRESS_FORMAT.size),
            entries.ljust(abi.MAX_PREFIXES * abi.PREFIX_FORMAT.size, b"\0"),
        )
    )


def service_key(vip_index: int, protocol: Protocol, port: int) -> int:
    """The 32-bit key of a service: VIP index above one bit for UDP above 16 bits of port (0: any port)."""
    return vip_index << 17 | (protocol is Protocol.UDP) << 16 | port


def _forward_addresses(state: ForwarderState, vips: Mapping[IPv4Address, int]) -> dict[int, bytes]:
    what = {int(a): [int(AddressFlag.INFRASTRUCTURE), 0] for a in state.infrastructure}
    for backend in sorted(state.backends, key=lambda b: b.id, reverse=True):
        # A machine in two pools has two ids; errors about its tunnel count for the lower one.
        what[int(backend.address)] = [int(AddressFlag.INFRASTRUCTURE), backend.id]
    for vip, index in vips.items():
        what[int(vip)] = [AddressFlag.VIP | (AddressFlag.ECHO if vip in state.echo_vips else 0) | index, 0]
    return {address: abi.ADDRESS_FORMAT.pack(address, flags, backend) for address, (flags, backend) in what.items()}


def _decap_addresses(state: DecapState) -> dict[int, bytes]:
    flags = dict.fromkeys(map(int, (*state.infrastructure, state.address)), int(AddressFlag.INFRASTRUCTURE))
    for network in state.edges:
        if network.prefixlen == 32:
            address = int(network.network_address)
            flags[address] = flags.get(address, 0) | AddressFlag.EDGE
    for index, vip in enumerate(sorted(state.vips), start=1):
        flags[int(vip)] = flags.get(int(vip), 0) | AddressFlag.VIP | index
    return {address: abi.ADDRESS_FORMAT.pack(address, what, 0) for address, what in flags.items()}


def _table(entries: Mapping[int, bytes], buckets: int, slots: int, entry_size: int) -> bytes:
    found = find_perfect_hash(entries, buckets=buckets, slots=slots)
    multipliers = array("I", found.multipliers)
    header = abi.PERFECT_HASH_FORMAT.pack(found.multiplier, found.bucket_shift, found.slot_shift, 0)
    table = bytearray(slots * entry_size)
    for key, entry in entries.items():
        start = found.slot(key) * entry_size
        table[start : start + entry_size] = entry
    return header + multipliers.tobytes().ljust(buckets * abi.MULTIPLIER_SIZE, b"\0") + table


def _backends(state: ForwarderState) -> bytes:
    size = abi.BACKEND_FORMAT.size
    table = bytearray((abi.MAX_BACKENDS + 1) * size)
    for backend in state.backends:
        table[backend.id * size : (backend.id + 1) * size] = encode_backend(backend, state.mtu)
    return bytes(table)


def encode_backend(backend: Backend, mtu: int) -> bytes:
    """The outer header of a backend with length, TOS, source and checksum left 0 (RFC 2003, 2784), and its limits."""
    overhead = overhead_of(backend.encap)
    ipv4 = b"\x45\0\0\0\0\0\x40\0" + bytes((_OUTER_TTL, backend.encap, 0, 0, 0, 0, 0, 0)) + backend.address.packed
    hop = backend.next_hop
    ethernet = hop.destination_mac + hop.source_mac + b"\x08\0" if hop else bytes(14)
    gre = b"\0\0\x08\0" if backend.encap is Encap.GRE else bytes(_GRE_LENGTH)
    checksum = sum(array("H", ipv4))
    return abi.BACKEND_FORMAT.pack(ethernet + ipv4 + gre, overhead, hop.ifindex if hop else 0, checksum, mtu - overhead)


def overhead_of(encap: Encap) -> int:
    """Bytes that a tunnel puts in front of the inner packet."""
    return _IPV4_LENGTH + (_GRE_LENGTH if encap is Encap.GRE else 0)
