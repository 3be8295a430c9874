"""Faults of an edge: of its checks and of its configuration."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from lab.faults.model_base import Address, Fault


class CheckerLies(Fault):
    """The node's checks see every backend (or those at the addresses `backends`) `down` or `up`, whatever is true.

    With `every` they flap: they lie for so many seconds, tell the truth for as long, and so on.
    """

    kind: ClassVar[str] = "checker-lies"
    node: str
    answer: Literal["down", "up"] = "down"
    backends: tuple[Address, ...] = ()
    every: Annotated[float, Field(ge=0.1, le=3600)] | None = None


class CheckerHangs(Fault):
    """The node's checks end no more: the checking process is stopped, or its probes vanish without an answer."""

    kind: ClassVar[str] = "checker-hangs"
    node: str
    how: Literal["stop", "drop"] = "stop"
    backends: tuple[Address, ...] = ()


class Config(Fault):
    """Values of a node's fairhop.yaml are replaced and it is told to reload; reverted by the original file.

    `set` has the new values by their place, as `checks.web.interval: 1` or `limits.0.rate: 5`; null removes a key.
    With `refused: true` the reload must fail, and what it said is kept; else it must not.
    """

    kind: ClassVar[str] = "config"
    node: str
    set: Annotated[Mapping[str, Any], Field(min_length=1)]
    refused: bool = False
