"""The block list that is wanted reaches the kernel, in the end, and the newest wish counts."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from edge.datapath.blocklist import BlockList, parse
from edge.datapath.bpf_error import BpfError, Step
from edge.install import blocking
from edge.install.blocking import Blocking
from tests.edge.fakes import until

ONE, TWO, THREE = (parse([f"192.0.2.{number}"], "b") for number in (1, 2, 3))


class Kernel:
    """What was installed, in order; `refusals` are raised first, and an install waits for `gate`."""

    def __init__(self) -> None:
        self.lists: list[BlockList | None] = []
        self.refusals: list[Exception] = []
        self.told: list[str] = []
        self.entered, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def install(self, wanted: BlockList | None) -> bool:
        self.entered.set()
        assert self.gate.wait(5)
        if self.refusals:
            raise self.refusals.pop(0)
        self.lists.append(wanted)
        return True


def run(talk: Callable[[Kernel, Blocking], Awaitable[None]]) -> Kernel:
    async def session() -> Kernel:
        kernel = Kernel()
        keeper = Blocking(kernel.install, kernel.told.append)
        task = asyncio.create_task(keeper.run())
        await talk(kernel, keeper)
        assert not task.done()
        task.cancel()
        return kernel

    return asyncio.run(session())


def test_a_wish_is_carried_out_and_nothing_before_the_first() -> None:
    async def talk(kernel: Kernel, keeper: Blocking) -> None:
        await asyncio.sleep(0.01)
        assert (kernel.lists, keeper.installed) == ([], None)
        for count, wanted in enumerate((ONE, None, TWO), start=1):
            keeper.want(wanted)
            while len(kernel.lists) < count:
                await asyncio.sleep(0.001)
        await until(lambda: keeper.installed is TWO)
        assert kernel.lists == [ONE, None, TWO]

    assert run(talk).told == []


def test_wishes_that_come_meanwhile_are_folded_into_the_newest() -> None:
    async def talk(kernel: Kernel, keeper: Blocking) -> None:
        kernel.gate.clear()
        keeper.want(ONE)
        await until(kernel.entered.is_set)
        keeper.want(TWO)
        keeper.want(THREE)
        assert keeper.installed is None
        kernel.gate.set()
        await until(lambda: keeper.installed is THREE)
        assert kernel.lists == [ONE, THREE]

    run(talk)


def test_a_refusal_is_told_once_and_tried_again_until_it_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "_RETRY", 0.01)

    async def talk(kernel: Kernel, keeper: Blocking) -> None:
        kernel.refusals += [BpfError(Step.MAP, "blocked4", 12) for _ in range(3)]
        keeper.want(ONE)
        await until(lambda: keeper.installed is ONE)

    told = run(talk).told
    assert len(told) == 2
    assert "blocked4" in told[0]
    assert told[1] == ""
