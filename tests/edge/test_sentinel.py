"""The thread that notices a program taken off its interfaces."""

import asyncio
import time

import pytest

from edge.daemon.selfprobe import SelfProbe
from edge.daemon.sentinel import INTERVAL, Proof, Sentinel
from edge.datapath.blocklist import BlockList, parse
from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.model import ForwarderState
from tests.datapath.world import STATE
from tests.edge.fakes import FakeForwarder, until


class Told(SelfProbe):
    """Says what it is told to say."""

    def __init__(self) -> None:
        super().__init__(FakeForwarder())
        self.beating = self.looking = ""
        self.error: BpfError | None = None
        self.prepared: list[tuple[ForwarderState, BlockList | None]] = []
        self.looks = 0

    def prepare(self, state: ForwarderState, blocked: BlockList | None = None) -> None:
        if self.error:
            raise self.error
        self.prepared.append((state, blocked))

    def look(self) -> str:
        self.looks += 1
        return self.looking

    def beat(self) -> str:
        return self.beating


def test_a_loss_is_told_once_in_the_loop_and_so_is_its_end_and_only_health_beats() -> None:
    probe, told, beats = Told(), list[str](), list[float]()

    async def watch() -> None:
        sentinel = Sentinel(Proof(probe, lambda: None), told.append, lambda: beats.append(time.monotonic()))
        await until(lambda: len(beats) > 3)
        probe.beating, began = "not attached to eth1 any more", time.monotonic()
        await until(lambda: bool(told))
        assert told == ["not attached to eth1 any more"]
        assert time.monotonic() - began < 20 * INTERVAL
        count = len(beats)
        await asyncio.sleep(5 * INTERVAL)
        assert (len(beats), len(told)) == (count, 1)
        probe.beating = ""
        await until(lambda: len(told) == 2)
        assert told[1] == ""
        await until(lambda: len(beats) > count)
        sentinel.stop()

    asyncio.run(watch())


def test_a_packet_that_comes_out_wrong_twice_is_a_fault_until_it_comes_out_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edge.daemon.sentinel.LOOKS_EVERY", 1)
    probe, told = Told(), list[str]()

    async def watch() -> None:
        sentinel = Sentinel(Proof(probe, lambda: None), told.append, lambda: None)
        probe.looking = "it leaves with other headers"
        await until(lambda: bool(told))
        assert (told, probe.looks >= 2) == (["it leaves with other headers"], True)
        probe.looking = ""
        await until(lambda: len(told) == 2)
        sentinel.stop()

    asyncio.run(watch())


def test_one_doubtful_look_is_none() -> None:
    probe = Told()
    proof = Proof(probe, lambda: None)
    probe.looking = "swapped under way"
    assert proof.look() == ""
    probe.looking = ""
    assert proof.look() == ""
    probe.looking = "wrong"
    assert [proof.look(), proof.look()] == ["", "wrong"]


def test_what_is_expected_follows_the_block_list() -> None:
    lists: list[BlockList | None] = [None]
    probe = Told()
    proof = Proof(probe, lambda: lists[-1])
    assert proof.verify(STATE) == ""
    proof.look()
    assert probe.prepared == [(STATE, None)]
    lists.append(parse(["198.51.100.0/24"], "b.txt"))
    proof.look()
    assert probe.prepared == [(STATE, None), (STATE, lists[-1])]


def test_a_program_that_cannot_be_asked_is_a_fault() -> None:
    probe = Told()
    probe.error = BpfError(Step.RUN, "run the XDP program", 1)
    assert "run the XDP program" in Proof(probe, lambda: None).verify(STATE)
