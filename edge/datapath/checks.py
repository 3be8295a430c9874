"""What the maps cannot hold, found before one byte is written (core: no I/O)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from edge.datapath import abi
from edge.datapath.addresses import is_single, lengths, network_of, order, vip_indexes
from edge.datapath.encode_backend import overhead_of
from edge.datapath.model import Backend, DecapState, Encap, ForwarderState, IpNetwork

SMALLEST_MTU = 620  # an ICMP error of 576 bytes must be shorter than the packet that it answers
SMALLEST_MTU6 = 1280  # RFC 8200, section 5
_MOST_SERVER_LENGTH = 3
_MOST_CONFIG_ID = 6  # 7 means "not routable"


class EncodeError(ValueError):
    """A state that the maps cannot hold. `problems` has every reason, one sentence each; nothing was encoded."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def check(state: ForwarderState, interfaces: Mapping[int, bytes]) -> None:
    """Raise `EncodeError` with every reason why this state cannot be laid out."""
    rules = (_state_problems, _service_problems, _backend_problems, _path_problems)
    _refuse([*_capacity_problems(state, interfaces), *(problem for rule in rules for problem in rule(state))])


def check_decap(state: DecapState) -> None:
    """The same for a decapsulator."""
    vips = {network_of(vip) for vip in state.vips}
    own = {network_of(address) for address in state.addresses}
    prefixes = sum(not is_single(edge) for edge in state.edges)
    singles = len(vips) + len(own) + len(state.infrastructure) + len(state.edges) - prefixes
    problems = [
        *_limit("VIPs", len(vips), abi.MAX_VIPS),
        *_limit("edge prefixes", prefixes, abi.MAX_PREFIXES),
        *_limit("addresses", singles, abi.MAX_ADDRESSES),
        *_length_problems(vips),
        *(f"vip {_name(vip)} is also the backend's own address" for vip in sorted(own & vips, key=order)),
    ]
    if not own:
        problems.append("the backend has no address of its own: expected at least one")
    _refuse(problems)


def _refuse(problems: list[str]) -> None:
    if problems:
        raise EncodeError(problems)


def _capacity_problems(state: ForwarderState, interfaces: Mapping[int, bytes]) -> Iterator[str]:
    vips = vip_indexes(state)
    highest = max((b.id for b in state.backends), default=0)
    yield from _limit("VIPs", len(vips), abi.MAX_VIPS)
    yield from _limit("services", len(state.services), abi.MAX_SERVICES)
    yield from _limit("backends", len(state.backends), abi.MAX_BACKENDS)
    yield from _limit("the highest backend id", highest, abi.MAX_BACKENDS)
    yield from _limit("the highest service id", max((s.id for s in state.services), default=0), abi.MAX_SERVICES)
    yield from _limit("pools", len(state.pools), abi.MAX_POOLS)
    yield from _limit("interfaces", len(interfaces), abi.MAX_INTERFACES)
    yield from _limit("reflection ports", len(state.protection.reflection_ports), abi.MAX_REFLECTION_PORTS)
    addresses = len(vips) + len(state.infrastructure | {backend.address for backend in state.backends})
    yield from _limit("VIPs, infrastructure and backend addresses together", addresses, abi.MAX_ADDRESSES)
    yield from _length_problems(vips)


def _length_problems(vips: Iterable[IpNetwork]) -> Iterator[str]:
    networks = list(vips)
    for version in (4, 6):
        count = len(lengths(networks, version))
        yield from _limit(f"different lengths of IPv{version} VIP prefixes", count, abi.MAX_LENGTHS)


