"""What to say about each VIP, and why: announced, de-preferred or withdrawn.

Withdrawn is for local reasons only; what is remote and shared (backends that look down) costs preference, never the
announcement, so that a checker's mistake cannot take a VIP from the network.
"""

from dataclasses import dataclass
from enum import Enum


class Stance(Enum):
    """What routers are told of a vip_prefix."""

    ANNOUNCED = "announced"
    DEPREFERRED = "de-preferred"
    WITHDRAWN = "withdrawn"


class Reason(Enum):
    """Why a vip_prefix has its stance."""

    SERVING = "serving"
    STARTING = "starting: no table is loaded yet or a backend has no first result"
    FORWARDER = "the forwarder is not attached or its tables are stale"
    DRAINING = "drained by the operator: de-preferred before the withdrawal"
    DRAINED = "drained by the operator"
    STOPPING = "the daemon is stopping"
    BACKENDS_DOWN = "no backend of a service looks healthy from here: panic mode uses them all"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What holds for the node as a whole. `drain_since` is monotonic seconds; `settle` is in seconds."""

    ready: bool
    forwarding: bool
    drain_since: float | None
    settle: float
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """A stance and its reason; `until` is when it changes by itself (monotonic seconds), if it does."""

    stance: Stance
    reason: Reason
    until: float | None = None


def decide(node: NodeFacts, backends_up: bool, now: float) -> Decision:
    """The decision for one vip_prefix; `backends_up` is false when a service of it has no healthy backend."""
    if not node.ready:
        return Decision(Stance.WITHDRAWN, Reason.STARTING)
    if not node.forwarding:
        return Decision(Stance.WITHDRAWN, Reason.FORWARDER)
    if node.drain_since is not None:
        deadline = node.drain_since + node.settle
        if now < deadline:
            return Decision(Stance.DEPREFERRED, Reason.STOPPING if node.stopping else Reason.DRAINING, deadline)
        return Decision(Stance.WITHDRAWN, Reason.STOPPING if node.stopping else Reason.DRAINED)
    if not backends_up:
        return Decision(Stance.DEPREFERRED, Reason.BACKENDS_DOWN)
    return Decision(Stance.ANNOUNCED, Reason.SERVING)
