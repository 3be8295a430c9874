"""Hatchling's build hook: a wheel or sdist carries the compiled BPF programs, so that its user needs no compiler.

Objects that are there and no older than their sources (as in an sdist) are taken as they are: then no clang is needed.
The native library is for one architecture, and so is a wheel with it. Where it can neither be taken nor compiled the
wheel does without: what it does is then done in Python.
"""

import importlib.util
import sysconfig
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
        self._add_native(builder, build_data)

    def _add_native(self, builder: ModuleType, build_data: dict[str, Any]) -> None:
        try:
            builder.build_native()
        except builder.BuildError as error:
            self.app.display_warning(f"without the native library: {error}")
            return
        library = builder.native_library().relative_to(Path(self.root).resolve())
        build_data["artifacts"].append(f"/{library.as_posix()}")
        if self.target_name == "wheel":
            build_data["pure_python"] = False
            build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")


def _load(path: Path) -> ModuleType:
    # By path: while a package is being built it cannot be imported.
    found = importlib.util.spec_from_file_location("bpf_build", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
