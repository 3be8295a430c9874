"""Faults of a node, of one program of it, and of the store."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from lab.faults.model_base import Fault


class Kill(Fault):
    """Every process of the node dies at once; its links keep their carrier. Reverting starts it again."""

    kind: ClassVar[str] = "kill"
    node: str


class Pause(Fault):
    """Every process of the node but its init is stopped, as a machine that hangs; its kernel goes on forwarding and answering."""

    kind: ClassVar[str] = "pause"
    node: str


class Freeze(Fault):
    """One program of the node is stopped: those processes whose command line has `process` in it."""

    kind: ClassVar[str] = "freeze"
    node: str
    process: Annotated[str, Field(min_length=1)]


class KillProcess(Fault):
    """One program of the node is killed (SIGKILL); whoever supervises it may start it again."""

    kind: ClassVar[str] = "kill-process"
    one_shot: ClassVar[bool] = True
    node: str
    process: Annotated[str, Field(min_length=1)]


class DiskFull(Fault):
    """No byte more can be written: to the node's root if that is the node's alone, or below the folder `path`."""

    kind: ClassVar[str] = "disk-full"
    node: str
    path: Annotated[str, Field(pattern="^(/.*)?$")] = ""


class ClockJump(Fault):
    """One program of the node sees the wall clock `seconds` off from now on; the monotonic clock stays as it is."""

    kind: ClassVar[str] = "clock-jump"
    node: str
    seconds: Annotated[float, Field(ge=-3e9, le=3e9)]
    process: str = ""


class StoreLoss(Fault):
    """The store (nodes of the role `store`, or `nodes`) is gone: stopped dead, frozen, or cut off from the others."""

    kind: ClassVar[str] = "store-loss"
    nodes: tuple[str, ...] = ()
    how: Literal["kill", "pause", "partition"] = "partition"
