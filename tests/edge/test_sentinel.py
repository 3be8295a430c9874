"""The thread that notices a program taken off its interfaces."""

import asyncio
import time

from edge.datapath.bpf_error import BpfError, Step
from edge.sentinel import INTERVAL, Sentinel
from tests.edge.fakes import until


class Watched:
    """Interfaces that come and go; an error where one is given."""

    def __init__(self) -> None:
        self.gone: tuple[str, ...] = ()
        self.error: BpfError | None = None

    def lost(self) -> tuple[str, ...]:
        if self.error:
            raise self.error
        return self.gone


def test_a_loss_is_told_once_in_the_loop_and_so_is_its_end_and_only_health_beats() -> None:
    watched, told, beats = Watched(), list[str](), list[float]()

    async def watch() -> None:
        sentinel = Sentinel(watched, told.append, lambda: beats.append(time.monotonic()))
        await until(lambda: len(beats) > 3)
        watched.gone = ("eth1", "eth2")
        began = time.monotonic()
        await until(lambda: bool(told))
        assert told == ["the program was taken off eth1, eth2"]
        assert time.monotonic() - began < 20 * INTERVAL
        count = len(beats)
        await asyncio.sleep(5 * INTERVAL)
        assert (len(beats), len(told)) == (count, 1)
        watched.error = BpfError(Step.ATTACH, "read what a link holds", 9)
        await until(lambda: len(told) == 2)
        assert "read what a link holds" in told[1]
        watched.gone, watched.error = (), None
        await until(lambda: len(told) == 3)
        assert told[2] == ""
        await until(lambda: len(beats) > count)
        sentinel.stop()

    asyncio.run(watch())
