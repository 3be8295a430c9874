"""From `{KIND: {key: value}}` to a fault, with every error at its place."""

from typing import Any

from edge.text import strictyaml
from edge.text.decode import decode, nearest
from edge.text.strictyaml import ConfigError, Document, Path
from lab.faults.model import KINDS
from lab.faults.model_base import Fault


def load(text: str, name: str = "fault") -> Fault:
    """The fault that a YAML text such as `loss: {on: "a-r1:eth3", percent: 30}` spells. Raises ConfigError."""
    return read(strictyaml.load(text, name))


def read(document: Document, path: Path = ()) -> Fault:
    """The fault that stands at `path` of a document. Raises ConfigError with all findings at their places."""
    value: Any = document.value
    for part in path:
        value = value[part]
    if not isinstance(value, dict) or len(value) != 1:
        raise ConfigError([document.problem(path, f"expected one fault, {{KIND: {{...}}}}{nearest('', list(KINDS))}")])
    kind = next(iter(value))
    if kind not in KINDS:
        message = f"there is no fault '{kind}'{nearest(kind, list(KINDS))}"
        raise ConfigError([document.problem((*path, kind), message, at_key=True)])
    return decode(_part(document, (*path, kind), value[kind]), KINDS[kind])


def spelled(fault: Fault) -> dict[str, Any]:
    """The fault as it is written, without what is at its default."""
    return {fault.kind: fault.model_dump(mode="json", exclude_defaults=True)}


def build(value: dict[str, Any]) -> Fault:
    """The fault of plain values, as `spelled` gives them. Raises KeyError or ValueError."""
    ((kind, fields),) = value.items()
    return KINDS[kind].model_validate(fields)


def _part(document: Document, path: Path, value: Any) -> Document:
    """A document of its own whose root is what stands at `path`, with the places that it has in the whole."""
    size = len(path)
    marks = {place[size:]: mark for place, mark in document.marks.items() if place[:size] == path}
    keys = {place[size:]: mark for place, mark in document.key_marks.items() if place[:size] == path and place != path}
    return Document(document.name, value, marks, keys)
