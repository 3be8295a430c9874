"""What a node's fairhop.yaml says about its backends and checks, and the same file with other values (core: no I/O)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from edge.text import strictyaml
from edge.text.decode import nearest


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a pool's backends; `answer` is what would satisfy it: a status and a body, or a datagram."""

    pool: str
    type: str
    port: int
    status: int = 200
    answer: bytes = b""


def edited(text: str, values: Mapping[str, Any]) -> str:
    """The file with values set by their dotted places; null removes a key.

    An entry of a list is named by its number or by its `name`. A key that is not there yet is added to its mapping.
    Raises ValueError with every place that does not exist, and ConfigError for a file that is no YAML.
    """
    root = strictyaml.load(text, "fairhop.yaml").value
    errors = []
    for place, value in values.items():
        try:
            _set(root, place, value)
        except ValueError as error:
            errors.append(str(error))
    if errors:
        raise ValueError("; ".join(errors))
    return yaml.safe_dump(root, sort_keys=False, allow_unicode=True)


def backends(text: str) -> list[str]:
    """The addresses of all backends, each once. Raises ConfigError."""
    document = strictyaml.load(text, "fairhop.yaml")
    return list(dict.fromkeys(str(each) for _, each in document.select("pools", "*", "backends", "*", "address")))


def checks(text: str) -> list[Check]:
    """The checks of all pools. Raises ConfigError, and ValueError for one that no simple answer satisfies."""
    document = strictyaml.load(text, "fairhop.yaml")
    return [
        _check(str(path[1]), each)
        for path, value in document.select("pools", "*", "check")
        for each in (value if isinstance(value, list) else [value])
    ]


def _check(pool: str, given: Mapping[str, Any]) -> Check:
    kind = given["type"]
    if kind == "tcp":
        return Check(pool, kind, given["port"])
    if kind == "http" and "body_regex" not in given:
        first = given["status"][0] if isinstance(given.get("status"), list) else given.get("status", 200)
        return Check(pool, kind, given["port"], int(str(first).split("-")[0]), str(given.get("body", "")).encode())
    if kind == "udp":
        expected = (
            bytes.fromhex(given["expect_hex"]) if "expect_hex" in given else str(given.get("expect", "")).encode()
        )
        return Check(pool, kind, given["port"], answer=expected or b"yes")
    raise ValueError(f"pool {pool} has a check of type {kind} that cannot be answered in a backend's place")


def _set(root: Any, place: str, value: Any) -> None:
    *way, last = place.split(".")
    at = root
    for part in way:
        at = at[_key(at, part, place)]
    if isinstance(at, dict) and value is not None:
        at[last] = value
        return
    key = _key(at, last, place)
    if value is None:
        del at[key]
    else:
        at[key] = value


def _key(at: Any, part: str, place: str) -> Any:
    """The key of a mapping or the index of a list that `part` names. Raises ValueError."""
    names = list(_names(at))
    for key, spelled in names:
        if part in spelled:
            return key
    there = [spelled[0] for _, spelled in names]
    raise ValueError(f"{place}: there is no '{part}'{nearest(part, there)}")


def _names(at: Any) -> Iterator[tuple[Any, tuple[str, ...]]]:
    if isinstance(at, dict):
        yield from ((key, (key,)) for key in at)
    elif isinstance(at, list):
        for index, each in enumerate(at):
            name = each.get("name") if isinstance(each, dict) else None
            yield index, (str(name), str(index)) if name is not None else (str(index),)
