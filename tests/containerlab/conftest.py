"""Fixtures of the containerlab tier: Docker, the pinned containerlab and the images, built once and kept."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.clab.runtime import ContainerlabRuntime
from lab.topology.parse import load
from tests.containerlab import tier

MakeRuntime = Callable[[Path], ContainerlabRuntime]


@pytest.fixture(scope="session")
def docker() -> Iterator[None]:
    with tier.docker_daemon():
        yield


@pytest.fixture(scope="session")
def containerlab(docker: None) -> Iterator[None]:
    """containerlab as lab.clab.runtime finds it: a binary that this kernel lets run."""
    tier.need("go", "https://go.dev/dl, 1.21 or later")
    binary = tier.run(tier.ROOT / "containerlab" / "tools" / "build", timeout=900).strip()
    if not Path("/proc/modules").exists():
        tier.need("strace", "Debian: strace; this kernel has no /proc/modules, which containerlab reads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAIRHOP_REAL_CONTAINERLAB", binary)
        patch.setenv("FAIRHOP_CONTAINERLAB", str(tier.HERE / "run-without-modules.sh"))
        yield


@pytest.fixture(scope="session")
def images(docker: None) -> None:
    """The lab's images; Docker's layer cache goes by content, so only what changed is built."""
    tier.run(tier.ROOT / "containerlab" / "images" / "build", timeout=900)


@pytest.fixture(scope="session")
def make_runtime(containerlab: None, images: None) -> MakeRuntime:
    def make(file: Path) -> ContainerlabRuntime:
        return ContainerlabRuntime(load(file.read_text(), file.name, folder=str(file.parent), environ=os.environ))

    return make
