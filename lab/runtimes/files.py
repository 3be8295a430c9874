"""Finds and reads topology files, and picks what runs them."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.runtime import LabError
from lab.topology import parse
from lab.topology.model import Topology

if TYPE_CHECKING:
    from lab.runtime import Runtime

_DEFAULT = "two-site"
_PATTERNS = ("*.clab.yml", "*.clab.yaml")
RUNTIMES = ("netns", "containerlab")


def find_topology(folder: Path, name: str = "") -> Path:
    """The topology called `name` in `folder` or its `containerlab/`; without a name the one that there is.

    Of several, without a name, `two-site` is taken when it is among them. Raises `LabError` for none, or for many.
    """
    for place in (folder, folder / "containerlab"):
        found = {_name(path): path for pattern in _PATTERNS for path in sorted(place.glob(pattern))}
        if name in found:
            return found[name]
        if not name and len(found) == 1:
            return next(iter(found.values()))
        if not name and _DEFAULT in found:
            return found[_DEFAULT]
        if found and not (name and place == folder):
            told = f"no topology '{name}'" if name else "several topology files"
            raise LabError(f"{told} in {place}: {', '.join(sorted(found))}; pick one with --topology NAME")
    wanted = f"{name}.clab.yml" if name else "*.clab.yml"
    raise LabError(f"no {wanted} in {folder} or {folder / 'containerlab'}; name one with --topology")


def named_topology(text: str, folder: Path) -> Path:
    """The file that `text` names: a path, or the bare name of a topology that `find_topology` finds."""
    path = Path(text)
    is_name = path.name == text and not path.suffix
    return find_topology(folder, text) if is_name and not path.is_file() else path


def _name(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".clab")


def read_topology(path: Path) -> Topology:
    """The topology in `path`, with this process's environment. Raises `ConfigError`, or OSError if unreadable."""
    folder = path.resolve().parent
    read = parse.load(path.read_text(), str(path), folder=str(folder), environ=os.environ)
    return replace(read, file=str(path.resolve()))


def runtime_for(name: str, lab: Topology) -> "Runtime":
    """The runtime called `name`, for a topology read by `read_topology`."""
    if name == "netns":
        from lab.netns.runtime import NetnsRuntime

        return NetnsRuntime(lab)
    if name == "containerlab":
        from lab.clab.runtime import ContainerlabRuntime

        return ContainerlabRuntime(lab)
    raise LabError(f"runtime '{name}' is unknown: expected {' or '.join(RUNTIMES)}")
