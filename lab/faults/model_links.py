"""Faults of a link, each on one end of it."""

from typing import Annotated, ClassVar

from pydantic import Field, ValidationInfo, field_validator

from lab.faults.model_base import Direction, End, Fault


class LinkDown(Fault):
    """The named end of a link is set down; the other end loses its carrier."""

    kind: ClassVar[str] = "link-down"
    on: End


class Loss(Fault):
    """A share of the packets is dropped, each by chance of its own; `direction: in` or `out` is one-way loss."""

    kind: ClassVar[str] = "loss"
    on: End
    percent: Annotated[float, Field(gt=0, le=100)]
    direction: Direction = "both"


class Rate(Fault):
    """No more than `mbit` megabits a second; packets wait for at most `queue_ms` and are dropped after that."""

    kind: ClassVar[str] = "rate"
    on: End
    mbit: Annotated[float, Field(ge=0.05, le=10_000)]
    direction: Direction = "out"
    queue_ms: Annotated[float, Field(ge=1, le=10_000)] = 50.0


class Delay(Fault):
    """Each packet is held for `ms`, plus or minus up to `jitter` ms (evenly spread; the order is kept)."""

    kind: ClassVar[str] = "delay"
    on: End
    ms: Annotated[float, Field(gt=0, le=10_000)]
    jitter: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    direction: Direction = "both"

    @field_validator("jitter")
    @classmethod
    def _jitter_fits(cls, jitter: float, others: ValidationInfo) -> float:
        if jitter > others.data.get("ms", jitter):
            raise ValueError(f"expected at most the delay, {others.data['ms']:g} ms")
        return jitter


class Blackhole(Fault):
    """All packets are dropped; the link keeps its carrier."""

    kind: ClassVar[str] = "blackhole"
    on: End
    direction: Direction = "both"


class Mtu(Fault):
    """The interface sends no packet of more than `bytes`; the router says so by ICMP, or is `silent` (a PMTU hole)."""

    kind: ClassVar[str] = "mtu"
    on: End
    bytes: Annotated[int, Field(ge=576, le=9500)]
    silent: bool = False


class BfdDown(Fault):
    """No BFD packet passes the link, in either direction, while all else does."""

    kind: ClassVar[str] = "bfd-down"
    on: End
    direction: Direction = "both"
