"""Scenario files: text to a `Case`, or all of a file's errors at once, each at its place. No I/O.

First shapes (pydantic, worded by `edge.text.decode`), then names: everything that a scenario names must exist in its
topology (`lab.scenario.names`). Names are looked at only in a file whose shape is right.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from edge.text import strictyaml
from edge.text.decode import Model, decode_at, nearest
from edge.text.strictyaml import ConfigError, Document, Path, Problem
from lab import planning
from lab.addressing import LabPlan
from lab.faults.model import KINDS
from lab.scenario import names
from lab.scenario.model import STREAMS, Scenario, Step, StreamModel
from lab.scenario.moves import MOVES, Heal, Inject, Move, Nothing
from lab.topology.model import Topology

M = TypeVar("M", bound=Model)

SUFFIXES = (".yml", ".yaml")
_SHORT = {"nothing": Nothing}


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario with the lab it runs on. `file`: where it was read from.

    `judged`: the lab is the scenario's own, so that its bounds are judged; else they are only compared.
    """

    scenario: Scenario
    topology: Topology
    plan: LabPlan
    file: str = ""
    judged: bool = True

    @property
    def name(self) -> str:
        """What it is called: the scenario, and the lab where it is not the scenario's own."""
        return self.scenario.name if self.judged else f"{self.scenario.name} on {self.topology.name}"


class NoTopologyError(LookupError):
    """There is no topology of that name; the text says which there are."""


def load(text: str, file: str, topology_of: Callable[[str], Topology]) -> tuple[Case, ...]:
    """Parse one scenario file: a case for its topology, and one for each that it is compared with.

    `topology_of`: a topology by its name, or `NoTopologyError`. Raises `ConfigError`.
    """
    document = strictyaml.load(text, file)
    scenario = decode(document)
    stem = file.rpartition("/")[2].rpartition(".")[0]
    problems = []
    if stem != scenario.name:
        problems.append(document.problem(("name",), f"name is '{scenario.name}': expected the file's, '{stem}'"))
    cases: dict[str, Case] = {}
    places: list[Path] = [("topology",), *(("against", number) for number in range(len(scenario.against)))]
    for name, place in zip((scenario.topology, *scenario.against), places, strict=True):
        if name in cases:
            problems.append(document.problem(place, f"'{name}' is named before: expected each topology once"))
            continue
        try:
            topology = topology_of(name)
            cases[name] = Case(scenario, topology, planning.plan(topology), file, judged=name == scenario.topology)
        except NoTopologyError as error:
            problems.append(document.problem(place, str(error)))
        except planning.PlanError as error:
            message = f"topology '{name}' cannot be addressed: {error.problems[0]}"
            problems.append(document.problem(place, message))
    seen: set[Path] = set()  # a place is told of once: mostly what one topology lacks, the others lack, too
    for name, case in cases.items():
        where = "" if case.judged else f"on {name}: "
        found = [*names.problems(scenario, case.topology, case.plan)]
        problems += [
            document.problem(_in_file(document, path), where + text) for path, text in found if path not in seen
        ]
        seen |= {path for path, _ in found}
    if problems:
        raise ConfigError(problems)
    return tuple(cases.values())


def decode(document: Document) -> Scenario:
    """The scenario of a document, its names not yet looked at. Raises `ConfigError`."""
    return _Decoder(document).scenario()


def _in_file(document: Document, path: Path) -> Path:
    """A lone action stands at `do` itself, one of several in a list: here it is the first of one."""
    if path[2:3] == ("do",) and (*path[:4],) not in document.marks:
        return (*path[:3], *path[4:])
    return path


