"""A lab as frozen values: what remains of a `*.clab.yml` once inheritance and variables are resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

StageName = Literal["create", "create-links", "configure", "healthy", "exit"]
STAGES: tuple[StageName, ...] = ("create", "create-links", "configure", "healthy", "exit")
DEFAULT_MTU = 9500  # containerlab's, for a link that names none


@dataclass(frozen=True, slots=True)
class Bind:
    """`source` (relative to the topology's folder unless absolute) appears in the node as `target`."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class WaitFor:
    """The node enters the stage that holds this only after `node` has left `stage`."""

    node: str
    stage: StageName


@dataclass(frozen=True, slots=True)
class StageCommand:
    """A command (split like a shell does, but run without one) at the edge of a stage; a failure is only logged."""

    command: str
    target: Literal["container", "host"]
    phase: Literal["on-enter", "on-exit"]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a node waits for before a stage, and what it runs around it."""

    wait_for: tuple[WaitFor, ...] = ()
    commands: tuple[StageCommand, ...] = ()


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Docker's: `test` starts with CMD, CMD-SHELL or NONE; times in seconds; `retries` failures make it unhealthy."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0


@dataclass(frozen=True, slots=True)
class Node:
    """One node, inheritance resolved. `command` is entrypoint and cmd together, empty when the image decides."""

    name: str
    kind: str
    group: str
    image: str
    hostname: str
    command: tuple[str, ...]
    binds: tuple[Bind, ...] = ()
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    sysctls: Mapping[str, str] = field(default_factory=dict)
    exec: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()
    privileged: bool = True
    network_mode: str = "bridge"
    startup_delay: float = 0.0
    stages: Mapping[StageName, Stage] = field(default_factory=dict)
    healthcheck: Healthcheck | None = None


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One end of a link. `mac` is empty unless the file gives it."""

    node: str
    interface: str
    mac: str = ""

    def __str__(self) -> str:
        return f"{self.node}:{self.interface}"


@dataclass(frozen=True, slots=True)
class Link:
    """A veth pair, `mtu` bytes on both ends."""

    a: Endpoint
    b: Endpoint
    mtu: int = DEFAULT_MTU
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def ends(self) -> tuple[Endpoint, Endpoint]:
        """Both ends, in the file's order."""
        return self.a, self.b


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab. `nodes` and `links` keep the order of the file; `folder` and `file` say where it was read."""

    name: str
    nodes: Mapping[str, Node]
    links: tuple[Link, ...] = ()
    prefix: str = "clab"
    folder: str = "."
    file: str = ""

    def long_name(self, node: str) -> str:
        """The node's name on the host, as containerlab forms it: of its container and of /run/netns/NAME."""
        return long_name(self.prefix, self.name, node)

    def endpoints(self, node: str) -> tuple[Endpoint, ...]:
        """The node's own ends of its links, in the file's order."""
        return tuple(end for link in self.links for end in link.ends if end.node == node)


def long_name(prefix: str, lab: str, node: str) -> str:
    """`prefix-lab-node`; an empty prefix gives the node's name alone, `__lab-name` drops only the prefix."""
    return {"": node, "__lab-name": f"{lab}-{node}"}.get(prefix, f"{prefix}-{lab}-{node}")
