"""Files of environment variables as containerlab's `env-files` have them: `NAME=value`, `export`, quotes, comments.

Source: github.com/joho/godotenv, which containerlab 0.79.0 reads them with.
"""

import re
from collections.abc import Iterator

from edge.text.strictyaml import ConfigError, Problem

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][\w.]*)\s*[=:]\s*(?P<value>.*)", re.DOTALL)
_DOUBLE = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_SINGLE = re.compile(r"'(?P<text>[^']*)'\s*(?:#.*)?")
_ESCAPES = {"n": "\n", "r": "\r"}


def parse(text: str, name: str) -> dict[str, str]:
    """The variables of a file. Raises `ConfigError` with every line that is none."""
    problems: list[Problem] = []
    found = dict(_read(text, name, problems))
    if problems:
        raise ConfigError(problems)
    return found


def _read(text: str, name: str, problems: list[Problem]) -> Iterator[tuple[str, str]]:
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        value = _value(match["value"]) if match else None
        if match and value is not None:
            yield match["name"], value
        else:
            problems.append(Problem(name, number, 1, f"'{line}' is no variable: expected NAME=value"))


def _value(text: str) -> str | None:
    if text.startswith('"'):
        quoted = _DOUBLE.fullmatch(text)
        return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), quoted["text"]) if quoted else None
    if text.startswith("'"):
        quoted = _SINGLE.fullmatch(text)
        return quoted["text"] if quoted else None
    return re.split(r"\s#", text, maxsplit=1)[0].rstrip()
