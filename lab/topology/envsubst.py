"""Environment variables in a topology file, replaced as containerlab does it before the YAML is read.

`$$` is a dollar; `$NAME` and `${NAME}` become the value, or stay as `$NAME` when it is unset or empty; `${NAME:-text}`
and `${NAME:=text}` fall back to the text for both, `${NAME-text}` and `${NAME=text}` only when unset; `${NAME:+text}`
and `${NAME+text}` give the text when set. A fallback may be another `$NAME`. `$1` and `${1}` stay as they are.
"""

import re
from collections.abc import Iterator, Mapping

from edge.text.strictyaml import ConfigError, Problem

_NAME = r"[^\W\d]\w*"
_REFERENCE = re.compile(
    rf"\$(?:(?P<dollar>\$)|(?P<plain>{_NAME})"
    rf"|\{{(?P<braced>{_NAME})(?:(?P<operator>:?[-=+])(?P<fallback>[^}}\r\n]*))?\}}|(?P<broken>\{{{_NAME}))"
)


def substitute(text: str, environ: Mapping[str, str], name: str) -> str:
    """`text` with its references replaced. Raises `ConfigError` with every unclosed or unknown `${...}` in it."""
    problems = list(_broken(text, name))
    if problems:
        raise ConfigError(problems)
    return _REFERENCE.sub(lambda match: _value(match, environ), text)


def _broken(text: str, name: str) -> Iterator[Problem]:
    for match in _REFERENCE.finditer(text):
        if match["broken"]:
            line = text.count("\n", 0, match.start()) + 1
            column = match.start() - text.rfind("\n", 0, match.start())
            message = f"'{match[0]}...' is no substitution: expected ${{NAME}} or ${{NAME:=default}} on one line"
            yield Problem(name, line, column, message)


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match["dollar"]:
        return "$"
    variable = match["plain"] or match["braced"]
    value = environ.get(variable)
    literal = value or f"${variable}"
    match match["operator"]:
        case ":-" | ":=":
            return value or _fallback(match["fallback"], environ)
        case "-" | "=":
            return _fallback(match["fallback"], environ) if value is None else literal
        case ":+" | "+":
            return "" if value is None else _fallback(match["fallback"], environ)
    return literal


def _fallback(text: str, environ: Mapping[str, str]) -> str:
    whole = re.fullmatch(rf"\$({_NAME})", text)
    return environ.get(whole[1], "") or text if whole else text
