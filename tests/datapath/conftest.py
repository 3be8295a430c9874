"""Fixtures for tests that load programs into the kernel."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.datapath import xdp
from edge.datapath.bpf_object import BpfObject
from tests.datapath import kernel, world
from tests.datapath.fuzzing import decapsulator_in, forwarder_in
from tests.datapath.rig import Rig, need_programs


@dataclass
class Pair:
    """Two namespaces: `edge` with e0, `router` with r0, which carries an XDP_PASS program as native XDP_TX needs."""

    edge: kernel.Namespace
    router: kernel.Namespace


@pytest.fixture(scope="session")
def tiny_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kernel.compile_c(kernel.TINY_C, tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def pins() -> Iterator[Path]:
    _need_root()
    with kernel.bpffs() as mounted:
        yield mounted


@pytest.fixture
def pair(tiny_object: Path) -> Iterator[Pair]:
    _need_root()
    made: list[kernel.Namespace] = []
    try:
        for _ in range(2):
            made.append(kernel.Namespace())
        found = Pair(*made)
        kernel.veth(found.edge, "e0", found.router, "r0")
        with BpfObject(tiny_object) as opened:
            opened.load("pass_all")
            with opened.program("pass_all") as program, found.router.inside():
                xdp.attach(program, "r0")
        yield found
    finally:
        for namespace in made:
            namespace.delete()


def _need_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN) for network namespaces and BPF")


@pytest.fixture(scope="session")
def programs() -> None:
    """The compiled programs, and the right to load them."""
    need_programs()


@pytest.fixture(scope="session")
def forwarders(programs: None) -> Iterator[dict[str, Rig]]:
    rigs = {name: forwarder_in(name) for name in world.STATES}
    yield rigs
    for rig in rigs.values():
        rig.close()


@pytest.fixture(scope="session")
def decapsulators(programs: None) -> Iterator[dict[str, Rig]]:
    rigs = {name: decapsulator_in(name) for name in world.DECAP_STATES}
    yield rigs
    for rig in rigs.values():
        rig.close()


@pytest.fixture
def forwarder(forwarders: dict[str, Rig]) -> Rig:
    return forwarders["plain"]


@pytest.fixture
def decapsulator(decapsulators: dict[str, Rig]) -> Rig:
    return decapsulators["plain"]
