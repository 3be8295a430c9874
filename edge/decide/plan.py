"""From configuration, health and intent to what the forwarder is told. Pure: the same on every node of a site."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge import maglev
from edge.config.file import Config, PoolConfig
from edge.datapath.model import Backend, ForwarderState, IpAddress, NextHop, Pool, QuicLb, Service, Vip
from edge.maglev import LookupTable, Member


@dataclass(frozen=True, slots=True)
class PoolView:
    """What is held against members of a pool: names of backends that look down, and of drained ones.

    `kept` look down too, and keep their slots all the same: too many left the table lately (`edge.policy.velocity`).
    `whole`: everybody keeps them, as the pool comes out of a panic (`edge.policy.panic`).
    """

    down: frozenset[str] = frozenset()
    drained: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """The members that get slots. `panic`: too few look healthy, so everybody not drained is used.

    `healthy` counts the members that are willing and look well.
    """

    members: tuple[Member, ...]
    panic: bool
    healthy: int = 0


def select(pool: PoolConfig, view: PoolView, panic_below: float = 0.0) -> Selection:
    """Who of a pool gets slots. A drained backend gets none.

    A pool of which less than the share `panic_below` looks healthy, or nobody, uses them all: a few would be crushed by
    what many carried, and when most look ill at once it is mostly the looking that is at fault.
    """
    willing = [backend for backend in pool.backends if backend.name not in view.drained]
    able = [backend for backend in willing if backend.weight]
    healthy = {backend.name for backend in able} - view.down - view.kept
    panic = looks_ill(len(healthy), len(able), panic_below)
    used = frozenset(backend.name for backend in willing) if panic or view.whole else healthy | view.kept
    chosen = {backend.name for backend in willing if backend.name in used}
    # Members without slots keep their key: tables of one configuration then compare slot by slot.
    members = tuple(
        Member(str(backend.address), backend.weight if backend.name in chosen else 0) for backend in pool.backends
    )
    return Selection(members, panic, len(healthy))


def looks_ill(healthy: int, able: int, panic_below: float) -> bool:
    """Whether so few of those that could have slots look healthy that their checks are not to be followed."""
    return not healthy or healthy < panic_below * able


class Tables:
    """Builds lookup_tables, each membership once: a drain comes back to the old. `build` makes one of a size."""

    def __init__(self, size: int, build: Callable[[Sequence[Member], int], LookupTable] = maglev.build) -> None:
        self._size, self._build = size, build
        self._built: dict[tuple[Member, ...], LookupTable] = {}

    def table(self, members: tuple[Member, ...]) -> LookupTable:
        """The lookup_table of these members."""
        if members not in self._built:
            if len(self._built) >= 64:
                self._built.pop(next(iter(self._built)))
            self._built[members] = self._build(members, self._size)
        return self._built[members]


def backend_ids(config: Config) -> dict[tuple[str, str], int]:
    """(pool, backend) names -> id, 1 and up, in the order of the file: health and drains never renumber."""
    pairs = [(pool, backend.name) for pool, entry in config.pools.items() for backend in entry.backends]
    return {pair: number for number, pair in enumerate(pairs, start=1)}


def forwarder_state(
    config: Config,
    tables: Mapping[str, LookupTable],
    next_hops: Mapping[IpAddress, NextHop | None],
    echo_vips: frozenset[Vip],
    generation: int,
) -> ForwarderState:
    """The whole state for the data path. `tables` has one entry for each pool of the configuration."""
    return ForwarderState(
        seed=config.hashing.seed,
        table_size=config.hashing.table_size,
        outer_source=config.forwarder.outer_source,
        outer_source6=config.forwarder.outer_source6,
        mtu=config.forwarder.mtu,
        services=_services(config),
        pools=tuple(_pool(config, name, tables[name]) for name in config.pools),
        backends=_backends(config, next_hops),
        infrastructure=_infrastructure(config),
        echo_vips=echo_vips,
        generation=generation,
        vlans=config.forwarder.vlans,
        quic=config.quic.for_data_path if config.quic else QuicLb(),
        protection=config.protection.for_data_path,
    )


def _backends(config: Config, next_hops: Mapping[IpAddress, NextHop | None]) -> tuple[Backend, ...]:
    ids = backend_ids(config)
    return tuple(
        Backend(
            id=ids[name, entry.name],
            name=entry.name,
            address=entry.address,
            encap=pool.tunnel,
            next_hop=next_hops.get(entry.address),
            key=pool.key,
            server_id=entry.server_id,
        )
        for name, pool in config.pools.items()
        for entry in pool.backends
    )


def _services(config: Config) -> tuple[Service, ...]:
    order = list(config.pools)
    entries = [(service, vip) for service in config.services for vip in service.vips]
    return tuple(
        Service(
            id=number,
            vip=vip,
            protocol=service.transport,
            port=service.port,
            pool=order.index(service.pool),
            hashing=service.hashing,
            quic=service.quic,
        )
        for number, (service, vip) in enumerate(entries, start=1)
    )


def _pool(config: Config, name: str, table: LookupTable) -> Pool:
    ids = backend_ids(config)
    by_address = {str(backend.address): ids[name, backend.name] for backend in config.pools[name].backends}
    owners = [by_address[key] for key in table.keys]
    return Pool(tuple(owners[index] if index >= 0 else 0 for index in table.slots))


def _infrastructure(config: Config) -> frozenset[IpAddress]:
    peers = config.announcer.peers
    given = {a for p in peers for a in (p.local_address, p.local_address6, p.local_address4) if a is not None}
    own = {address for address in given if not address.is_link_local}  # which no forwarded packet comes from
    backends = {backend.address for pool in config.pools.values() for backend in pool.backends}
    return frozenset(own | backends | set(config.forwarder.infrastructure))
