"""Inheritance and variables: a node's own words over its group's, over its kind's, over the defaults.

Source: containerlab 0.79.0, types/topology.go (getters), core/config.go (magic variables).
"""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from lab.topology.keys import FileDefinition, HealthcheckDefinition, NodeDefinition, TopologyDefinition
from lab.topology.model import (
    STAGES,
    Bind,
    Healthcheck,
    Node,
    Stage,
    StageCommand,
    StageName,
    WaitFor,
)

_READ_ONLY = {"ro": True, "rw": False}
_OPTIONS = (*_READ_ONLY, "z", "Z", "cached", "consistent", "delegated")  # SELinux's, and Docker Desktop's caches


def resolve(file: FileDefinition, folder: str) -> dict[str, Node]:
    """Every node of a decoded file, in its order. `folder` is where the file stands, for the directory variables."""
    return {name: _node(file, folder, name) for name in file.topology.nodes}


def parse_bind(text: str) -> Bind:
    """A bind from `source:target[:options]`. Raises ValueError with what was expected."""
    source, *rest = text.split(":")
    if len(rest) not in (1, 2) or not source or not rest[0].startswith("/"):
        raise ValueError("expected source:/target or source:/target:ro")
    options = rest[1].split(",") if len(rest) == 2 else []
    unknown = [option for option in options if option not in _OPTIONS]
    if unknown:
        raise ValueError(f"option '{unknown[0]}' is not supported: expected ro or rw")
    return Bind(source, rest[0], any(_READ_ONLY.get(option) for option in options))


def _layers(topology: TopologyDefinition, name: str) -> list[NodeDefinition]:
    """Definitions that make the node, the most specific last."""
    defaults = topology.defaults or NodeDefinition()
    node = topology.nodes[name] or NodeDefinition()
    kind = _kind(topology, node, defaults)
    of_kind = topology.kinds.get(kind) or NodeDefinition()
    group = topology.groups.get(node.group or of_kind.group or defaults.group or "") or NodeDefinition()
    return [defaults, of_kind, group, node]


def _kind(topology: TopologyDefinition, node: NodeDefinition, defaults: NodeDefinition) -> str:
    for named in (node.group, defaults.group):
        group = topology.groups.get(named or "")
        if node.kind or (group and group.kind):
            return str(node.kind or (group and group.kind))
    return defaults.kind or ""


def _node(file: FileDefinition, folder: str, name: str) -> Node:
    layers = _layers(file.topology, name)
    first = _first_of(layers)
    magic = _Magic(file.name, folder, name)
    healthcheck = first("healthcheck", None)
    return Node(
        name=name,
        kind=_kind(file.topology, layers[-1], layers[0]),
        group=first("group", ""),
        image=first("image", ""),
        hostname=first("hostname", name),
        command=tuple(shlex.split(first("entrypoint", "")) + shlex.split(first("cmd", ""))),
        binds=tuple(_binds(layers, magic)),
        tmpfs=_merged(layers, "tmpfs"),
        env=_merged(layers, "env"),
        labels=_merged(layers, "labels"),
        sysctls=_merged(layers, "sysctls"),
        exec=tuple(magic.replace(command) for layer in layers for command in layer.exec_),
        cap_add=tuple(dict.fromkeys(capability for layer in layers for capability in layer.cap_add)),
        env_files=tuple(dict.fromkeys(path for layer in layers for path in layer.env_files)),
        privileged=first("privileged", True),
        network_mode=first("network_mode", "bridge"),
        startup_delay=float(first("startup_delay", 0)),
        stages=dict(_stages(layers, magic)),
        healthcheck=_healthcheck(healthcheck) if healthcheck else None,
    )


def _first_of(layers: list[NodeDefinition]) -> Any:
    def first(field: str, default: Any) -> Any:
        """The most specific value given for `field`. An empty text counts as not given, as in containerlab."""
        said = (getattr(layer, field) for layer in reversed(layers))
        return next((value for value in said if value is not None and value != ""), default)

    return first


def _merged(layers: list[NodeDefinition], field: str) -> dict[str, str]:
    return {key: value for layer in layers for key, value in getattr(layer, field).items()}


def _binds(layers: list[NodeDefinition], magic: "_Magic") -> Iterator[Bind]:
    """One bind a target: the most specific wins."""
    binds = (parse_bind(text) for layer in layers for text in layer.binds)
    for bind in {bind.target: bind for bind in binds}.values():
        yield Bind(magic.replace(bind.source), bind.target, bind.read_only)


def _stages(layers: list[NodeDefinition], magic: "_Magic") -> Iterator[tuple[StageName, Stage]]:
    for stage in STAGES:
        said = [layer.stages[stage] for layer in layers if stage in layer.stages]
        waits = (WaitFor(wait.node, wait.stage) for definition in said for wait in definition.wait_for)
        commands = (
            StageCommand(magic.replace(command.command), command.target, command.phase)
            for definition in said
            for command in definition.exec_
        )
        if said:
            yield stage, Stage(tuple(dict.fromkeys(waits)), tuple(commands))


def _healthcheck(said: HealthcheckDefinition) -> Healthcheck:
    """Docker reads 0 as its default."""
    default = Healthcheck(said.test)
    return Healthcheck(
        test=said.test,
        interval=said.interval or default.interval,
        timeout=said.timeout or default.timeout,
        retries=said.retries or default.retries,
        start_period=said.start_period,
    )


class _Magic:
    """containerlab's variables: in the sources of binds and in the commands of `exec`."""

    def __init__(self, lab: str, folder: str, node: str) -> None:
        directory = f"{folder}/clab-{lab}"
        self._values: Mapping[str, str] = {
            "__clabDir__": directory,
            "__clabLabName__": f"clab-{lab}",
            "__clabNodeDir__": f"{directory}/{node}",
            "__clabNodeName__": node,
        }

    def replace(self, text: str) -> str:
        for variable, value in self._values.items():
            text = text.replace(variable, value)
        return text
