"""What a node's first process needs to know, as plain values that travel as JSON from the tool to its guardian."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lab.topology.model import Topology

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEFAULT_COMMAND = ("sleep", "infinity")  # a set of namespaces has no image that would name one


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the running program lives: `paths` must be readable in every node, at the same place."""

    python_bin: str
    bpf: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One node to start. `binds` are (absolute source, target, read_only); `paths` are shown read-only where hidden."""

    name: str
    hostname: str
    netns: str
    root: str
    log: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    sysctls: Mapping[str, str]
    tmpfs: Mapping[str, str]
    binds: tuple[tuple[str, str, bool], ...]
    paths: tuple[str, ...]
    privileged: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values; `NodeSpec(**json)` is the way back."""
        return asdict(self)


def node_spec(
    topology: Topology, name: str, here: Surroundings, state: str, netns: str, from_files: Mapping[str, str]
) -> NodeSpec:
    """The spec of node `name`.

    `state` is the lab's folder under /run, `netns` the network namespace to enter (empty: the machine's own),
    `from_files` what the node's env-files say.
    """
    node = topology.nodes[name]
    env = {
        "PATH": f"{here.python_bin}:{_DEFAULT_PATH}",
        "HOME": "/root",
        "HOSTNAME": node.hostname,
        "FAIRHOP_BPF": here.bpf,
        "CLAB_INTFS": str(len(topology.endpoints(name))),
        **{f"CLAB_LABEL_{_env_key(key)}": value for key, value in labels(topology, name).items()},
        **from_files,
        **node.env,
    }
    return NodeSpec(
        name=name,
        hostname=node.hostname,
        netns=netns,
        root=f"{state}/root",
        log=f"{state}/{name}.log",
        argv=(node.command if node.kind == "linux" else ()) or _DEFAULT_COMMAND,
        env=env,
        sysctls=dict(node.sysctls),
        tmpfs=dict(node.tmpfs),
        binds=tuple((_absolute(topology.folder, bind.source), bind.target, bind.read_only) for bind in node.binds),
        paths=(*here.paths, topology.folder),
        privileged=node.privileged,
    )


def labels(topology: Topology, name: str) -> dict[str, str]:
    """The node's labels with those that containerlab adds."""
    node = topology.nodes[name]
    return {
        **node.labels,
        "containerlab": topology.name,
        "clab-node-name": name,
        "clab-node-longname": topology.long_name(name),
        "clab-node-kind": node.kind,
        "clab-node-group": node.group,
        "clab-topo-file": topology.file,
    }


def _env_key(label: str) -> str:
    """containerlab's spelling of a label as part of an environment variable (utils/env.go, ToEnvKey)."""
    return re.sub(r"[^a-zA-Z0-9_]+", "", re.sub(r"[-+./]", "_", label)).upper()


def _absolute(folder: str, path: str) -> str:
    return path if path.startswith("/") else f"{folder}/{path}"
