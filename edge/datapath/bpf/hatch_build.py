"""Hatchling's build hook: a wheel or sdist carries the compiled BPF programs, so that its user needs no compiler.

Objects that are there and no older than their sources (as in an sdist) are taken as they are: then no clang is needed.
"""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILDER = Path("edge", "datapath", "bpf", "build.py")


class BpfBuildHook(BuildHookInterface[Any]):
    """Compiles what is stale before anything is collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build in the source tree; raises `BuildError` where a program is stale and there is no compiler."""
        builder = _load(Path(self.root) / BUILDER)
        for directory in builder.DIRECTORIES:
            for written in builder.build(directory):
                self.app.display_info(f"compiled {written.name}")


def _load(path: Path) -> ModuleType:
    # By path: while a package is being built it cannot be imported.
    found = importlib.util.spec_from_file_location("bpf_build", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
