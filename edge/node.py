"""One edge node's state of affairs: results and intent in, selections and decisions out. No I/O; `now` is an argument.

The daemon feeds it what happens and carries out what it says. All times are monotonic seconds.
"""

from collections.abc import Mapping

from edge.announce import Decision, NodeFacts, decide
from edge.config import Config, PoolConfig
from edge.datapath.addresses import network_of
from edge.datapath.model import IpAddress, IpNetwork
from edge.health import Health, Result, State, Transition
from edge.intent import Intent
from edge.plan import PoolView, Selection, select

_LONG_AGO = float("-inf")


class Node:
    """Health of every backend, the operator's intent and the forwarder's condition, and what follows from them."""

    def __init__(self, config: Config, intent: Intent, now: float) -> None:
        self.config = config
        self.intent = intent
        self.health: dict[tuple[str, str], Health] = {}
        self.stopping = False
        self._loaded = self._surveyed = False
        self._faults: dict[str, str] = {}
        # A drain that was stored before this process began has had its time to settle.
        self._drain_since = _LONG_AGO if intent.node else None
        self._follow(config, now)

    def _follow(self, config: Config, now: float) -> None:
        wanted = {(pool, backend.name) for pool, entry in config.pools.items() for backend in entry.backends}
        self.health = {key: health for key, health in self.health.items() if key in wanted}
        for pool, name in wanted - set(self.health):
            check = config.pools[pool].check
            self.health[pool, name] = Health(check.rise, check.fall, now)

    def reload(self, config: Config, now: float) -> None:
        """Take a new configuration; backends that it keeps, with the same check, keep their health."""
        for pool, name in list(self.health):
            old, new = self.config.pools.get(pool), config.pools.get(pool)
            if not old or not new or old.check != new.check or _address(old, name) != _address(new, name):
                del self.health[pool, name]
        self.config = config
        self._follow(config, now)

    def observe(self, pool: str, backend: str, result: Result, now: float) -> Transition | None:
        """Take one probe's result. A result of a backend that a reload removed is ignored."""
        health = self.health.get((pool, backend))
        transition = health.observe(result, now) if health else None
        self._surveyed = self._surveyed or all(each.state is not State.UNKNOWN for each in self.health.values())
        return transition

    def set_intent(self, intent: Intent, now: float) -> None:
        """Take the operator's new intent; a drain of the node that stands already keeps its beginning."""
        if intent.node is None:
            self._drain_since = self._drain_since if self.stopping else None
        elif self._drain_since is None:
            self._drain_since = now
        self.intent = intent

    def stop(self, now: float) -> None:
        """Begin to leave: as a drain, but of this process only."""
        self.stopping = True
        if self._drain_since is None:
            self._drain_since = now

    def forwarder_applied(self) -> None:
        """The forwarder runs the tables it was given last."""
        self._loaded = True

    def set_fault(self, source: str, reason: str) -> bool:
        """Something local keeps the forwarder from being trusted, or (an empty reason) no more. True if that is new."""
        before = dict(self._faults)
        if reason:
            self._faults[source] = reason
        else:
            self._faults.pop(source, None)
        return self._faults != before

    @property
    def fault(self) -> str:
        """Why the forwarder is not to be trusted; empty when it is."""
        return "; ".join(self._faults.values())

    @property
    def surveyed(self) -> bool:
        """There has been a moment at which every backend had a result. A backend that a reload adds changes nothing."""
        return self._surveyed

    @property
    def ready(self) -> bool:
        """A table is loaded and there was a whole first round of results."""
        return self._loaded and self.surveyed

    def selections(self) -> dict[str, Selection]:
        """Who gets slots, by pool."""
        return {name: select(pool, self.view(name)) for name, pool in self.config.pools.items()}

    def view(self, pool: str) -> PoolView:
        """What is held against members of `pool` just now. A backend without a result yet waits outside."""
        names = [backend.name for backend in self.config.pools[pool].backends]
        down = {name for name in names if self.health[pool, name].state is not State.UP}
        return PoolView(frozenset(down), frozenset(self.intent.backends) & frozenset(names))

    def decisions(self, now: float) -> dict[IpNetwork, Decision]:
        """The decision for each vip_prefix of the configuration."""
        facts = NodeFacts(
            ready=self.ready,
            forwarding=not self._faults,
            drain_since=self._drain_since,
            settle=self.config.drain.settle,
            stopping=self.stopping and self.intent.node is None,
        )
        up = self._prefixes_up()
        return {prefix: decide(facts, up[prefix], now) for prefix in self.config.prefixes}

    def _known_down(self, pool: str) -> bool:
        """Whether every backend of `pool` has a result; a pool of newcomers is no reason to say anything."""
        return all(self.health[pool, b.name].state is not State.UNKNOWN for b in self.config.pools[pool].backends)

    def _prefixes_up(self) -> Mapping[IpNetwork, bool]:
        panic = {pool: selection.panic and self._known_down(pool) for pool, selection in self.selections().items()}
        up = dict.fromkeys(self.config.prefixes, True)
        for service in self.config.services:
            for prefix in map(network_of, service.vips):
                up[prefix] = up[prefix] and not panic[service.pool]
        return up


def _address(pool: PoolConfig, name: str) -> IpAddress | None:
    return next((backend.address for backend in pool.backends if backend.name == name), None)
