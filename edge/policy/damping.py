"""Holds a vip_prefix back that would return too soon: routers must never see it flap. No I/O; `now` is an argument.

Worse is said at once. Better is said when it has held for `hold_down`, and when the penalty that a damping router has
given this prefix by now (RFC 2439: 1000 for each change for the worse, halved every `half_life`) leaves room for one
more such change below the router's suppress limit. So no sequence of checks is ever damped by a router with those
parameters. What operators ask for is said at once and costs nothing, nor does a node's first way up.
"""

import math
from dataclasses import dataclass
from typing import Final

from edge.policy.announce import OPERATORS, Decision, Reason, Stance

PENALTY: Final = 1000.0
"""RFC 2439 4.2, and what FRR and Cisco's routers give for a withdrawal."""
_ROUTERS_TICK: Final = 10.0
"""Seconds; routers let a penalty decay in steps (FRR: 5), so that only what lies two of them back is surely smaller."""
_RANK: Final = {Stance.BLACKHOLED: 0, Stance.WITHDRAWN: 0, Stance.DEPREFERRED: 1, Stance.ANNOUNCED: 2}
_FREE: Final = OPERATORS | {Reason.STARTING, Reason.SETTLING}


@dataclass(frozen=True, slots=True)
class DampingRules:
    """Seconds, seconds, and a router's suppress limit. `half_life` 0: only `hold_down` counts."""

    hold_down: float = 10.0
    half_life: float = 900.0
    suppress: float = 2000.0


class Damping:
    """One vip_prefix of one node, between what was decided and what is said."""

    def __init__(self, rules: DampingRules) -> None:
        self.rules = rules
        self._said = Decision(Stance.WITHDRAWN, Reason.STARTING)
        self._was_announced = False
        self._good_since: float | None = None
        self._penalty, self._as_of = 0.0, 0.0

    def apply(self, wanted: Decision, alone: bool, now: float) -> Decision:
        """What is said instead of `wanted`, now. A node that is `alone` with its prefix holds nothing back."""
        free = wanted.reason in _FREE or self._said.reason in _FREE or not self._was_announced
        gain = _RANK[wanted.stance] - _RANK[self._said.stance]
        if gain < 0 and not free:
            self._penalty, self._as_of = self.penalty(now) + PENALTY, now
        if gain > 0 and not free and not alone:
            self._good_since = now if self._good_since is None else self._good_since
            release = self._release()
            if now < release:
                return Decision(self._said.stance, Reason.HELD, release)
        self._good_since = None
        self._was_announced = self._was_announced or wanted.stance is Stance.ANNOUNCED
        self._said = wanted
        return wanted

    def penalty(self, now: float) -> float:
        """What a damping router holds against the prefix."""
        if not self.rules.half_life:
            return 0.0
        return self._penalty * math.pow(0.5, (now - self._as_of) / self.rules.half_life)

    def _release(self) -> float:
        held = (self._good_since or 0.0) + self.rules.hold_down
        room = self.rules.suppress - PENALTY
        if not self.rules.half_life or not self._penalty:
            return held
        halvings = max(0.0, math.log2(self._penalty / room))
        return max(held, self._as_of + _ROUTERS_TICK + halvings * self.rules.half_life)