class _Decoder:
    """Decodes from the inside out: an error in one part hides none in another."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._problems: list[Problem] = []

    def scenario(self) -> Scenario:
        value = self._document.value
        if isinstance(value, dict):
            value = dict(value)
            if isinstance(traffic := value.get("traffic"), dict):
                value["traffic"] = {name: self._stream(("traffic", name), given) for name, given in traffic.items()}
            if isinstance(steps := value.get("steps"), list):
                value["steps"] = [self._step(("steps", number), given) for number, given in enumerate(steps)]
        found = self._decoded((), value, Scenario)
        if self._problems or found is None:
            raise ConfigError(self._problems)
        return found

    def _stream(self, path: Path, given: Any) -> StreamModel:
        given = dict(given) if isinstance(given, dict) else {}
        kind = given.pop("kind", None)
        if kind not in STREAMS:
            where = (*path, "kind") if kind is not None else path
            self._say(where, f"{_words(path)}.kind is {kind!r}: {_expected('a kind of traffic', kind, STREAMS)}")
            return StreamModel.model_validate({"to": ""})
        return self._decoded(path, given, STREAMS[kind]) or StreamModel.model_validate({"to": ""})

    def _step(self, path: Path, given: Any) -> Step:
        placeholder = Step(name="", do=(Nothing(),))
        if not isinstance(given, dict):
            self._say(path, f"{_words(path)} is {given!r}: expected a mapping of keys to values")
            return placeholder
        value = dict(given)
        if "do" in value:
            value["do"] = self._moves((*path, "do"), value["do"])
        return self._decoded(path, value, Step) or placeholder

    def _moves(self, path: Path, given: Any) -> tuple[Move, ...]:
        if isinstance(given, list) and given:
            return tuple(self._move((*path, number), each) for number, each in enumerate(given))
        return (self._move(path, given),)

    def _move(self, path: Path, given: Any) -> Move:
        if isinstance(given, str) and given in _SHORT:
            return _SHORT[given]()
        if not isinstance(given, dict) or len(given) != 1:
            shown = given if isinstance(given, str) else sorted(given) if isinstance(given, dict) else given
            message = f"{_words(path)} is {shown!r}: {_expected('one action', given, MOVES)}"
            self._say(path, message)
            return Nothing()
        (kind, settings), *_ = given.items()
        if kind not in MOVES:
            where = (*path, kind)
            self._say(where, f"unknown action '{kind}'{nearest(str(kind), list(MOVES))}", at_key=True)
            return Nothing()
        return self._of_kind((*path, kind), MOVES[kind], settings)

    def _of_kind(self, path: Path, kind: type[Move], settings: Any) -> Move:
        if kind is Heal and isinstance(settings, str):
            return Heal(name=settings)
        if kind is Inject and isinstance(settings, dict):
            return self._fault(path, settings)
        return self._decoded(path, settings if settings is not None else {}, kind) or Nothing()

    def _fault(self, path: Path, settings: Mapping[str, Any]) -> Move:
        """`{KIND: {...}, name: N, for: S}`: the one key that is neither is the kind."""
        kinds = [key for key in settings if key not in ("name", "for")]
        if len(kinds) != 1:
            self._say(path, f"{_words(path)} has the keys {sorted(settings)}: expected one kind of fault, name and for")
            return Nothing()
        kind = kinds[0]
        if kind not in KINDS:
            self._say((*path, kind), f"unknown fault '{kind}'{nearest(kind, list(KINDS))}", at_key=True)
            return Nothing()
        given = settings[kind] if settings[kind] is not None else {}
        fault = self._decoded((*path, kind), given, KINDS[kind])
        value = {"fault": kind, "settings": given if isinstance(given, dict) else {}}
        value |= {key: settings[key] for key in ("name", "for") if key in settings}
        inject = self._decoded(path, value, Inject)
        return inject if fault is not None and inject is not None else Nothing()

    def _decoded(self, path: Path, value: Any, model: type[M]) -> M | None:
        try:
            return decode_at(self._document, path, value, model)
        except ConfigError as error:
            self._problems += error.problems
            return None

    def _say(self, path: Path, message: str, *, at_key: bool = False) -> None:
        self._problems.append(self._document.problem(path, message, at_key=at_key))


def _expected(what: str, given: Any, valid: Mapping[str, Any]) -> str:
    hint = nearest(given, list(valid)) if isinstance(given, str) else f"; valid: {', '.join(sorted(valid))}"
    return f"expected {what}{hint}"


def _words(path: Path) -> str:
    return ".".join(str(part) for part in path)
