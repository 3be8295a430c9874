"""How careful a node is with what it is told: the `safety` part of a fairhop.yaml (core: no I/O). Times in seconds."""

from typing import Annotated, Literal

from pydantic import Field

from edge.policy.damping import PENALTY, DampingRules
from edge.policy.panic import PanicRules
from edge.policy.skew import SkewRules
from edge.policy.velocity import VelocityRules
from edge.text.decode import Model
from edge.text.scalars import Integer, Seconds

Share = Annotated[float, Field(ge=0, le=1)]


class VelocityConfig(Model):
    """At most `share` of a pool, but one backend at least, leaves its table in `window` for failed checks."""

    share: Share = 0.5
    window: Seconds = 10.0


class LeavePanicConfig(Model):
    """A pool that was in panic is used whole until health has stood still for `settle`, or `longest` at most."""

    settle: Annotated[float, Field(ge=0, le=3600)] = 5.0
    longest: Annotated[float, Field(ge=0, le=86400)] = 30.0


class SkewConfig(Model):
    """What follows when most other nodes of the site have had another configuration for `after`: `do` it."""

    after: Annotated[float, Field(ge=0, le=86400)] = 60.0
    do: Literal["alarm", "withdraw"] = "alarm"


class SafetyConfig(Model):
    """The defaults are for networks whose routers nobody has asked about their damping.

    `settle` passes between being ready and the first announcement. A VIP that was taken back for a fault returns when
    all has been well for `hold_down`, and not before a router that damps with `half_life` and `suppress` would bear one
    more change; `half_life` 0: no router damps. Below `panic_below`, a share of a pool, all its backends are used.
    """

    settle: Annotated[float, Field(ge=0, le=3600)] = 0.5
    hold_down: Annotated[float, Field(ge=0, le=3600)] = 10.0
    half_life: Annotated[float, Field(ge=0, le=86400)] = 900.0
    suppress: Annotated[Integer, Field(gt=int(PENALTY), le=1_000_000)] = 2000
    panic_below: Share = 0.3
    leave_panic: LeavePanicConfig = LeavePanicConfig()
    velocity: VelocityConfig = VelocityConfig()
    skew: SkewConfig = SkewConfig()

    @property
    def damping(self) -> DampingRules:
        """The rules of `edge.policy.damping`."""
        return DampingRules(self.hold_down, self.half_life, float(self.suppress))

    @property
    def returns(self) -> PanicRules:
        """The rules of `edge.policy.panic`, before a pool's checks are looked at."""
        return PanicRules(self.leave_panic.settle, self.leave_panic.longest)

    @property
    def removals(self) -> VelocityRules:
        """The rules of `edge.policy.velocity`."""
        return VelocityRules(self.velocity.share, self.velocity.window)

    @property
    def skews(self) -> SkewRules:
        """The rules of `edge.policy.skew`."""
        return SkewRules(self.skew.after, self.skew.do == "withdraw")
