"""Reads a containerlab topology file (`*.clab.yml`) into a frozen `Topology`.

The order is containerlab's: environment variables, strict YAML, then node over group over kind over defaults. Every
error of the file is reported at once, each with its place. Go templates are not supported.
"""

import copy
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from edge.text import strictyaml
from edge.text.decode import decode, nearest
from edge.text.strictyaml import ConfigError, Document, Path, Problem
from lab.topology.envsubst import substitute
from lab.topology.inherit import parse_bind, resolve
from lab.topology.keys import FileDefinition, at, tolerated, wrong_keys
from lab.topology.kinds import KINDS_TEXT, kind_problems, namespace_problems, network_problems
from lab.topology.links import LinkReader
from lab.topology.model import (
    DEFAULT_MTU,
    STAGES,
    Bind,
    Endpoint,
    Healthcheck,
    Link,
    Node,
    Stage,
    StageCommand,
    StageName,
    Topology,
    WaitFor,
    long_name,
)
from lab.topology.notes import notes

__all__ = [
    "DEFAULT_MTU",
    "STAGES",
    "Bind",
    "Endpoint",
    "Healthcheck",
    "Link",
    "Node",
    "Stage",
    "StageCommand",
    "StageName",
    "Topology",
    "WaitFor",
    "load",
    "long_name",
]

_NODE_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}(\|[a-zA-Z0-9][a-zA-Z0-9._-]{0,62})?")
_NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


def load(text: str, name: str, *, folder: str = ".", environ: Mapping[str, str] = _NO_VARIABLES) -> Topology:
    """The topology written in `text`.

    `name` stands in errors, `folder` is where the file lies (binds are relative to it), `environ` feeds `${VAR}`.
    Raises `ConfigError` with every problem of the file.
    """
    if "{{" in text:
        before = text[: text.index("{{")]
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise ConfigError([Problem(name, *place, "Go templates ('{{') are not supported: write the values out")])
    document = strictyaml.load(substitute(text, environ, name), name)
    if not isinstance(document.value, dict):
        raise ConfigError([document.problem((), "a topology file is a mapping with 'name' and 'topology'")])
    wrong = dict(wrong_keys(document))
    links = LinkReader(document, at(document, ("topology", "nodes"), dict))
    read = links.read()
    file, shape_problems = _decoded(document, list(wrong))
    problems = [*wrong.values(), *shape_problems, *links.problems, *_rule_problems(document), *kind_problems(document)]
    if problems or file is None:
        raise ConfigError(dict.fromkeys(problems))
    nodes = resolve(file, folder)
    problems = [
        *_kindless(document, nodes),
        *network_problems(document, nodes),
        *_healthless(document, nodes),
        *_cycles(document, nodes),
    ]
    topology = Topology(name=file.name, nodes=nodes, links=read, prefix=file.prefix, folder=folder, file=name)
    problems = problems or list(namespace_problems(document, topology))
    if problems:
        raise ConfigError(problems)
    return replace(topology, notes=notes(document, topology))


def _decoded(document: Document, without: list[Path]) -> tuple[FileDefinition | None, tuple[Problem, ...]]:
    """The file less its links and less the keys reported already."""
    value = copy.deepcopy(document.value)
    for path in [*without, *tolerated(document), ("topology", "links")]:
        holder = at(replace(document, value=value), path[:-1], dict)
        holder.pop(path[-1], None)
    try:
        return decode(replace(document, value=value), FileDefinition), ()
    except ConfigError as error:
        return None, error.problems


def _rule_problems(document: Document) -> Iterator[Problem]:
    """What the shape of the values cannot say."""
    nodes = at(document, ("topology", "nodes"), dict)
    for name in nodes:
        if not _NODE_NAME.fullmatch(name):
            message = f"node name '{name}': expected letters, digits, '.', '_' and '-', starting with a letter or digit"
            yield document.problem(("topology", "nodes", name), message, at_key=True)
    sections: dict[Path, Any] = {("topology",): at(document, ("topology",), dict)}
    for section in ("kinds", "groups", "nodes"):
        sections["topology", section] = at(document, ("topology", section), dict)
    for section_path, section_value in sections.items():
        for name in section_value:
            path = (*section_path, name)
            if len(path) == 3 or name == "defaults":
                yield from _text_problems(document, path)
                yield from _wait_problems(document, path, sorted(nodes))


def _text_problems(document: Document, path: Path) -> Iterator[Problem]:
    for index, bind in enumerate(at(document, (*path, "binds"), list)):
        try:
            parse_bind(str(bind))
        except ValueError as error:
            yield document.problem((*path, "binds", index), f"bind '{bind}': {error}")
    commands = {(*path, "exec", i): command for i, command in enumerate(at(document, (*path, "exec"), list))}
    commands |= {(*path, key): at(document, (*path, key), str) for key in ("entrypoint", "cmd")}
    for place, command in commands.items():
        try:
            shlex.split(str(command))
        except ValueError as error:
            yield document.problem(place, f"command '{command}': {str(error).lower()}")


def _wait_problems(document: Document, path: Path, nodes: list[str]) -> Iterator[Problem]:
    for stage in STAGES:
        waits = (*path, "stages", stage, "wait-for")
        for index, wait in enumerate(at(document, waits, list)):
            name = wait.get("node") if isinstance(wait, dict) else None
            if isinstance(name, str) and name not in nodes:
                message = f"wait-for names '{name}', which is no node of this file{nearest(name, nodes)}"
                yield document.problem((*waits, index, "node"), message)


def _kindless(document: Document, nodes: Mapping[str, Node]) -> Iterator[Problem]:
    for name, node in nodes.items():
        if not node.kind:
            message = f"node '{name}' has no kind, nor have its group and the defaults: expected {KINDS_TEXT}"
            yield document.problem(("topology", "nodes", name), message, at_key=True)


def _healthless(document: Document, nodes: Mapping[str, Node]) -> Iterator[Problem]:
    """A node without a health check never becomes healthy, so whoever waits for that waits for ever."""
    for name, node in nodes.items():
        for stage in node.stages.values():
            for wait in stage.wait_for:
                if wait.stage == "healthy" and not nodes[wait.node].healthcheck:
                    message = f"node '{name}' waits until '{wait.node}' is healthy, which has no healthcheck"
                    yield document.problem(("topology", "nodes", name), message, at_key=True)


def _cycles(document: Document, nodes: Mapping[str, Node]) -> Iterator[Problem]:
    """containerlab refuses two nodes that wait for each other, at whatever stages."""
    waits = {
        name: {wait.node for stage in node.stages.values() for wait in stage.wait_for} for name, node in nodes.items()
    }
    waiting = dict(waits)
    while ready := [name for name, others in waiting.items() if not others & waiting.keys()]:
        for name in ready:
            del waiting[name]
    for name in waiting:
        if name in _reachable(waits, name):
            words = ", ".join(sorted(waits[name] & waiting.keys()))
            message = f"node '{name}' waits for itself, through wait-for on {words}: the lab could never start"
            yield document.problem(("topology", "nodes", name), message, at_key=True)


def _reachable(waits: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    frontier = set(waits[start])
    while frontier:
        found |= frontier
        frontier = set().union(*(waits[name] for name in frontier)) - found
    return found
