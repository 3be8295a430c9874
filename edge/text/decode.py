"""From a YAML document to a frozen model, with every error of the file at its place.

pydantic judges shapes and bounds; this module words its findings for people: place, value, what was expected, and the
nearest valid key.
"""

import difflib
import typing
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.text.strictyaml import ConfigError, Document, Path, Problem


class Model(BaseModel):
    """Base of every config model: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=Model)


def decode(document: Document, model: type[M]) -> M:
    """The document's value as `model`. Raises `ConfigError` with all findings."""
    return decode_at(document, (), document.value, model)


def decode_at(document: Document, path: Path, value: Any, model: type[M]) -> M:
    """A `value` that stands at `path` as `model`; parts of it may be models made before. Raises `ConfigError`."""
    if not isinstance(value, dict):
        where = f"{_words(path)} is {value!r}: " if path else ""
        raise ConfigError([document.problem(path, f"{where}expected a mapping of keys to values")])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [finding for finding in error.errors() if not _is_echo(finding)]
        raise ConfigError(_problem(document, path, model, finding) for finding in found) from None


def nearest(word: str, valid: Sequence[str]) -> str:
    """A hint that names the valid words nearest to `word`, to end an error message; empty when none is near."""
    close = difflib.get_close_matches(word, valid, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; valid: {', '.join(sorted(valid))}" if valid else ""


def _is_echo(finding: Any) -> bool:
    """Whether a list is called too short only because its entries are wrong, which is reported already."""
    return bool(finding["type"] == "too_short" and finding["input"])


def _words(path: Path) -> str:
    return ".".join(str(part) for part in path) or "the file"


def _problem(document: Document, base: Path, model: type[Model], finding: Any) -> Problem:
    path, missing = _in_document(document, (*base, *finding["loc"]))
    where = _words(path)
    match finding["type"]:
        case "extra_forbidden":
            hint = nearest(str(path[-1]), _keys_of(model, finding["loc"][:-1]))
            return document.problem(path, f"unknown key '{path[-1]}'{hint}", at_key=True)
        case "missing":
            return document.problem(path, f"{where} lacks the key '{missing}'")
        case "too_short":
            return document.problem(path, f"{where} is empty: expected at least one entry", at_key=True)
        case "union_tag_invalid":
            context = finding["ctx"]
            expected = f"expected one of {context['expected_tags']}"
            return document.problem((*path, "type"), f"{where}.type is '{context['tag']}': {expected}")
    message = str(finding["msg"]).removeprefix("Value error, ").replace("Input should be", "expected")
    return document.problem(path, f"{where} is {finding['input']!r}: {message[0].lower()}{message[1:]}")


def _in_document(document: Document, location: Sequence[int | str]) -> tuple[Path, str]:
    """The part of pydantic's location that stands in the file (it adds names of union members), and the missing key."""
    path: Path = ()
    for part in location:
        if (*path, part) in document.marks:
            path = (*path, part)
    return path, str(location[-1]) if location else ""


def _keys_of(model: type[Model], location: Sequence[int | str]) -> list[str]:
    """The keys that a mapping at `location` may have."""
    candidates: list[type[Model]] = [model]
    for part in location:
        inner = [
            found
            for candidate in candidates
            if part in candidate.model_fields
            for found in _models_in(candidate.model_fields[str(part)].annotation)
        ]
        tagged = [c for c in candidates if part in _tags(c)]
        candidates = inner or tagged or candidates
    return sorted({field.alias or key for candidate in candidates for key, field in candidate.model_fields.items()})


def _models_in(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)


def _tags(model: type[Model]) -> tuple[Any, ...]:
    """The values of a model's `type` key, by which a union tells its members apart."""
    field = model.model_fields.get("type")
    return typing.get_args(field.annotation) if field else ()
