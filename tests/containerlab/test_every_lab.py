"""Every lab that ships, on real containerlab: deploys unchanged, converges, answers, drains an edge, leaves nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.runtime import LabError
from tests.containerlab import tier
from tests.containerlab.conftest import MakeRuntime
from tests.lab import labs
from tests.lab.asking import Lab, converged, missing_devices

pytestmark = [pytest.mark.containerlab, pytest.mark.timeout(900)]

# The largest is three containers for each core here and more: on a busy machine the last of its edges comes late.
CONVERGES_WITHIN = 60.0
DRAINED = "a-e1"


@contextmanager
def deployed(make_runtime: MakeRuntime, name: str) -> Iterator[Lab]:
    """The lab as shipped and under its own name, for containerlab reads the file itself; nothing of it stays.

    How long everything took is printed: `pytest -rP` shows it.
    """
    runtime = make_runtime(labs.FOLDER / f"{name}.clab.yml")
    began = time.monotonic()
    try:
        runtime.deploy(lambda _: None)
        print(f"{name}: ready after {time.monotonic() - began:.1f} s")
        with converged(runtime, labs.topology(name), CONVERGES_WITHIN) as lab:
            print(f"{name}: converged after {time.monotonic() - began:.1f} s")
            yield lab
        print(f"{name}: drained after {time.monotonic() - began:.1f} s")
    finally:
        ended = time.monotonic()
        runtime.destroy(lambda _: None)
        print(f"{name}: down in {time.monotonic() - ended:.1f} s")
    assert tier.traces(name) == set()


@pytest.mark.parametrize("name", [name for name in labs.NAMES if name != "stock"])
def test_a_lab_converges_answers_and_follows_a_drain(make_runtime: MakeRuntime, name: str) -> None:
    with deployed(make_runtime, name) as lab:
        lab.await_backends()
        first, *others = lab.clients
        lab.every_vip_answers(first)
        for client in others:
            for vip in ("203.0.113.10", "2001:db8:1::10"):
                lab.answers_of_all(lab.ask("http", vip, 80, 12, client=client), 12)
        lab.drain(DRAINED)
        lab.every_vip_answers(first)


def test_stock_receivers_take_tunnels_or_the_kernel_is_said_to_have_none(make_runtime: MakeRuntime) -> None:
    """A node that ends at once takes the deployment with it, and its last words are the reason that is given."""
    if missing_devices():
        with (
            pytest.raises(LabError, match=r"cannot make device \S+ of type (sit|gre), .* Unknown device type"),
            deployed(make_runtime, "stock"),
        ):
            pass
    else:
        with deployed(make_runtime, "stock") as lab:
            lab.await_backends()
            lab.every_vip_answers("client-a")
            lab.drain(DRAINED)
            lab.every_vip_answers("client-a")
    assert tier.traces("stock") == set()
