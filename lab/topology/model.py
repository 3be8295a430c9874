"""A lab as frozen values: what remains of a `*.clab.yml` once inheritance and variables are resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

StageName = Literal["create", "create-links", "configure", "healthy", "exit"]
_CONTAINER = "container:"
STAGES: tuple[StageName, ...] = ("create", "create-links", "configure", "healthy", "exit")
LinkKind = Literal["veth", "host", "dummy", "macvlan", "vxlan"]
KINDS = ("linux", "bridge", "host")
HOST = "host"  # the machine itself, as an end of a link and as a network-mode
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
    env_files: tuple[str, ...] = ()

    @property
    def shares(self) -> str:
        """The node whose network namespace this one lives in (`network-mode: container:NODE`), or an empty text."""
        return self.network_mode.removeprefix(_CONTAINER) if self.network_mode.startswith(_CONTAINER) else ""

    @property
    def bridge(self) -> str:
        """The bridge device that a node of kind bridge is (`br|node` is `br`), or an empty text."""
        return self.name.partition("|")[0] if self.kind == "bridge" else ""


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One end of a link. `mac` is empty unless the file gives it.

    The node `host` is the machine itself. The far ends of links that have no second interface name what is there
    instead: `macvlan:PARENT`, `vxlan:REMOTE`, `dummy:`.
    """

    node: str
    interface: str
    mac: str = ""

    def __str__(self) -> str:
        return f"{self.node}:{self.interface}"


@dataclass(frozen=True, slots=True)
class Link:
    """A link, `mtu` bytes at each end. `a` is always in a node; `b` too when the kind is veth.

    `options`: mode of a macvlan; vni, dst-port, src-port and parent-interface of a vxlan.
    """

    a: Endpoint
    b: Endpoint
    mtu: int = DEFAULT_MTU
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: LinkKind = "veth"
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def ends(self) -> tuple[Endpoint, Endpoint]:
        """Both ends, in the file's order."""
        return self.a, self.b

    @property
    def interfaces(self) -> tuple[Endpoint, ...]:
        """The ends that are interfaces which the link brings into being: of a macvlan, vxlan or dummy only one."""
        return self.ends if self.kind in ("veth", "host") else (self.a,)


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab. `nodes` and `links` keep the order of the file; `folder` and `file` say where it was read.

    `notes` say what of the file a runtime without Docker does not do, for people.
    """

    name: str
    nodes: Mapping[str, Node]
    links: tuple[Link, ...] = ()
    prefix: str = "clab"
    folder: str = "."
    file: str = ""
    notes: tuple[str, ...] = ()

    def long_name(self, node: str) -> str:
        """The node's name on the host, as containerlab forms it: of its container and of /run/netns/NAME."""
        return long_name(self.prefix, self.name, node)

    def endpoints(self, node: str) -> tuple[Endpoint, ...]:
        """The node's own ends of its links, in the file's order."""
        return tuple(end for link in self.links for end in link.ends if end.node == node)

    def place(self, node: str) -> str:
        """The node whose network namespace `node` is in: itself as a rule, `host` for the machine's own."""
        while node in self.nodes and (shared := self.nodes[node].shares):
            node = shared
        described = self.nodes.get(node)
        if not described or HOST in (described.kind, described.network_mode):
            return HOST
        return node


def long_name(prefix: str, lab: str, node: str) -> str:
    """`prefix-lab-node`; an empty prefix gives the node's name alone, `__lab-name` drops only the prefix."""
    return {"": node, "__lab-name": f"{lab}-{node}"}.get(prefix, f"{prefix}-{lab}-{node}")
