"""What to say about each VIP, and why: announced, de-preferred, withdrawn, or blackholed by hand.

Withdrawn is for local reasons and for the operator's; what is remote and shared (backends that look down) costs
preference, never the announcement, so that a checker's mistake cannot take a VIP from the network. `RULES` is the whole
of it, first match wins; `edge.policy.damping` then holds back what would come back too soon.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Stance(Enum):
    """What routers are told of a vip_prefix."""

    ANNOUNCED = "announced"
    DEPREFERRED = "de-preferred"
    WITHDRAWN = "withdrawn"
    BLACKHOLED = "blackholed"


class Reason(Enum):
    """Why a vip_prefix has its stance."""

    SERVING = "serving"
    STARTING = "starting: no table is loaded yet or a backend has no first result"
    SETTLING = "starting: ready, and waits a moment before the first announcement"
    FORWARDER = "the forwarder is not attached or its tables are stale"
    SERVICE_DOWN = "a local check of one of its services fails"
    CHECKER_SILENT = "its checks have had no result for too long: the checker is dead or hangs"
    DRAINING = "drained by the operator: de-preferred before the withdrawal"
    DRAINED = "drained by the operator"
    STOPPING = "the daemon is stopping"
    LAST = "to be withdrawn, but nobody else announces it: de-preferred until somebody does"
    BACKENDS_DOWN = "too few backends of a service look healthy from here: panic mode uses them all"
    SKEWED = "its configuration is not that of most nodes of its site"
    TOO_FEW = "fewer backends of a service are healthy than its pool's min_healthy"
    HELD = "well again, and held back until it has been so for long enough"
    BLACKHOLED = "blackholed by the operator: routers drop its packets (RFC 7999)"


OPERATORS: Final = frozenset({Reason.DRAINING, Reason.DRAINED, Reason.STOPPING, Reason.BLACKHOLED})
"""What people asked for: never damped."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What holds for the node as a whole. Moments are monotonic seconds, `settle` is in seconds.

    `announce_from`: no announcement before, once the node is ready; None for at once.
    """

    ready: bool
    forwarding: bool
    drain_since: float | None
    settle: float
    stopping: bool = False
    forced: bool = False
    announce_from: float | None = None


@dataclass(frozen=True, slots=True)
class Others:
    """Who else announces a vip_prefix, as routers tell: nodes that mean to stay, and nodes under GRACEFUL_SHUTDOWN."""

    staying: int
    leaving: int = 0


@dataclass(frozen=True, slots=True)
class VipFacts:
    """What holds for one vip_prefix. `others` None: nobody can tell. The first two are about remote backends.

    `silent_since`: since when its checks have been without a result for too long, None while they have them.
    `skewed_since`: since when it is to be left because most nodes have another configuration (`edge.policy.skew`).
    """

    backends_up: bool = True
    enough: bool = True
    service_ok: bool = True
    silent_since: float | None = None
    skewed_since: float | None = None
    drain_since: float | None = None
    forced: bool = False
    blackholed: bool = False
    others: Others | None = None

    @property
    def alone(self) -> bool:
        """Nobody else will go on announcing it."""
        return self.others is not None and not self.others.staying


@dataclass(frozen=True, slots=True)
class Decision:
    """A stance and its reason; `until` is when it changes by itself (monotonic seconds), if it does."""

    stance: Stance
    reason: Reason
    until: float | None = None

    def left(self, now: float) -> float | None:
        """Seconds until it changes by itself, None if it does not."""
        return None if self.until is None else round(self.until - now, 3)


Rule = Callable[[NodeFacts, VipFacts, float], Decision | None]


def decide(node: NodeFacts, vip: VipFacts, now: float) -> Decision:
    """The decision for one vip_prefix: that of the first rule that has one."""
    for rule in RULES:
        decision = rule(node, vip, now)
        if decision is not None:
            return decision
    return Decision(Stance.ANNOUNCED, Reason.SERVING)


def _blackhole(node: NodeFacts, vip: VipFacts, _: float) -> Decision | None:
    return Decision(Stance.BLACKHOLED, Reason.BLACKHOLED) if vip.blackholed and not node.stopping else None


def _local_faults(node: NodeFacts, vip: VipFacts, _: float) -> Decision | None:
    if not node.ready:
        return Decision(Stance.WITHDRAWN, Reason.STARTING)
    if not node.forwarding:
        return Decision(Stance.WITHDRAWN, Reason.FORWARDER)
    return None if vip.service_ok else Decision(Stance.WITHDRAWN, Reason.SERVICE_DOWN)


def _drain(node: NodeFacts, vip: VipFacts, now: float) -> Decision | None:
    """De-preferred for `settle`, so that routers have the other path before they lose this one (RFC 8326)."""
    moments = [since for since in (node.drain_since, vip.drain_since) if since is not None]
    if not moments:
        return None
    deadline = min(moments) + node.settle
    if now < deadline:
        return Decision(Stance.DEPREFERRED, Reason.STOPPING if node.stopping else Reason.DRAINING, deadline)
    if node.stopping:
        return Decision(Stance.WITHDRAWN, Reason.STOPPING)
    forced = node.forced if node.drain_since is not None else vip.forced
    if vip.alone and not forced:
        return Decision(Stance.DEPREFERRED, Reason.LAST)
    return Decision(Stance.WITHDRAWN, Reason.DRAINED)


def _start(node: NodeFacts, _: VipFacts, now: float) -> Decision | None:
    waits = node.announce_from is not None and now < node.announce_from
    return Decision(Stance.WITHDRAWN, Reason.SETTLING, node.announce_from) if waits else None


def _silence(node: NodeFacts, vip: VipFacts, now: float) -> Decision | None:
    """A dead checker is this node's own fault. Where routers tell who else is there, it leaves as a drain does.

    So if every node's checker dies at once, each sees the others leaving, and the last announcements stay.
    """
    return None if vip.silent_since is None else _leave(node, vip, vip.silent_since, Reason.CHECKER_SILENT, now)


def _skew(node: NodeFacts, vip: VipFacts, now: float) -> Decision | None:
    """A configuration that most do not have is this node's own fault. Nobody leaves for it unseen, or as the last."""
    if vip.skewed_since is None or vip.others is None:
        return None
    return _leave(node, vip, vip.skewed_since, Reason.SKEWED, now)


def _leave(node: NodeFacts, vip: VipFacts, since: float, reason: Reason, now: float) -> Decision:
    deadline = since + node.settle
    if vip.others is None or (now >= deadline and not vip.alone):
        return Decision(Stance.WITHDRAWN, reason)
    if now < deadline:
        return Decision(Stance.DEPREFERRED, reason, deadline)
    return Decision(Stance.DEPREFERRED, Reason.LAST)


def _backends(_: NodeFacts, vip: VipFacts, __: float) -> Decision | None:
    if not vip.backends_up:
        return Decision(Stance.DEPREFERRED, Reason.BACKENDS_DOWN)
    return None if vip.enough else Decision(Stance.DEPREFERRED, Reason.TOO_FEW)


RULES: Final[tuple[Rule, ...]] = (_blackhole, _local_faults, _drain, _start, _silence, _skew, _backends)
"""In order of precedence: what a person ordered by hand, what is broken here, what is being left, what looks ill."""
