"""The compiled tables: slot for slot those of Python, and Python's where the library is absent or another one."""

import platform
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import maglev
from edge.config import file as config
from edge.daemon.daemon import Daemon, Places
from edge.maglev import Member
from edge.native import maglev as native
from tests.edge.test_config import GOOD

POOLS = st.lists(
    st.builds(Member, st.text("abcdef0123456789.", min_size=1, max_size=8), st.integers(0, 5)),
    unique_by=lambda member: member.key, min_size=1, max_size=40,
)  # fmt: skip
PRIMES = st.sampled_from([2, 3, 5, 61, 67, 127, 131, 251, 1021, 4099, 8191])

needs_library = pytest.mark.skipif(
    bool(native.missing), reason=f"needs the native library (`make bpf`): {native.missing}"
)


@needs_library
@given(POOLS, PRIMES)
@settings(deadline=None, max_examples=300)
def test_tables_are_those_of_python(members: list[Member], size: int) -> None:
    assert native.build(members, size) == maglev.build(members, size)


@needs_library
@pytest.mark.parametrize("count", [1, 2, 3, 10, 100, 1000])
def test_large_tables_are_those_of_python(count: int) -> None:
    members = [Member(f"10.0.{number // 250}.{number % 250}") for number in range(count)]
    assert native.build(members, 65537).digest == maglev.build(members, 65537).digest


@needs_library
def test_uneven_weights_are_those_of_python() -> None:
    weights = [0, 1, 2, 3, 5, 8, 13, 100, 1000, 1_000_000]
    members = [Member(f"10.0.1.{number}", weight) for number, weight in enumerate(weights)]
    assert native.build(members, 8191) == maglev.build(members, 8191)


@pytest.mark.parametrize("weights", [(2**32 - 1, 2**32 - 2), (2**32, 1, 2**31), (2**70, 2**69)])
def test_weights_beyond_a_word_are_those_of_python(weights: tuple[int, ...]) -> None:
    members = [Member(str(number), weight) for number, weight in enumerate(weights)]
    assert native.build(members, 251) == maglev.build(members, 251)


def test_nobody_with_a_weight_owns_nothing() -> None:
    members = [Member("a", 0), Member("b", 0)]
    assert native.build(members, 13) == maglev.build(members, 13)
    assert set(native.build(members, 13).slots) == {-1}


def test_a_table_of_one_slot_is_refused_as_in_python() -> None:
    for build in (native.build, maglev.build):
        with pytest.raises(ZeroDivisionError):
            build([Member("a")], 1)


@needs_library
def test_the_library_is_found_by_the_architecture() -> None:
    assert native.LIBRARY.name == f"maglev.{platform.machine()}.so"
    assert native.open_library(native.LIBRARY)(["a"], {0: 1}, 3).tolist() == [0, 0, 0]  # type: ignore[attr-defined]


def test_without_a_library_tables_are_built_in_python_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "LIBRARY", Path("/nowhere/maglev.so"))
    populate, missing = native._find()
    assert populate is None
    assert missing.startswith("/nowhere/maglev.so: cannot open")
    assert missing.endswith("tables are built in Python, some thirty times slower")
    monkeypatch.setattr(native, "_populate", populate)
    members = [Member("a"), Member("b", 3)]
    assert native.build(members, 251) == maglev.build(members, 251)


@needs_library
def test_a_library_of_another_build_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_FUNCTION", "fairhop_maglev_0")
    populate, missing = native._find()
    assert populate is None
    assert "undefined symbol: fairhop_maglev_0" in missing


@pytest.mark.parametrize("missing", ["", "no such file; tables are built in Python"])
def test_the_daemon_says_once_that_tables_are_built_in_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(native, "missing", missing)
    places = Places(tmp_path / "f.yaml", tmp_path / "control.sock", tmp_path / "intent.json")
    daemon = Daemon(config.load(GOOD, "f.yaml"), places)
    assert [event["reason"] for event in daemon.events.last] == ([missing] if missing else [])
