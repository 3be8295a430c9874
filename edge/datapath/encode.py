"""Turns a `ForwarderState` or a `DecapState` into the bytes of the maps (core: no I/O).

The order of writing makes every step safe: the pools of the idle bank first, the directory that names them last.
"""

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from edge.datapath import abi
from edge.datapath.abi import EncapBit, Setting
from edge.datapath.addresses import MARTIANS4, PRIVATE4, is_single, lengths, order, wide, wide_mask
from edge.datapath.checks import EncodeError, check, check_decap
from edge.datapath.encode_backend import encode_backend, overhead_of
from edge.datapath.encode_tables import (
    Described,
    Table,
    address_table,
    decap_addresses,
    exact4_table,
    exact6_table,
    filters,
    forward_addresses,
    server_table,
    service_table,
    wide_table,
)
from edge.datapath.model import NO_LIMITS, DecapState, Encap, ForwarderState, Limits, Pool, Rate

__all__ = [
    "DEFAULT_LIMITS",
    "NO_LIMITS",
    "EncodeError",
    "MapWrites",
    "encode",
    "encode_decap",
    "encode_directory",
    "encode_pool",
    "overhead_of",
    "packed_rate",
]
_NANOSECONDS = 1_000_000_000
_HALF, _LONG = 64, 0xFFFFFFFFFFFFFFFF
DEFAULT_LIMITS = Limits()


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
    known = forward_addresses(state)
    first_pool = bank * abi.MAX_POOLS
    tables = (
        exact4_table(state, first_pool),
        exact6_table(state, first_pool),
        address_table(known),
        wide_table(known),
        service_table(state, first_pool),
        server_table(state),
    )
    return b"".join((_settings(state, interfaces, limits, known), *_joined(tables), _backends(state)))


def encode_pool(pool: Pool, table_size: int) -> bytes:
    """A lookup_table as the value of an inner map of `pools`: eight bytes a slot, previous owners all 0.

    A pool without slots is a table without backends, so that nothing older stays in its place.
    """
    slots = array("H", bytes(table_size * abi.SLOT_SIZE))
    slots[::4] = array("H", pool.slots or bytes(2 * table_size))
    return slots.tobytes()


def encode_decap(state: DecapState) -> bytes:
    """The directory of a decapsulator. Raises `EncodeError`."""
    check_decap(state)
    known = decap_addresses(state)
    prefixes = sorted((edge for edge in state.edges if not is_single(edge)), key=order)
    encaps = (EncapBit.IPIP if Encap.IPIP in state.encaps else 0) | (EncapBit.GRE if Encap.GRE in state.encaps else 0)
    key = (state.key or 0).to_bytes(4, "big")
    settings = abi.DECAP_SETTINGS_FORMAT.pack(encaps, len(prefixes), key, state.key is not None, *_lengths(known))
    entries = b"".join(abi.PREFIX_FORMAT.pack(wide(p.network_address), wide_mask(p)) for p in prefixes)
    table = entries.ljust(abi.MAX_PREFIXES * abi.PREFIX_FORMAT.size, b"\0")
    return b"".join((settings, *_joined((address_table(known), wide_table(known))), table))


def _joined(tables: tuple[Table, ...]) -> Iterator[bytes]:
    """Hashes, reducers, bodies: each kind together."""
    yield from (table.hash for table in tables)
    yield from (table.reducer for table in tables)
    yield from (table.body for table in tables)


def packed_rate(rate: Rate) -> bytes:
    """`struct rate`: nanoseconds between two packets, and nanoseconds of credit."""
    interval = _NANOSECONDS // rate.per_second if rate.per_second else 0
    return abi.RATE_FORMAT.pack(interval, interval * max(0, rate.burst - 1))


def _settings(state: ForwarderState, interfaces: Mapping[int, bytes], limits: Limits, known: Described) -> bytes:
    protection = state.protection
    chosen = {
        Setting.VLANS: state.vlans,
        Setting.DROP_PRIVATE: protection.drop_private,
        Setting.FILTERS: filters(state),
        Setting.BLOCKING: protection.blocking,
    }
    flags = sum(setting for setting, wanted in chosen.items() if wanted)
    outer6 = state.outer_source6 or IPv6Network("::/128")
    ports = b"".join(port.to_bytes(2, "big") for port in sorted(protection.reflection_ports))
    head = abi.SETTINGS_FORMAT.pack(
        state.generation,
        state.seed,
        flags,
        int(state.outer_source.network_address),
        int(state.outer_source.hostmask),
        outer6.network_address.packed,
        outer6.hostmask.packed,
        len(interfaces),
        state.quic.config_id,
        state.quic.length,
        *_lengths(known),
        ports,
    )
    rates = (limits.echo, limits.too_big, limits.errors, protection.per_vip, protection.per_source)
    links = b"".join(abi.INTERFACE_FORMAT.pack(mac, index) for index, mac in sorted(interfaces.items()))
    parts = (head, *map(packed_rate, rates), links.ljust(abi.MAX_INTERFACES * abi.INTERFACE_FORMAT.size, b"\0"))
    return b"".join((*parts, _classes(state, known), _sources6(state, known)))


def _lengths(known: Described) -> Iterator[bytes]:
    # Edges and machines are known by single addresses: only VIPs are prefixes.
    for version in (4, 6):
        yield bytes(lengths(known, version))


def _classes(state: ForwarderState, known: Described) -> bytes:
    """Which first octets of an IPv4 source need a closer look."""
    classes = bytearray(abi.SOURCE_CLASSES)
    networks = [*MARTIANS4, *(PRIVATE4 if state.protection.drop_private else ()), state.outer_source, *known]
    for network in networks:
        if isinstance(network, IPv4Network):
            first, last = network.network_address.packed[0], network.broadcast_address.packed[0]
            classes[first : last + 1] = bytes((abi.SOURCE_CAREFUL,)) * (last - first + 1)
    return bytes(classes)


def _sources6(state: ForwarderState, known: Described) -> bytes:
    """Which IPv6 sources need a closer look, by a hash of their first 64 bits; what is wider than a /64 means all."""
    classes = bytearray(abi.SOURCES6)
    networks = [*known, *((state.outer_source6,) if state.outer_source6 else ())]
    for network in networks:
        if network.version == 6 and network.prefixlen >= _HALF:
            first = int.from_bytes(network.network_address.packed[:8], "little")
            at = (first * abi.SOURCES6_MULTIPLIER & _LONG) >> abi.SOURCES6_SHIFT
            classes[at] = abi.SOURCE_CAREFUL
        elif network.version == 6:
            return bytes((abi.SOURCE_CAREFUL,)) * abi.SOURCES6
    return bytes(classes)


def _backends(state: ForwarderState) -> bytes:
    size = abi.BACKEND_FORMAT.size
    table = bytearray(abi.BACKENDS_SIZE)
    for row, version in enumerate((4, 6)):
        start = row * (abi.MAX_BACKENDS + 1)
        for backend in state.backends:
            at = (start + backend.id) * size
            table[at : at + size] = encode_backend(backend, state.mtu, version)
    return bytes(table)
