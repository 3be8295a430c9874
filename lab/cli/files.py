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

_PATTERNS = ("*.clab.yml", "*.clab.yaml")
RUNTIMES = ("netns", "containerlab")


def find_topology(folder: Path) -> Path:
    """The one topology file in `folder`, or else in its `containerlab/`. Raises `LabError` for none, or for many."""
    for place in (folder, folder / "containerlab"):
        found = sorted(path for pattern in _PATTERNS for path in place.glob(pattern))
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(path) for path in found)
            raise LabError(f"several topology files: {names}; pick one with --topology")
    raise LabError(f"no *.clab.yml in {folder} or {folder / 'containerlab'}; name one with --topology")


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
