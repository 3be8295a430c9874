"""Finds scenario files and reads them with the topologies that they name."""

from collections.abc import Callable, Sequence
from pathlib import Path

from edge.text.decode import nearest
from edge.text.strictyaml import ConfigError, Problem
from lab.runtime import LabError
from lab.runtimes.files import read_topology
from lab.scenario import parse
from lab.scenario.parse import Case, NoTopologyError
from lab.topology.model import Topology

_FOLDER = Path("containerlab") / "scenarios"


def find(names: Sequence[str], place: Path | None) -> list[Path]:
    """The files of the scenarios called `names` (all for none) in a folder, or the one file `place`. `LabError`."""
    if place is not None and place.is_file():
        return [place]
    folders = [place] if place is not None else [_FOLDER, Path("scenarios")]
    folder = next((each for each in folders if each.is_dir()), None)
    if folder is None:
        raise LabError(f"no folder {' or '.join(map(str, folders))}; name one with --topology DIR, or a file")
    known = {path.stem: path for path in sorted(folder.glob("*.y*ml"))}
    if not known:
        raise LabError(f"no scenario in {folder}: expected files NAME.yml")
    unknown = [name for name in names if name not in known and not Path(name).is_file()]
    if unknown:
        words = "; ".join(f"there is no scenario '{name}' in {folder}{nearest(name, list(known))}" for name in unknown)
        raise LabError(words)
    return [known.get(name, Path(name)) for name in names] if names else [*known.values()]


def read(paths: Sequence[Path]) -> list[Case]:
    """The scenarios in some files, each on all its topologies.

    Raises `ConfigError` with the problems of all of them, or OSError.
    """
    topologies: dict[Path, Topology] = {}
    cases: list[Case] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            cases += parse.load(path.read_text(), str(path), topologies_beside(path, topologies))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return cases


def topologies_beside(path: Path, read: dict[Path, Topology]) -> Callable[[str], Topology]:
    """Finds topologies by name in the folder above that of a scenario, or in its own; `read` keeps those read."""

    def find_one(name: str) -> Topology:
        folders = [path.resolve().parent.parent, path.resolve().parent]
        for folder in folders:
            file = folder / f"{name}.clab.yml"
            if file.is_file():
                if file not in read:
                    read[file] = read_topology(file)
                return read[file]
        known = [each.name.removesuffix(".clab.yml") for folder in folders for each in folder.glob("*.clab.yml")]
        raise NoTopologyError(f"there is no topology '{name}' in {folders[0]}{nearest(name, sorted(known))}")

    return find_one
