"""What must be equal on all nodes behind one router for a flow to have one backend, as a number (core: no I/O).

Of each VIP that is: seed and size of the tables, its services with how they hash, how connection ids name backends, and
of the pools what tunnels carry, and each backend's address, weight and server id. Names, checks, timers and limits
are a node's own: they change no slot.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from edge.config.file import Config, PoolConfig
from edge.datapath.addresses import network_of
from edge.datapath.model import IpNetwork
from edge.text.same import Same

_FORM: Final = "fairhop 1"
"""To be changed with the form below, so that digests of different forms never agree by what they leave out."""


def digest_for(config: Config, prefix: IpNetwork) -> int | None:
    """The digest that the announcement of a VIP carries: none where nobody is asked what routers hold."""
    return digests(config)[prefix] if config.announcer.read_back else None


def digests(config: Config) -> Mapping[IpNetwork, int]:
    """32 bits for each VIP of the node."""
    return _digests(Same(config))


@lru_cache(maxsize=4)
def _digests(same: Same[Config]) -> Mapping[IpNetwork, int]:
    config = same.it
    pools = {name: _number(_pool(pool)) for name, pool in config.pools.items()}
    common = [_FORM, config.hashing.seed, config.hashing.table_size]
    services: dict[IpNetwork, list[Any]] = {prefix: [] for prefix in config.prefixes}
    for each in config.services:
        ids = [config.quic.config_id, config.quic.server_id_length] if config.quic and each.quic else None
        for prefix in set(map(network_of, each.vips)):
            services[prefix].append([each.protocol, str(each.port), each.hash, ids, pools[each.pool]])
    return {prefix: _number([*common, str(prefix), sorted(found, key=repr)]) for prefix, found in services.items()}


def _pool(pool: PoolConfig) -> list[Any]:
    backends = sorted((str(each.address), each.weight, each.server_id or 0) for each in pool.backends)
    return [pool.encap, pool.key, *backends]


def _number(plain: object) -> int:
    text = json.dumps(plain, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
