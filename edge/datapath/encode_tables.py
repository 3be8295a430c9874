"""Perfect-hash tables as map bytes: addresses, services, QUIC servers (core: no I/O). Layouts are in `abi`."""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from struct import Struct

from edge.datapath import abi
from edge.datapath.abi import AddressFlag, Special
from edge.datapath.addresses import is_single, network_of, vip_indexes, wide, wide_length
from edge.datapath.model import DecapState, ForwarderState, HashMode, IpNetwork, Protocol, Service
from edge.datapath.perfecthash import PerfectHash, find_perfect_hash
from edge.datapath.perfecthash_wide import WideKey, find_wide_hash

_NO_KEY = (1 << 64) - 1

Described = Mapping[IpNetwork, tuple[int, int]]
"""What is known of each address or prefix: flags and VIP index, and the id of the backend that it is."""


@dataclass(frozen=True, slots=True)
class Table:
    """A perfect-hash table: its `struct perfect_hash`, its `struct reducer` (or nothing), multipliers and slots."""

    hash: bytes
    reducer: bytes
    body: bytes


def forward_addresses(state: ForwarderState) -> dict[IpNetwork, tuple[int, int]]:
    """Everything that the forwarder must know an address for."""
    known = {network_of(address): (int(AddressFlag.INFRASTRUCTURE), 0) for address in state.infrastructure}
    for backend in sorted(state.backends, key=lambda b: b.id, reverse=True):
        # A machine in two pools has two ids; errors about its tunnel count for the lower one.
        known[network_of(backend.address)] = (int(AddressFlag.INFRASTRUCTURE), backend.id)
    echo = {network_of(vip) for vip in state.echo_vips}
    any_port = {network_of(service.vip) for service in state.services if service.port == 0}
    for vip, index in vip_indexes(state).items():
        flags = AddressFlag.VIP | (AddressFlag.ECHO if vip in echo else 0)
        known[vip] = (flags | (AddressFlag.ANY_PORT if vip in any_port else 0) | index, 0)
    return known


def decap_addresses(state: DecapState) -> dict[IpNetwork, tuple[int, int]]:
    """The same for a decapsulator."""
    flags: dict[IpNetwork, int] = dict.fromkeys(map(network_of, state.infrastructure), int(AddressFlag.INFRASTRUCTURE))
    for own in state.addresses:
        flags[network_of(own)] = AddressFlag.INFRASTRUCTURE | AddressFlag.OWN
    for edge in state.edges:
        if is_single(edge):
            flags[edge] = flags.get(edge, 0) | AddressFlag.EDGE
    for vip in map(network_of, state.vips):
        flags[vip] = flags.get(vip, 0) | AddressFlag.VIP
    return {network: (what, 0) for network, what in flags.items()}


def address_table(known: Described) -> Table:
    """`struct address_table`: the single IPv4 addresses."""
    entries = {}
    for network, (what, backend) in known.items():
        if network.version == 4 and is_single(network):
            packed = network.network_address.packed
            entries[int.from_bytes(packed, "little")] = abi.ADDRESS_FORMAT.pack(packed, what, backend)
    return _table(entries, abi.ADDRESS_BUCKETS, abi.ADDRESS_SLOTS, abi.ADDRESS_FORMAT)


def wide_table(known: Described) -> Table:
    """`struct wide_table`: IPv6 addresses, and the prefixes of both families."""
    entries = {}
    for network, (what, backend) in known.items():
        if network.version == 6 or not is_single(network):
            key = (wide(network.network_address), wide_length(network))
            entries[key] = abi.WIDE_FORMAT.pack(key[0], what, backend, key[1], 0)
    return _wide_table(entries, abi.WIDE_BUCKETS, abi.WIDE_SLOTS, abi.WIDE_FORMAT)


def service_table(state: ForwarderState, first_pool: int) -> Table:
    """`struct service_table`; `first_pool` is where the generation's tables begin in the outer map."""
    vips = vip_indexes(state)
    entries = {}
    for service in state.services:
        key = service_key(vips[network_of(service.vip)], service.protocol, service.port)
        entries[key] = abi.INDEXED_SERVICE_FORMAT.pack(key, _service(state, service, first_pool))
    return _table(entries, abi.SERVICE_BUCKETS, abi.SERVICE_SLOTS, abi.INDEXED_SERVICE_FORMAT)


