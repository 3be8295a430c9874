"""Faults of a router."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lab.faults.model_base import Address, Fault


class RouterRestart(Fault):
    """The router's machine restarts: all of it dies, and `down` seconds later it starts with the links it had."""

    kind: ClassVar[str] = "router-restart"
    one_shot: ClassVar[bool] = True
    node: str
    down: Annotated[float, Field(ge=0, le=600)] = 0.0


class SessionReset(Fault):
    """BGP sessions of a router end: all of them, or that with `peer`; `clear` with a NOTIFICATION, `rst` without."""

    kind: ClassVar[str] = "session-reset"
    one_shot: ClassVar[bool] = True
    node: str
    peer: Address = ""
    how: Literal["clear", "rst"] = "clear"


class EcmpRehash(Fault):
    """A router spreads flows over its next hops in another way: another seed, or another policy of what it hashes."""

    kind: ClassVar[str] = "ecmp-rehash"
    node: str
    by: Literal["seed", "policy"] = "seed"
    value: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = None
