"""The packages: a user of the wheel or the sdist needs neither clang nor a checkout."""

import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge.datapath.bpf import build

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]
OBJECTS = {
    "edge/datapath/bpf/forward.bpf.o",
    "edge/datapath/bpf/decap.bpf.o",
    "edge/datapath/bpf/pass.bpf.o",
    "lab/observe/flowtap/flowtap.bpf.o",
    "lab/bench/driver.bpf.o",
    f"edge/native/{build.native_library().name}",
}

UNITS = {"fairhop-edge.service", "fairhop-backend.service"}


def package(source: Path, to: Path, path: str) -> None:
    """Build wheel and sdist of `source` with `path` as PATH."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(to), str(source)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PATH": path}, cwd=to)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("dist")
    package(ROOT, built, os.environ["PATH"])
    return built


def test_the_wheel_carries_the_programs_and_nothing_of_the_tests(packages: Path) -> None:
    with zipfile.ZipFile(next(packages.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert names >= OBJECTS
    assert {name.rpartition("/")[2] for name in names if "/share/fairhop/systemd/" in name} == UNITS
    assert not {name for name in names if name.startswith(("tests/", "docs/"))}


def test_the_wheel_is_for_this_architecture_and_any_python_3(packages: Path) -> None:
    assert next(packages.glob("*.whl")).name.endswith(f"-py3-none-linux_{platform.machine()}.whl")


def test_without_a_compiler_a_wheel_without_the_library_is_built(packages: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", str(next(packages.glob("*.tar.gz"))), "-C", str(tmp_path)], check=True)
    source = next(tmp_path.glob("fairhop-*"))
    build.native_library(source / "edge" / "native").unlink()
    (tmp_path / "bin").mkdir()
    package(source, tmp_path, str(tmp_path / "bin"))
    built = next(tmp_path.glob("*.whl"))
    assert built.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(built) as wheel:
        assert not [name for name in wheel.namelist() if name.endswith(".so")]


def test_the_sdist_builds_the_same_wheel_without_clang(packages: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", str(next(packages.glob("*.tar.gz"))), "-C", str(tmp_path)], check=True)
    again = tmp_path / "again"
    again.mkdir()
    bare = tmp_path / "bin"
    bare.mkdir()
    package(next(tmp_path.glob("fairhop-*")), again, str(bare))
    assert not any((bare / clang).exists() for clang in build.CLANGS)
    contents = []
    for wheel in (next(packages.glob("*.whl")), next(again.glob("*.whl"))):
        with zipfile.ZipFile(wheel) as opened:
            contents.append({name: opened.read(name) for name in OBJECTS})
    assert contents[0] == contents[1]
