"""The programs from several clangs: all compile, the verifier takes them, two builds are one, and they do the same."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.datapath import abi
from edge.datapath.bpf import build
from edge.datapath.bpf_object import BpfObject
from lab.bench import cases
from lab.bench.harness import Driver
from tests.datapath import rig as rig_module
from tests.datapath import rows, test_decap_rows, test_forward_rows
from tests.datapath import world as w
from tests.datapath.fuzzing import decapsulator_in, forwarder_in

CLANGS = ("clang-14", "clang-16", "clang-19")
NAMES = [directory.name for directory in build.DIRECTORIES]


def compiled(clang: str, to: Path) -> dict[str, Path]:
    """Every program of the tree compiled by `clang` below `to`: object name -> file."""
    objects: dict[str, Path] = {}
    for directory in build.DIRECTORIES:
        copy = to / directory.name
        copy.mkdir(parents=True)
        for path in (*directory.glob("*.c"), *directory.glob("*.h")):
            shutil.copy(path, copy)
        objects |= {path.name: path for path in build.build(copy, clang=clang)}
    return objects


@pytest.fixture(scope="module", params=CLANGS)
def clang(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if not shutil.which(name):
        pytest.skip(f"needs {name}: requirements/install-apt test")
    return name


@pytest.fixture(scope="module")
def objects(clang: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return compiled(clang, tmp_path_factory.mktemp(clang))


@pytest.fixture
def shipped(programs: None, objects: dict[str, Path]) -> Iterator[None]:
    """`Rig` loads this compiler's objects instead of the tree's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rig_module, "OBJECTS", objects[abi.FORWARD_OBJECT].parent)
        yield


@pytest.mark.process
def test_every_program_compiles_to_the_same_bytes_in_two_directories(
    clang: str, objects: dict[str, Path], tmp_path: Path
) -> None:
    again = compiled(clang, tmp_path / "another" / "deep" / "one")
    assert sorted(objects) == sorted(
        source.with_suffix(".o").name for d in build.DIRECTORIES for source in build.sources(d)
    )
    assert digests(objects) == digests(again)


def test_a_compiler_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="none of clang-99 is installed"):
        compiled("clang-99", tmp_path)


@pytest.mark.kernel
@pytest.mark.usefixtures("programs")
def test_the_verifier_takes_every_program(objects: dict[str, Path]) -> None:
    for name, path in objects.items():
        with BpfObject(path) as opened:
            opened.load(name.removesuffix(".bpf.o") if name != "driver.bpf.o" else "drive")


@pytest.mark.kernel
@pytest.mark.usefixtures("programs")
def test_the_benchs_driver_works_for_every_case(objects: dict[str, Path]) -> None:
    for case in cases.CASES:
        with Driver(case, cases.MANY, path=objects["driver.bpf.o"]) as driver:
            for program in driver.own.values():
                driver.run(program, 10)
                assert driver.frame


@pytest.mark.kernel
@pytest.mark.usefixtures("shipped")
def test_every_row_of_the_forwarder_holds() -> None:
    rigs = {name: forwarder_in(name) for name in w.STATES}
    for row in rows.FORWARD:
        test_forward_rows.test_forward_row(rigs, row)
    for rig in rigs.values():
        rig.close()


@pytest.mark.kernel
@pytest.mark.usefixtures("shipped")
def test_every_row_of_the_decapsulator_holds() -> None:
    rigs = {name: decapsulator_in(name) for name in w.DECAP_STATES}
    for row in rows.DECAP:
        test_decap_rows.test_decap_row(rigs, row)
    for rig in rigs.values():
        rig.close()


def digests(objects: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in objects.items()}
