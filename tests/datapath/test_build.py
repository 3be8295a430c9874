"""The objects: the same bytes from any directory, rebuilt only when stale, and an error that names what is missing."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from edge.datapath.bpf import build

pytestmark = pytest.mark.process

NEEDS_CLANG = pytest.mark.skipif(
    not any(map(shutil.which, build.CLANGS)), reason="needs clang to compile BPF programs: apt-get install clang-19"
)


def copy_sources(to: Path) -> Path:
    to.mkdir(parents=True)
    for path in (*build.HERE.glob("*.c"), *build.HERE.glob("*.h")):
        shutil.copy(path, to)
    return to


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.glob("*.bpf.o"))}


@NEEDS_CLANG
def test_two_directories_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = copy_sources(tmp_path / "a"), copy_sources(tmp_path / "another" / "deep" / "one")
    build.build(first)
    build.build(second)
    assert digests(first) == digests(second)
    assert set(digests(first)) == {"decap.bpf.o", "forward.bpf.o", "pass.bpf.o"}
    assert str(tmp_path).encode() not in b"".join(path.read_bytes() for path in first.glob("*.bpf.o"))


@NEEDS_CLANG
def test_only_what_is_stale_is_built(tmp_path: Path) -> None:
    directory = copy_sources(tmp_path / "a")
    assert len(build.build(directory)) == 3
    assert build.build(directory) == []
    later = (directory / "pass.bpf.o").stat().st_mtime_ns + 10**9
    os.utime(directory / "abi.h", ns=(later, later))
    assert len(build.build(directory)) == 3
    for path in directory.glob("*.bpf.o"):
        os.utime(path, ns=(later, later))
    assert build.build(directory) == []
    assert len(build.build(directory, force=True)) == 3


@NEEDS_CLANG
def test_a_compile_error_is_told_and_leaves_the_former_object(tmp_path: Path) -> None:
    directory = copy_sources(tmp_path / "a")
    build.build(directory)
    before = digests(directory)
    source = directory / "pass.bpf.c"
    source.write_text(source.read_text().replace("return XDP_PASS;", "return nothing;"))
    with pytest.raises(
        build.BuildError, match=r"(?s)pass.bpf.c: clang\S* ended with 1.*undeclared identifier 'nothing'"
    ):
        build.build(directory, force=True)
    assert digests(directory) == before


@NEEDS_CLANG
def test_the_native_library_is_the_same_from_two_directories_and_needs_no_other(tmp_path: Path) -> None:
    built = []
    for directory in (tmp_path / "a", tmp_path / "another" / "deep" / "one"):
        directory.mkdir(parents=True)
        shutil.copy(build.NATIVE / "maglev.c", directory)
        assert build.native_stale(directory)
        built += build.build_native(directory)
        assert build.build_native(directory) == []
    assert built[0].read_bytes() == built[1].read_bytes()
    assert str(tmp_path).encode() not in built[0].read_bytes()
    assert b"libc.so" not in built[0].read_bytes()


def test_without_a_compiler_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = copy_sources(tmp_path / "a")
    monkeypatch.setenv("PATH", str(tmp_path))
    words = r"none of clang-19, .* is installed; on Debian: apt-get install clang-19"
    with pytest.raises(build.BuildError, match=words):
        build.build(directory)
