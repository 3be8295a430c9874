"""YAML without surprises: YAML 1.2 core scalars, no duplicate keys, and the place of every value.

PyYAML alone reads `2222:22` as 133342, `no` as False, `0123` as 83, and keeps the last of two equal keys. Here a scalar
is null, true/false, a decimal integer, a float, or else text; a duplicate key is an error; errors come all at once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str | int, ...]

_MAX_NODES = 200_000
_TAG = "tag:yaml.org,2002:"
_CORE_SCALARS = (
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("bool", r"^(?:true|false)$", list("tf")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]{0,17})$", list("-+0123456789")),
    ("float", r"^[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$", list("-+0123456789")),
)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file. `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(Exception):
    """A file that cannot be used, with every problem found, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: plain values (dict, list, str, int, float, bool, None) and where each stands.

    `marks` has (line, column) for each value by its path; `key_marks` for each mapping key by the path of its value.
    """

    name: str
    value: Any
    marks: Mapping[Path, tuple[int, int]]
    key_marks: Mapping[Path, tuple[int, int]]

    def select(self, *pattern: str | int) -> Iterator[tuple[Path, Any]]:
        """(path, value) of all that matches the pattern, "*" standing for any key or index; tolerant of shape."""
        found: list[tuple[Path, Any]] = [((), self.value)]
        for part in pattern:
            found = [((*path, key), child) for path, value in found for key, child in _matching(value, part)]
        yield from found

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> Problem:
        """A `Problem` at `path`, or at its nearest ancestor that stands in the file."""
        marks = self.key_marks if at_key and path in self.key_marks else self.marks
        while path and path not in marks:
            path = path[:-1]
        line, column = marks.get(path, (1, 1))
        return Problem(self.name, line, column, message)


class _CoreLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own shape


for _kind, _pattern, _first in _CORE_SCALARS:
    _CoreLoader.add_implicit_resolver(_TAG + _kind, re.compile(_pattern), _first)


def load(text: str, name: str) -> Document:
    """Parse one YAML document. Raises `ConfigError` with all syntax and duplicate-key errors found."""
    try:
        root = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        words = " ".join(filter(None, (error.context, error.problem)))
        raise ConfigError([Problem(name, line, column, f"not valid YAML: {words}")]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        raise ConfigError([Problem(name, line, column, f"not valid YAML: {error.reason}")]) from None
    except RecursionError:
        raise ConfigError([Problem(name, 1, 1, "nested too deeply: nothing here needs more than ten levels")]) from None
    builder = _Builder(name)
    value = builder.build(root, ()) if root is not None else None
    if builder.problems:
        raise ConfigError(builder.problems)
    return Document(name, value, builder.marks, builder.key_marks)


class _Builder:
    """Walks the node tree once; collects values, marks and problems."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.marks: dict[Path, tuple[int, int]] = {}
        self.key_marks: dict[Path, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        self._built = 0

    def build(self, node: Node, path: Path) -> Any:
        self.marks[path] = _position(node)
        self._built += 1
        if id(node) in self._open or self._built > _MAX_NODES:
            self._report(node, "an alias that contains itself or grows without bound is not allowed")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return dict(self._pairs(node, path))
            if isinstance(node, SequenceNode):
                return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
            return self._scalar(node, str(node.value))
        finally:
            self._open.discard(id(node))

    def _pairs(self, node: MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._report(key_node, "a key must be a plain word, not a list or a mapping")
                continue
            key = str(key_node.value)
            if key in seen:
                self._report(key_node, f"key '{key}' is given twice, first on line {seen[key]}")
                continue
            seen[key] = _position(key_node)[0]
            self.key_marks[(*path, key)] = _position(key_node)
            yield key, self.build(value_node, (*path, key))

    def _scalar(self, node: Node, text: str) -> Any:
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return text == "true"
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "str":
                return text
        self._report(node, f"tag '{node.tag}' is not supported: write a plain value")
        return None

    def _report(self, node: Node, message: str) -> None:
        self.problems.append(Problem(self.name, *_position(node), message))


def _matching(value: Any, part: str | int) -> Iterable[tuple[str | int, Any]]:
    if isinstance(value, dict):
        return value.items() if part == "*" else [(part, value[part])] if part in value else ()
    if isinstance(value, list):
        in_list = isinstance(part, int) and 0 <= part < len(value)
        return enumerate(value) if part == "*" else [(part, value[int(part)])] if in_list else ()
    return ()


def _position(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
