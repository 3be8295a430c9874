"""What of the pools' ill health their tables follow: `edge.policy.velocity` and `edge.policy.panic` of each pool.

No I/O; times are monotonic seconds given by the caller.
"""

from collections.abc import Collection, Mapping

from edge.config.file import Config, PoolConfig
from edge.decide.plan import looks_ill
from edge.policy.health import State
from edge.policy.panic import Looks, Panic, Phase
from edge.policy.velocity import Velocity


class Removals:
    """Every pool of a node. Feed `judge`; `kept` and `whole` say whose slots stay although they look down."""

    def __init__(self, config: Config) -> None:
        self._velocity: dict[str, Velocity] = {}
        self._panic: dict[str, Panic] = {}
        self._kept: dict[str, frozenset[str]] = {}
        self.follow(config)

    def follow(self, config: Config) -> None:
        """Take a new configuration; pools that it keeps keep what has happened to them."""
        self._config = config
        removals = config.safety.removals
        self._velocity = {pool: self._velocity.get(pool, Velocity(removals)) for pool in config.pools}
        self._panic = {pool: self._panic.get(pool, Panic(config.panic_rules(pool))) for pool in config.pools}
        for pool in config.pools:
            self._velocity[pool].rules, self._panic[pool].rules = removals, config.panic_rules(pool)

    def judge(self, pool: str, states: Mapping[str, State], drained: Collection[str], now: float) -> None:
        """Take the health of a pool's backends, all of them, as it is now."""
        panic, limiter = self._panic[pool], self._velocity[pool]
        panic.judge(self._looks(self._config.pools[pool], states, drained), now)
        # Nobody is out of a pool that is used whole; what is dead leaves it by the common rule when that is over.
        down = frozenset[str]() if panic.whole else frozenset(n for n, each in states.items() if each is State.DOWN)
        self._kept[pool] = down - limiter.limit(len(states), down, now)

    def _looks(self, pool: PoolConfig, states: Mapping[str, State], drained: Collection[str]) -> Looks:
        able = frozenset(backend.name for backend in pool.backends if backend.weight and backend.name not in drained)
        healthy = frozenset(name for name in able if states[name] is State.UP)
        unknown = frozenset(name for name in able if states[name] is State.UNKNOWN)
        below = pool.panic_below_of(self._config.safety)
        return Looks(looks_ill(len(healthy), len(able), below), able, healthy, unknown)

    def kept(self, pool: str) -> frozenset[str]:
        """Those that were down when last judged, and keep their slots, as too many left lately."""
        return self._kept.get(pool, frozenset())

    def whole(self, pool: str) -> bool:
        """Whether everybody keeps their slots, because of a panic that is or was."""
        return self._panic[pool].whole

    @property
    def panics(self) -> Mapping[str, Phase]:
        """How each pool is used."""
        return {pool: panic.phase for pool, panic in self._panic.items()}

    def next_deadline(self) -> float | None:
        """When time alone lets somebody leave."""
        moments = [limiter.next_deadline(self.kept(pool)) for pool, limiter in self._velocity.items()]
        moments += [panic.next_deadline() for panic in self._panic.values()]
        return min((at for at in moments if at is not None), default=None)
