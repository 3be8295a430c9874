"""Questions answered from a configuration file alone, every backend taken as healthy and reachable."""

from typing import Any

from edge.config import Config
from edge.datapath import oracle
from edge.datapath.blocklist import BlockList
from edge.datapath.model import IpAddress, NextHop
from edge.plan import PoolView, Tables, forwarder_state, select
from edge.why import FiveTuple, describe, frame, path

_SOME_NEXT_HOP = NextHop(1, b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2")


def why(config: Config, blocked: BlockList | None, flow: FiveTuple) -> dict[str, Any]:
    """Where the flow would go."""
    tables = Tables(config.hashing.table_size)
    built = {pool: tables.table(select(entry, PoolView()).members) for pool, entry in config.pools.items()}
    next_hops: dict[IpAddress, NextHop | None] = {
        backend.address: _SOME_NEXT_HOP for pool in config.pools.values() for backend in pool.backends
    }
    state = forwarder_state(config, built, next_hops, config.vips, generation=0)
    outcome = oracle.judge(frame(flow), _SOME_NEXT_HOP.ifindex, state, blocked=blocked)
    by_oracle = path(outcome.verdict.name.lower(), outcome.reason.label, outcome.frame, outcome.notes)
    return describe(flow, state, by_oracle, None, outcome.choice)
