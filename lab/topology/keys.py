"""The keys of a topology file: which there are, which this lab honours, and what values they take.

Source: containerlab 0.79.0, types/node_definition.go, types/stages.go and schemas/clab.schema.json. Keys that tune what
only a container runtime has (images, capabilities) are accepted, as they do not change what the lab shows.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from edge.text.decode import Model, nearest
from edge.text.scalars import Integer
from edge.text.strictyaml import Document, Path, Problem
from lab.topology.model import STAGES, StageName


def _as_text(value: Any) -> str:
    """containerlab takes every scalar here as it is written; of numbers only whole ones survive the YAML reader so."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise ValueError("expected text; write it in quotes")
    return value


Text = Annotated[str, BeforeValidator(_as_text)]
Texts = tuple[Text, ...]


class Definition(Model):
    """A mapping of the file, keys as containerlab spells them."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=lambda name: name.rstrip("_").replace("_", "-")
    )


class WaitForDefinition(Definition):
    """An entry of `wait-for`."""

    node: str
    stage: StageName


class StageCommandDefinition(Definition):
    """An entry of a stage's `exec`."""

    command: str
    target: Literal["container", "host"] = "container"
    phase: Literal["on-enter", "on-exit"] = "on-enter"


class StageDefinition(Definition):
    """One stage."""

    wait_for: tuple[WaitForDefinition, ...] = ()
    exec_: tuple[StageCommandDefinition, ...] = ()


class HealthcheckDefinition(Definition):
    """Docker's health check; 0 or absent means Docker's default."""

    test: Annotated[tuple[str, ...], Field(min_length=1)]
    interval: Annotated[Integer, Field(ge=0)] = 0
    timeout: Annotated[Integer, Field(ge=0)] = 0
    retries: Annotated[Integer, Field(ge=0)] = 0
    start_period: Annotated[Integer, Field(ge=0)] = 0


class NodeDefinition(Definition):
    """What `defaults`, a kind, a group or a node may say. None means: not said here."""

    kind: str | None = None
    group: str | None = None
    image: str | None = None
    hostname: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    entrypoint: str | None = None
    cmd: str | None = None
    exec_: Texts = ()
    binds: Texts = ()
    tmpfs: dict[str, str] = Field(default_factory=dict)
    cap_add: tuple[str, ...] = ()
    privileged: bool | None = None
    startup_delay: Annotated[Integer, Field(ge=0, le=3600)] | None = None
    env: dict[str, Text] = Field(default_factory=dict)
    env_files: Texts = ()
    labels: dict[str, Text] = Field(default_factory=dict)
    sysctls: dict[str, Text] = Field(default_factory=dict)
    network_mode: str | None = None
    stages: dict[StageName, StageDefinition] = Field(default_factory=dict)
    healthcheck: HealthcheckDefinition | None = None


class TopologyDefinition(Definition):
    """The `topology` mapping, links apart (lab.topology.links reads them)."""

    defaults: NodeDefinition | None = None
    kinds: dict[str, NodeDefinition | None] = Field(default_factory=dict)
    groups: dict[str, NodeDefinition | None] = Field(default_factory=dict)
    nodes: Annotated[dict[str, NodeDefinition | None], Field(min_length=1)]


class FileDefinition(Definition):
    """The whole file."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$", max_length=64)]
    prefix: Annotated[str, Field(pattern=r"^$|^__lab-name$|^[a-zA-Z0-9][a-zA-Z0-9._-]*$")] = "clab"
    topology: TopologyDefinition


NODE_KEYS = tuple(str(field.alias) for field in NodeDefinition.model_fields.values())
# Keys that only tune containers, and those that containerlab itself reads for other kinds than these alone.
_SILENT = """
auto-remove cgroup-parent cgroupns-mode config credentials enforce-startup-config image-pull-policy license
link-apply-mode password pid-mode position restart-policy runtime security-opts startup-config suppress-startup-config
type username
"""
# Keys that do something on containerlab which is missing here, and no lab stands or falls with it: what is missing.
MISSING_HERE = {
    "aliases": "there is no Docker DNS that would know them",
    "cpu": "nodes share the machine's cores without a limit",
    "cpu-set": "nodes run on any core",
    "dns": "nodes have the machine's /etc/resolv.conf",
    "extras": "they are for other kinds",
    "memory": "nodes share the machine's memory without a limit",
    "mgmt-ipv4": "there is no management network",
    "mgmt-ipv6": "there is no management network",
    "ports": "there is no management network, so nothing is published",
    "shm-size": "/dev/shm has the kernel's default size",
}
TOLERATED_NODE_KEYS = frozenset(_SILENT.split()) | MISSING_HERE.keys()
UNSUPPORTED_NODE_KEYS = frozenset(["certificate", "components", "devices", "user", "volumes"])
_FILE_KEYS, TOLERATED_FILE_KEYS = ("name", "prefix", "topology"), frozenset(("mgmt", "settings", "debug"))
_TOPOLOGY_KEYS = ("defaults", "kinds", "groups", "nodes", "links")
_STAGE_KEYS = ("wait-for", "exec")
_HEALTHCHECK_KEYS = ("test", "interval", "timeout", "retries", "start-period")


def wrong_keys(document: Document) -> Iterator[tuple[Path, Problem]]:
    """Every key of the file, links apart, that containerlab or this lab does not know, with its path."""
    yield from foreign_keys(document, (), "a topology file", (*_FILE_KEYS, *sorted(TOLERATED_FILE_KEYS)))
    yield from foreign_keys(document, ("topology",), "'topology'", _TOPOLOGY_KEYS)
    for path in definition_paths(document):
        yield from foreign_keys(document, path, "a node", (*NODE_KEYS, *TOLERATED_NODE_KEYS), UNSUPPORTED_NODE_KEYS)
        yield from foreign_keys(document, (*path, "healthcheck"), "a healthcheck", _HEALTHCHECK_KEYS)
        yield from foreign_keys(document, (*path, "stages"), "'stages'", STAGES)
        for stage in STAGES:
            yield from foreign_keys(document, (*path, "stages", stage), "a stage", _STAGE_KEYS)


def foreign_keys(
    document: Document, path: Path, what: str, known: tuple[str, ...], unsupported: frozenset[str] = frozenset()
) -> Iterator[tuple[Path, Problem]]:
    """Keys of the mapping at `path`, if there is one, that are neither `known` nor merely not `unsupported` here."""
    for key in at(document, path, dict):
        if key in unsupported:
            message = f"key '{key}' of {what} is containerlab's but not supported here: remove it"
            yield (*path, key), document.problem((*path, key), message, at_key=True)
        elif key not in known:
            message = f"unknown key '{key}' in {what}{nearest(key, known)}"
            yield (*path, key), document.problem((*path, key), message, at_key=True)


def at(document: Document, path: Path, kind: type[Any]) -> Any:
    """The value at `path` if it is of `kind`, else an empty one: no check may trip over what another one reports."""
    value = document.value
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return kind()
    return value if isinstance(value, kind) else kind()


def tolerated(document: Document) -> Iterator[Path]:
    """The paths of all keys that are accepted and change nothing."""
    yield from ((key,) for key in at(document, (), dict) if key in TOLERATED_FILE_KEYS)
    for path in definition_paths(document):
        yield from ((*path, key) for key in at(document, path, dict) if key in TOLERATED_NODE_KEYS)


def definition_paths(document: Document) -> Iterator[Path]:
    """Every place that may define a node or a part of one."""
    yield ("topology", "defaults")
    for section in ("kinds", "groups", "nodes"):
        for name in at(document, ("topology", section), dict):
            yield ("topology", section, name)