def exact4_table(state: ForwarderState, first_pool: int) -> Table:
    """`struct exact4_table`: services of one port on one IPv4 address, by what stands in their packets."""
    entries = {}
    for service in _exact(state, 4):
        address = network_of(service.vip).network_address.packed
        words = address + bytes((service.protocol, 0)) + service.port.to_bytes(2, "big")
        key = int.from_bytes(words, "little")
        entries[key] = abi.EXACT4_FORMAT.pack(key, _service(state, service, first_pool))
    # Address 0 with protocol 0 is a key too: an empty slot has one that no packet has.
    empty = abi.EXACT4_FORMAT.pack(_NO_KEY, b"")
    return _table(entries, abi.SERVICE_BUCKETS, abi.SERVICE_SLOTS, abi.EXACT4_FORMAT, empty)


def exact6_table(state: ForwarderState, first_pool: int) -> Table:
    """`struct exact6_table`: the same for IPv6."""
    entries = {}
    for service in _exact(state, 6):
        address = network_of(service.vip).network_address.packed
        number = int.from_bytes(service.port.to_bytes(2, "big") + bytes((service.protocol,)), "little")
        entries[address, number] = abi.EXACT6_FORMAT.pack(address, number, _service(state, service, first_pool))
    empty = abi.EXACT6_FORMAT.pack(b"", _NO_KEY, b"")
    return _wide_table(entries, abi.SERVICE_BUCKETS, abi.SERVICE_SLOTS, abi.EXACT6_FORMAT, empty)


def server_table(state: ForwarderState) -> Table:
    """`struct server_table`: which backend of a pool a QUIC server id names."""
    ids = {backend.id: backend.server_id for backend in state.backends if backend.server_id is not None}
    entries = {}
    for group in sorted({service.pool for service in state.services if service.quic}):
        for backend in sorted(set(state.pools[group].slots) & ids.keys()):
            key = group << 24 | ids[backend]
            entries[key] = abi.SERVER_FORMAT.pack(key, backend)
    return _table(entries, abi.SERVER_BUCKETS, abi.SERVER_SLOTS, abi.SERVER_FORMAT)


def service_key(vip_index: int, protocol: Protocol, port: int) -> int:
    """The key of a service: VIP index above one bit for UDP above 16 bits of port (0: any port)."""
    return vip_index << 17 | (protocol is Protocol.UDP) << 16 | port


def _exact(state: ForwarderState, version: int) -> list[Service]:
    vips = ((service, network_of(service.vip)) for service in state.services if service.port)
    return [service for service, vip in vips if vip.version == version and is_single(vip)]


def filters(state: ForwarderState) -> bool:
    """Whether a block list or a rate may refuse packets of any service."""
    protection = state.protection
    return protection.blocking or bool(protection.per_vip.per_second or protection.per_source.per_second)


def _service(state: ForwarderState, service: Service, first_pool: int) -> bytes:
    listed = service.protocol is Protocol.UDP and (service.quic or bool(state.protection.reflection_ports))
    special = Special.HASHING if service.hashing is not HashMode.FIVE_TUPLE else 0
    special |= Special.EXAMINE if listed or filters(state) else 0
    pool = first_pool + service.pool + 1
    return abi.SERVICE_FORMAT.pack(pool, service.id, service.hashing, service.quic, service.pool, special)


def _table(entries: Mapping[int, bytes], buckets: int, slots: int, entry: Struct, empty: bytes = b"") -> Table:
    found = find_perfect_hash(entries, buckets=buckets, slots=slots)
    places = ((found.slot(key), packed) for key, packed in entries.items())
    return Table(_head(found), b"", _multipliers(found, buckets) + _slots(places, slots, entry.size, empty))


def _wide_table(entries: Mapping[WideKey, bytes], buckets: int, slots: int, entry: Struct, empty: bytes = b"") -> Table:
    found = find_wide_hash(entries, buckets=buckets, slots=slots)
    places = ((found.slot(key), packed) for key, packed in entries.items())
    body = _multipliers(found.table, buckets) + _slots(places, slots, entry.size, empty)
    return Table(_head(found.table), abi.REDUCER_FORMAT.pack(*found.factors), body)


def _head(found: PerfectHash) -> bytes:
    return abi.PERFECT_HASH_FORMAT.pack(found.multiplier, found.bucket_shift, found.slot_shift)


def _multipliers(found: PerfectHash, buckets: int) -> bytes:
    return array("Q", found.multipliers).tobytes().ljust(buckets * abi.MULTIPLIER_SIZE, b"\0")


def _slots(places: Iterable[tuple[int, bytes]], slots: int, size: int, empty: bytes) -> bytes:
    table = bytearray((empty or bytes(size)) * slots)
    for slot, entry in places:
        table[slot * size : (slot + 1) * size] = entry
    return bytes(table)