def _state_problems(state: ForwarderState) -> Iterator[str]:
    if not SMALLEST_MTU <= state.mtu <= 0xFFFF:
        yield f"mtu {state.mtu}: expected {SMALLEST_MTU}..65535"
    refused = {network_of(a) for a in (*state.infrastructure, *(b.address for b in state.backends))}
    yield from (
        f"vip {_name(vip)} is also an address of the infrastructure or of a backend"
        for vip in vip_indexes(state)
        if vip in refused
    )
    yield from _contained(vip_indexes(state), refused)
    for what, ids in (("backend", [b.id for b in state.backends]), ("service", [s.id for s in state.services])):
        yield from (
            f"{what} id {i} is given twice" for i in sorted(i for i, times in Counter(ids).items() if times > 1)
        )
        yield from (f"{what} id {i}: expected at least 1" for i in ids if i < 1)
    for index, pool in enumerate(state.pools):
        if len(pool.slots) not in (0, state.table_size):
            yield f"pool {index} has {len(pool.slots)} slots: expected {state.table_size}"


def _contained(vips: Iterable[IpNetwork], machines: Iterable[IpNetwork]) -> Iterator[str]:
    """Machines inside VIP prefixes: whose packets would they be?"""
    for vip in vips:
        for machine in machines if not is_single(vip) else ():
            if machine.version == vip.version and machine.network_address in vip:
                yield f"vip {vip} contains {machine.network_address}, an address of the infrastructure or of a backend"


def _service_problems(state: ForwarderState) -> Iterator[str]:
    seen: set[tuple[IpNetwork, int, int]] = set()
    for service in state.services:
        name = (network_of(service.vip), service.protocol, service.port)
        if name in seen:
            yield f"service {_name(name[0])} {service.protocol.name.lower()}/{service.port} is given twice"
        seen.add(name)
        if not 0 <= service.pool < len(state.pools):
            yield f"service {service.id} names pool {service.pool}: expected 0..{len(state.pools) - 1}"


def _backend_problems(state: ForwarderState) -> Iterator[str]:
    if not 1 <= state.quic.length <= _MOST_SERVER_LENGTH:
        yield f"quic server ids have {state.quic.length} octets: expected 1..{_MOST_SERVER_LENGTH}"
    if not 0 <= state.quic.config_id <= _MOST_CONFIG_ID:
        yield f"quic config id {state.quic.config_id}: expected 0..{_MOST_CONFIG_ID}"
    most = (1 << 8 * state.quic.length) - 1
    for backend in state.backends:
        if backend.key is not None and (backend.encap is not Encap.GRE or not 0 <= backend.key <= 0xFFFFFFFF):
            yield f"backend {backend.name} has key {backend.key}: expected 0..4294967295, and encapsulation GRE"
        if backend.server_id is not None and not 0 <= backend.server_id <= most:
            yield f"backend {backend.name} has server id {backend.server_id}: expected 0..{most}"
        if backend.address.version == 6 and state.outer_source6 is None:
            yield f"backend {backend.name} is at {backend.address}: expected an outer_source6 to send from"
    for index, pool in enumerate(state.pools):
        members = set(pool.slots)
        given = Counter(b.server_id for b in state.backends if b.id in members and b.server_id is not None)
        yield from (f"pool {index}: server id {i} is given twice" for i, times in given.items() if times > 1)


def _path_problems(state: ForwarderState) -> Iterator[str]:
    """IPv6 services whose packets of 1,280 bytes would not fit the tunnel to one of their backends."""
    pools = {service.pool for service in state.services if network_of(service.vip).version == 6}
    members = {i for pool in pools if 0 <= pool < len(state.pools) for i in set(state.pools[pool].slots)}
    for backend in state.backends:
        if backend.id in members and state.mtu - overhead_of(backend) < SMALLEST_MTU6:
            yield _too_narrow(backend, state.mtu)


def _too_narrow(backend: Backend, mtu: int) -> str:
    needed = SMALLEST_MTU6 + overhead_of(backend)
    return f"mtu {mtu} is too small for IPv6 through the tunnel to {backend.name}: expected at least {needed}"


def _name(network: IpNetwork) -> str:
    return str(network.network_address) if is_single(network) else str(network)


def _limit(what: str, value: int, most: int) -> Iterator[str]:
    if value > most:
        yield f"{what}: {value}, expected at most {most}"
