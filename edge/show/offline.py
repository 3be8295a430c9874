"""Questions answered from a configuration file alone, every backend taken as healthy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.config.file import Config
from edge.datapath import oracle
from edge.datapath.blocklist import BlockList
from edge.datapath.model import ForwarderState, IpAddress, NextHop
from edge.datapath.outcome import Outcome
from edge.decide.plan import PoolView, Tables, forwarder_state, select
from edge.show.why import OWN_MAC, FiveTuple, Path, describe, frame, path

LOOPBACK = 1  # its ifindex, in every network namespace; where test runs come in
INTERFACES: Mapping[int, bytes] = {LOOPBACK: OWN_MAC}
_SOME_NEXT_HOP = NextHop(LOOPBACK, OWN_MAC, b"\x02\0\0\0\0\2")


@dataclass(frozen=True, slots=True)
class Question:
    """Where would this flow go: the packet that asks, what it meets, and the oracle's answer.

    The packet comes in by the loopback, which has the MAC of `INTERFACES`.
    """

    flow: FiveTuple
    state: ForwarderState
    packet: bytes
    outcome: Outcome

    def answer(self, by_program: Path | None = None, unasked: str = "") -> dict[str, Any]:
        """The answer as facts. `unasked`: why the program was not asked."""
        found = self.outcome
        by_oracle = path(found.verdict.name.lower(), found.reason.label, found.frame, found.notes)
        return describe(self.flow, self.state, by_oracle, by_program, found.choice) | {"unasked": unasked}


def ask(config: Config, blocked: BlockList | None, flow: FiveTuple) -> Question:
    """Ask where the flow would go, every backend taken as reachable too."""
    next_hops: dict[IpAddress, NextHop | None] = dict.fromkeys(addresses(config), _SOME_NEXT_HOP)
    state = state_of(config, next_hops)
    packet = frame(flow)
    return Question(flow, state, packet, oracle.judge(packet, LOOPBACK, state, INTERFACES, blocked=blocked))


def addresses(config: Config) -> frozenset[IpAddress]:
    """Those of all backends."""
    return frozenset(backend.address for pool in config.pools.values() for backend in pool.backends)


def state_of(config: Config, next_hops: Mapping[IpAddress, NextHop | None], generation: int = 0) -> ForwarderState:
    """What a node would run, with every backend healthy and every VIP served."""
    tables = Tables(config.hashing.table_size)
    built = {pool: tables.table(select(entry, PoolView()).members) for pool, entry in config.pools.items()}
    return forwarder_state(config, built, next_hops, config.vips, generation)
