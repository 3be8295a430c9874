"""One edge node's state of affairs: results and intent in, selections and decisions out. No I/O; `now` is an argument.

The daemon feeds it what happens and carries out what it says. All times are monotonic seconds.
"""

from collections.abc import Mapping
from dataclasses import replace

from edge.config.digest import digests
from edge.config.file import Config, PoolConfig
from edge.datapath.addresses import network_of
from edge.datapath.model import IpAddress, IpNetwork
from edge.decide.intent import Intent
from edge.decide.plan import PoolView, Selection, select
from edge.decide.removals import Removals
from edge.decide.standing import Standing
from edge.policy.announce import Decision, NodeFacts, Others, VipFacts, decide
from edge.policy.damping import Damping
from edge.policy.health import Health, Result, State, Transition
from edge.policy.panic import Phase
from edge.policy.skew import Skews


class Node:
    """Health of every backend, the operator's intent and the forwarder's condition, and what follows from them."""

    def __init__(self, config: Config, intent: Intent, now: float, wall: float = 0.0) -> None:
        """`wall` is the wall clock's time at `now`, for orders that end by themselves."""
        self.config = config
        self.health: dict[tuple[str, str], Health] = {}
        self.stopping = False
        self.resumed = False
        """An earlier daemon's announcements still stand: nothing waits before they are taken over."""
        self._standing = Standing(intent, now, wall)
        self._stop_since: float | None = None
        self._loaded = self._surveyed = False
        self._ready_at: float | None = None
        self._faults: dict[str, str] = {}
        self._services: dict[str, str] = {}
        self._silent: dict[str, float] = {}  # since when
        self._others: Mapping[IpNetwork, Others] = {}
        self._removals = Removals(config)
        self.skews = Skews(config.safety.skews)
        self._carried: Mapping[IpNetwork, Mapping[str, int | None]] = {}
        self._damping: dict[IpNetwork, Damping] = {}
        self._selected: Mapping[str, Selection] = {}
        self._follow(config, now)

    def _follow(self, config: Config, now: float) -> None:
        wanted = {(pool, backend.name) for pool, entry in config.pools.items() for backend in entry.backends}
        self.health = {key: health for key, health in self.health.items() if key in wanted}
        for pool, name in wanted - set(self.health):
            self.health[pool, name] = Health.of(config.pools[pool].check, now)
        self._removals.follow(config)
        self.skews.rules = config.safety.skews
        self._dependence = _dependence(config)
        self._damping = {
            prefix: self._damping.get(prefix, Damping(config.safety.damping)) for prefix in config.prefixes
        }

    def reload(self, config: Config, now: float) -> None:
        """Take a new configuration; backends that it keeps, with the same check, keep their health."""
        for pool, name in list(self.health):
            old, new = self.config.pools.get(pool), config.pools.get(pool)
            if not old or not new or old.check != new.check or _address(old, name) != _address(new, name):
                del self.health[pool, name]
        self.config = config
        for damping in self._damping.values():
            damping.rules = config.safety.damping
        self._follow(config, now)

    def observe(self, pool: str, backend: str, result: Result, now: float) -> Transition | None:
        """Take one probe's result. A result of a backend that a reload removed is ignored."""
        health = self.health.get((pool, backend))
        transition = health.observe(result, now) if health else None
        self._surveyed = self._surveyed or all(each.state is not State.UNKNOWN for each in self.health.values())
        return transition

    @property
    def intent(self) -> Intent:
        """What the operator wants."""
        return self._standing.intent

    def set_intent(self, intent: Intent, now: float, wall: float = 0.0) -> None:
        """Take the operator's new intent; a drain that stands already keeps its beginning."""
        self._standing.take(intent, now, wall)

    def ended_orders(self, now: float) -> Intent | None:
        """The intent without the orders whose time is over; None when there are none."""
        intent = self.intent
        for subject in self._standing.ended(now):
            intent = intent.without(subject)
        return intent if intent != self.intent else None

    def stop(self, now: float) -> None:
        """Begin to leave: as a drain, but of this process only."""
        self.stopping = True
        self._stop_since = now if self._stop_since is None else self._stop_since

    def forwarder_applied(self) -> None:
        """The forwarder runs the tables it was given last."""
        self._loaded = True

    def set_fault(self, source: str, reason: str) -> bool:
        """Something local keeps the forwarder from being trusted, or (an empty reason) no more. True if that is new."""
        return _note(self._faults, source, reason)

    def set_service_fault(self, service: str, reason: str) -> bool:
        """A local check of a service fails, or (an empty reason) no more. True if that is new."""
        return _note(self._services, service, reason)

    def set_silent(self, names: frozenset[str], now: float) -> bool:
        """Whose checks have had no result for too long: `pool NAME`, `service NAME`. True if that is new."""
        before, self._silent = self._silent, {name: self._silent.get(name, now) for name in names}
        return names != before.keys()

    def set_others(self, others: Mapping[IpNetwork, Others]) -> None:
        """Who else announces our prefixes; a prefix that is absent is one that nobody can tell of."""
        self._others = dict(others)

    def set_carried(self, carried: Mapping[IpNetwork, Mapping[str, int | None]]) -> None:
        """What other nodes carry of their configuration, by prefix and node, as routers tell."""
        self._carried = carried

    def others(self, prefix: IpNetwork) -> Others | None:
        """Who else announces a prefix; None when nobody can tell."""
        return self._others.get(prefix)

    @property
    def fault(self) -> str:
        """Why the forwarder is not to be trusted; empty when it is."""
        return "; ".join(self._faults.values())

    @property
    def service_faults(self) -> Mapping[str, str]:
        """Services whose local checks fail, and why."""
        return dict(self._services)

    @property
    def surveyed(self) -> bool:
        """There has been a moment at which every backend had a result. A backend that a reload adds changes nothing."""
        return self._surveyed

    @property
    def ready(self) -> bool:
        """A table is loaded and there was a whole first round of results."""
        return self._loaded and self.surveyed

    def selections(self, intent: Intent | None = None) -> dict[str, Selection]:
        """Who gets slots, by pool; or who would, under another intent."""
        safety, pools = self.config.safety, self.config.pools
        below = {name: pool.panic_below_of(safety) for name, pool in pools.items()}
        return {name: select(pool, self.view(name, intent), below[name]) for name, pool in pools.items()}

    def view(self, pool: str, intent: Intent | None = None) -> PoolView:
        """What is held against members of `pool` just now. A backend without a result yet waits outside."""
        names = [backend.name for backend in self.config.pools[pool].backends]
        down = {name for name in names if self.health[pool, name].state is not State.UP}
        kept = self._removals.kept(pool) & down
        drained = (intent or self.intent).backends
        whole = self._removals.whole(pool)
        return PoolView(frozenset(down - kept), frozenset(drained) & frozenset(names), kept, whole)

    @property
    def panics(self) -> Mapping[str, Phase]:
        """Which pools are in panic, or on their way out of one, as of the last decisions."""
        return self._removals.panics

    def _limit_removals(self, now: float) -> None:
        if not self.surveyed:
            return  # there is no table yet that could shrink
        for pool, entry in self.config.pools.items():
            states = {backend.name: self.health[pool, backend.name].state for backend in entry.backends}
            self._removals.judge(pool, states, self.intent.backends, now)

    def decisions(self, now: float) -> dict[IpNetwork, Decision]:
        """The decision for each vip_prefix of the configuration. To be asked at each turn: time counts here."""
        if self.ready and self._ready_at is None:
            self._ready_at = now
        self._limit_removals(now)
        self.skews.hear(digests(self.config), self._carried, now)
        self._selected = self.selections()
        node, decided, said = self._node_facts(), dict[int, Decision](), {}
        for prefix, vip in self._vip_facts().items():
            if id(vip) not in decided:
                decided[id(vip)] = decide(node, vip, now)
            said[prefix] = self._damping[prefix].apply(decided[id(vip)], vip.alone, now)
        return {prefix: said[prefix] for prefix in self.config.prefixes}

    def next_deadline(self) -> float | None:
        """When time alone changes something besides the decisions: a backend may leave, an order ends."""
        moments = (self._removals.next_deadline(), self._standing.next_end(), self.skews.next_deadline())
        return min((at for at in moments if at is not None), default=None)

    def _node_facts(self) -> NodeFacts:
        drained = self.intent.node
        moments = (self._standing.since("node"), self._stop_since)
        wait = self._ready_at is not None and not self.resumed
        return NodeFacts(
            ready=self.ready,
            forwarding=not self._faults,
            drain_since=min((since for since in moments if since is not None), default=None),
            settle=self.config.drain.settle,
            stopping=self.stopping and drained is None,
            forced=drained is not None and drained.forced,
            announce_from=(self._ready_at or 0.0) + self.config.safety.settle if wait else None,
        )

    def _vip_facts(self) -> dict[IpNetwork, VipFacts]:
        """What holds for each vip_prefix. Those of which the same holds share one object: there may be a thousand."""
        facts: dict[IpNetwork, VipFacts] = {}
        for depends, names in self._dependence.items():
            common = self._common_facts(*depends)
            for prefix, name in names.items():
                special = name in self.intent.vips or name in self.intent.blackholes or prefix in self._others
                facts[prefix] = self._own_facts(common, prefix, name) if special else common
        return facts

    def _common_facts(self, pools: frozenset[str], services: frozenset[str]) -> VipFacts:
        selections = {pool: self._selected[pool] for pool in pools if self._known_down(pool)}
        mine = {f"pool {pool}" for pool in pools} | {f"service {service}" for service in services}
        scarce = [p for p, selection in selections.items() if selection.healthy < self.config.pools[p].min_healthy]
        return VipFacts(
            backends_up=not any(selection.panic for selection in selections.values()),
            enough=not scarce,
            service_ok=services.isdisjoint(self._services),
            silent_since=min((self._silent[each] for each in mine & self._silent.keys()), default=None),
        )

    def _own_facts(self, common: VipFacts, prefix: IpNetwork, name: str) -> VipFacts:
        drain = self.intent.vips.get(name)
        return replace(
            common,
            drain_since=self._standing.since("vip", name),
            forced=drain is not None and drain.forced,
            blackholed=name in self.intent.blackholes,
            others=self._others.get(prefix),
            skewed_since=self.skews.leaving.get(prefix),
        )

    def _known_down(self, pool: str) -> bool:
        """Whether every backend of `pool` has a result; a pool of newcomers is no reason to say anything."""
        return all(self.health[pool, b.name].state is not State.UNKNOWN for b in self.config.pools[pool].backends)


def _dependence(config: Config) -> dict[tuple[frozenset[str], frozenset[str]], dict[IpNetwork, str]]:
    """(pools, services with local checks) -> the prefixes that depend on just these, with their names."""
    pools: dict[IpNetwork, set[str]] = {prefix: set() for prefix in config.prefixes}
    services: dict[IpNetwork, set[str]] = {prefix: set() for prefix in config.prefixes}
    for service in config.services:
        for prefix in map(network_of, service.vips):
            pools[prefix].add(service.pool)
            if service.local_check:
                services[prefix].add(service.name)
    found: dict[tuple[frozenset[str], frozenset[str]], dict[IpNetwork, str]] = {}
    for prefix in config.prefixes:
        found.setdefault((frozenset(pools[prefix]), frozenset(services[prefix])), {})[prefix] = str(prefix)
    return found


def _note(faults: dict[str, str], source: str, reason: str) -> bool:
    before = faults.get(source, "")
    if reason:
        faults[source] = reason
    else:
        faults.pop(source, None)
    return before != reason


def _address(pool: PoolConfig, name: str) -> IpAddress | None:
    return next((backend.address for backend in pool.backends if backend.name == name), None)
