"""Compiles the BPF programs next to this file and of the lab, and the native library: `-m edge.datapath.bpf.build`.

The same compiler makes the same bytes in any directory: relative names, no debug paths, DWARF stripped (BTF stays).
Runs without the rest of the package, because the wheel's build hook loads this file alone.
"""

import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
DIRECTORIES = (HERE, HERE.parents[2] / "lab" / "observe" / "flowtap", HERE.parents[2] / "lab" / "bench")
FLAGS = ("-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter")
NATIVE = HERE.parents[1] / "native"
NATIVE_FLAGS = (
    "-O2", "-fPIC", "-shared", "-ffreestanding", "-fno-stack-protector", "-nostdlib", "-Wl,-z,defs", "-Wl,-s",
    "-Wall", "-Wextra", "-Werror",
)  # fmt: skip
# The newest first: at equal source its code is the fastest (docs/bench.md).
CLANGS = ("clang-19", "clang-16", "clang-15", "clang", "clang-14")
COMPILERS = (*CLANGS, "gcc", "cc")
STRIPS = ("llvm-strip-19", "llvm-strip-16", "llvm-strip-15", "llvm-strip", "llvm-strip-14")


class BuildError(Exception):
    """A program could not be compiled; the text says which one and what the compiler said."""


def sources(directory: Path = HERE) -> list[Path]:
    """Every program's source file, by name."""
    return sorted(directory.glob("*.bpf.c"))


def object_of(source: Path) -> Path:
    """Where the object of a source file goes: beside it."""
    return source.with_suffix(".o")


def stale(directory: Path = HERE) -> list[Path]:
    """Sources whose object is missing, or older than any program or header."""
    inputs = [*directory.glob("*.c"), *directory.glob("*.h")]
    newest = max((path.stat().st_mtime_ns for path in inputs), default=0)
    return [s for s in sources(directory) if not object_of(s).exists() or object_of(s).stat().st_mtime_ns < newest]


def build(directory: Path = HERE, *, force: bool = False, clang: str = "") -> list[Path]:
    """Compile what is stale, or everything, and return the objects written. Raises `BuildError`.

    `clang` names the compiler; empty: the first of `CLANGS` that is installed.
    """
    todo = sources(directory) if force else stale(directory)
    if not todo:
        return []
    clang = _tool([clang] if clang else CLANGS)
    strip = _tool([clang.replace("clang", "llvm-strip"), *STRIPS])
    return [_compile(source, clang, strip) for source in todo]


def native_library(directory: Path = NATIVE) -> Path:
    """Where the library for this machine goes. It needs no other library, so any Linux of the architecture takes it."""
    return directory / f"maglev.{platform.machine()}.so"


def native_stale(directory: Path = NATIVE) -> bool:
    """Whether the library is missing, or older than its source."""
    library, source = native_library(directory), directory / "maglev.c"
    return not library.exists() or library.stat().st_mtime_ns < source.stat().st_mtime_ns


def build_native(directory: Path = NATIVE, *, force: bool = False) -> list[Path]:
    """Compile the native library if it is stale, and return what was written. Raises `BuildError`."""
    if not force and not native_stale(directory):
        return []
    source, library = directory / "maglev.c", native_library(directory)
    fresh = library.with_suffix(".new")
    compiler = _tool(COMPILERS, "apt-get install clang-19")
    _run((compiler, *NATIVE_FLAGS, source.name, "-o", fresh.name), source)
    fresh.replace(library)
    return [library]


def _compile(source: Path, clang: str, strip: str) -> Path:
    # The triplet directory has asm/types.h, which `-target bpf` does not look for by itself.
    include = sysconfig.get_config_var("MULTIARCH") or f"{platform.machine()}-linux-gnu"
    target = object_of(source)
    fresh = target.with_suffix(".new")
    flags = (*FLAGS, "-fdebug-compilation-dir=.", f"-I/usr/include/{include}")
    _run((clang, *flags, "-c", source.name, "-o", fresh.name), source)
    _run((strip, "-g", fresh.name), source)
    fresh.replace(target)
    return target


def _run(argv: Sequence[str], source: Path) -> None:
    done = subprocess.run(argv, cwd=source.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{source.name}: {argv[0]} ended with {done.returncode}\n{done.stderr}")


def _tool(names: Sequence[str], remedy: str = "apt-get install clang-19 llvm-19 libbpf-dev") -> str:
    for name in names:
        if shutil.which(name):
            return name
    raise BuildError(f"none of {', '.join(names)} is installed; on Debian: {remedy}")


if __name__ == "__main__":
    for written in (each for directory in DIRECTORIES for each in build(directory, force=True)):
        sys.stdout.write(f"{written}\n")
    for written in build_native(force=True):
        sys.stdout.write(f"{written}\n")
