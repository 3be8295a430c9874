"""The compiled `clock.c`."""

import platform
import shutil
import subprocess
from pathlib import Path

from lab.runtime import LabError

_SOURCE = Path(__file__).with_name("clock.c")
_COMPILERS = ("clang-19", "clang", "gcc", "cc")
_FLAGS = ("-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror")


def library() -> Path:
    """Where it is; compiled first when it is missing or older than its source. Raises LabError."""
    target = _SOURCE.with_name(f"clock.{platform.machine()}.so")
    if target.exists() and target.stat().st_mtime_ns >= _SOURCE.stat().st_mtime_ns:
        return target
    compiler = next((name for name in _COMPILERS if shutil.which(name)), None)
    if compiler is None:
        raise LabError(f"{_SOURCE.name}: none of {', '.join(_COMPILERS)} is installed; on Debian: clang-19")
    fresh = target.with_suffix(".new")
    argv = [compiler, *_FLAGS, "-o", str(fresh), str(_SOURCE)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{_SOURCE.name}: {compiler} ended with {done.returncode}: {done.stderr.strip()}")
    fresh.replace(target)
    return target
