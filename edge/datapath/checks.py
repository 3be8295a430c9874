"""What the maps cannot hold, found before one byte is written (core: no I/O)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address

from edge.datapath import abi
from edge.datapath.model import DecapState, ForwarderState, Protocol

SMALLEST_MTU = 620  # an ICMP error of 576 bytes must be shorter than the packet that it answers


class EncodeError(ValueError):
    """A state that the maps cannot hold. `problems` has every reason, one sentence each; nothing was encoded."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def vip_indexes(state: ForwarderState) -> dict[IPv4Address, int]:
    """Every VIP, with a service or only answering echo, and its index 1.. in address order."""
    vips = {service.vip for service in state.services} | state.echo_vips
    return {vip: index for index, vip in enumerate(sorted(vips), start=1)}


def check(state: ForwarderState, interfaces: Mapping[int, bytes]) -> None:
    """Raise `EncodeError` with every reason why this state cannot be laid out."""
    _refuse([*_capacity_problems(state, interfaces), *_state_problems(state)])


def check_decap(state: DecapState, prefixes: int, addresses: int) -> None:
    """The same for a decapsulator whose state has that many prefixes below /32 and single addresses."""
    problems = [
        *_limit("VIPs", len(state.vips), abi.MAX_VIPS),
        *_limit("edge prefixes shorter than /32", prefixes, abi.MAX_PREFIXES),
        *_limit("addresses", addresses, abi.MAX_ADDRESSES),
    ]
    if state.address in state.vips:
        problems.append(f"vip {state.address} is also the backend's own address")
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
    addresses = len(vips) + len(state.infrastructure) + len(state.backends)
    yield from _limit("VIPs, infrastructure and backend addresses together", addresses, abi.MAX_ADDRESSES)


def _state_problems(state: ForwarderState) -> Iterator[str]:
    if not SMALLEST_MTU <= state.mtu <= 0xFFFF:
        yield f"mtu {state.mtu}: expected {SMALLEST_MTU}..65535"
    vips = vip_indexes(state)
    refused = state.infrastructure | {b.address for b in state.backends}
    yield from (f"vip {vip} is also an address of the infrastructure or of a backend" for vip in vips if vip in refused)
    for what, ids in (("backend", [b.id for b in state.backends]), ("service", [s.id for s in state.services])):
        yield from (
            f"{what} id {i} is given twice" for i in sorted(i for i, times in Counter(ids).items() if times > 1)
        )
        yield from (f"{what} id {i}: expected at least 1" for i in ids if i < 1)
    seen: set[tuple[IPv4Address, Protocol, int]] = set()
    for service in state.services:
        name = (service.vip, service.protocol, service.port)
        if name in seen:
            yield f"service {service.vip} {service.protocol.name.lower()}/{service.port} is given twice"
        seen.add(name)
        if not 0 <= service.pool < len(state.pools):
            yield f"service {service.id} names pool {service.pool}: expected 0..{len(state.pools) - 1}"
    for index, pool in enumerate(state.pools):
        if len(pool.slots) not in (0, state.table_size):
            yield f"pool {index} has {len(pool.slots)} slots: expected {state.table_size}"


def _limit(what: str, value: int, most: int) -> Iterator[str]:
    if value > most:
        yield f"{what}: {value}, expected at most {most}"
