"""Wishes and writes: the newest wish wins, a refusal is told and tried again, and no wish is dropped."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from ipaddress import IPv4Address

import pytest

from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.encode import EncodeError
from edge.decide.plan import PoolView, select
from edge.install import forwarding
from edge.install.forwarding import Forwarding, Wish
from tests.edge.fakes import LOOPBACK, FakeForwarder, hops, until
from tests.edge.test_plan import config

REFUSAL = BpfError(Step.MAP, "write the directory", 12)
MADE_ANEW = (dataclasses.replace(LOOPBACK, ifindex=9),)


def wish(*down: str) -> Wish:
    """Wish for a table without the backends that are `down`."""
    settings = config()
    selections = {"web": select(settings.pools["web"], PoolView(frozenset(down)))}
    return Wish(settings, selections, hops(settings), frozenset({IPv4Address("203.0.113.10")}))


class Bench:
    """A `Forwarding` over a fake forwarder, and what it called back, in order."""

    def __init__(self) -> None:
        self.forwarder = FakeForwarder()
        self.told: list[str] = []
        self.wrong = ""  # what the self-probe finds
        self.forwarding = Forwarding(
            self.forwarder, lambda: self.told.append("applied"), self.told.append, lambda _: self.wrong
        )

    def owners(self) -> list[set[int]]:
        """Who has slots, one entry for each write."""
        return [set(state.pools[0].slots) for state in self.forwarder.states]

    async def carry_out(self, wanted: Wish) -> None:
        self.forwarding.want(wanted)
        await until(lambda: self.forwarding.current)

    async def begin(self, wanted: Wish) -> None:
        """Return while the write of `wanted` is under way; `gate` lets it go on."""
        self.forwarder.entered.clear()
        self.forwarder.gate.clear()
        self.forwarding.want(wanted)
        await until(self.forwarder.entered.is_set)


def run(talk: Callable[[Bench], Awaitable[None]]) -> Bench:
    """Have `talk` with a running `Forwarding`, which must end without an error."""

    async def session() -> Bench:
        bench = Bench()
        running = asyncio.create_task(bench.forwarding.run())
        try:
            await talk(bench)
        finally:
            bench.forwarder.gate.set()
            bench.forwarding.stop()
            await asyncio.wait_for(running, 2)
        return bench

    return asyncio.run(session())


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(forwarding, "_RETRY", 0.01)
    monkeypatch.setattr(forwarding, "_LOOK_AGAIN", 0.01)
    yield


def test_nothing_is_written_before_the_first_wish() -> None:
    async def talk(bench: Bench) -> None:
        await asyncio.sleep(0.05)
        assert bench.forwarding.current
        assert bench.forwarding.behind_since is None

    bench = run(talk)
    assert (bench.forwarder.states, bench.told) == ([], [])
    assert bench.forwarder.tidied > 1


def test_a_wish_is_carried_out_once_and_told() -> None:
    async def talk(bench: Bench) -> None:
        await bench.carry_out(wish())
        bench.forwarding.want(wish())
        await asyncio.sleep(0.05)
        assert bench.forwarding.applied is not None
        assert bench.forwarding.applied.state is bench.forwarder.states[-1]
        assert set(bench.forwarding.applied.tables) == {"web"}

    bench = run(talk)
    assert (bench.owners(), bench.told) == ([{1, 2, 3}], ["applied"])


def test_the_newest_wish_wins_and_those_between_are_folded() -> None:
    async def talk(bench: Bench) -> None:
        await bench.begin(wish())
        for down in ("b1", "b2", "b3"):
            bench.forwarding.want(wish(down))
        assert not bench.forwarding.current
        bench.forwarder.gate.set()
        await until(lambda: bench.forwarding.current)

    bench = run(talk)
    assert bench.owners() == [{1, 2, 3}, {1, 2}]
    assert [state.generation for state in bench.forwarder.states] == [1, 2]


@pytest.mark.parametrize("error", [REFUSAL, EncodeError("too many services")])
def test_a_refusal_is_told_and_the_wish_tried_until_it_succeeds(error: Exception) -> None:
    async def talk(bench: Bench) -> None:
        bench.forwarder.refusals += [error, error]
        await bench.carry_out(wish())

    bench = run(talk)
    assert bench.told == [str(error), str(error), "applied"]
    assert [state.generation for state in bench.forwarder.states] == [1]


def test_a_wish_that_comes_after_a_refusal_takes_the_place_of_the_refused_one() -> None:
    async def talk(bench: Bench) -> None:
        await bench.carry_out(wish())
        bench.forwarder.refusals.append(REFUSAL)
        bench.forwarding.want(wish("b1"))
        await until(lambda: len(bench.told) == 2)
        await bench.carry_out(wish("b2"))

    bench = run(talk)
    assert (bench.owners(), bench.told) == ([{1, 2, 3}, {1, 3}], ["applied", str(REFUSAL), "applied"])


def test_a_report_about_an_interface_ends_when_it_is_well_though_nothing_else_changed() -> None:
    async def talk(bench: Bench) -> None:
        await bench.carry_out(wish())

        def gone() -> None:
            bench.forwarder.on_reattach = lambda: None
            raise REFUSAL

        bench.forwarder.on_reattach = gone
        await until(lambda: len(bench.told) == 3)
        await asyncio.sleep(0.05)

    bench = run(talk)
    assert (bench.told, len(bench.forwarder.states)) == (["applied", str(REFUSAL), "applied"], 1)


def test_an_interface_made_anew_has_the_state_applied_again() -> None:
    async def talk(bench: Bench) -> None:
        await bench.carry_out(wish())
        bench.forwarder.found = MADE_ANEW
        await until(lambda: len(bench.forwarder.states) == 2)
        await asyncio.sleep(0.05)

    bench = run(talk)
    assert bench.owners() == [{1, 2, 3}] * 2
    assert [state.generation for state in bench.forwarder.states] == [1, 2]


def test_an_interface_made_anew_before_the_first_wish_needs_no_write() -> None:
    async def talk(bench: Bench) -> None:
        bench.forwarder.found = MADE_ANEW
        await until(lambda: bench.forwarder.attachments == MADE_ANEW)
        await asyncio.sleep(0.03)

    assert run(talk).forwarder.states == []


def test_a_refused_write_for_an_interface_made_anew_is_tried_until_it_succeeds() -> None:
    async def talk(bench: Bench) -> None:
        await bench.carry_out(wish())
        bench.forwarder.refusals += [REFUSAL, REFUSAL]
        bench.forwarder.found = MADE_ANEW
        await until(lambda: bench.told.count("applied") == 2)
        assert bench.forwarding.behind_since is None

    bench = run(talk)
    assert bench.told == ["applied", str(REFUSAL), str(REFUSAL), "applied"]
    assert len(bench.forwarder.states) == 2


def test_a_first_wish_that_comes_while_interfaces_are_looked_at_is_carried_out() -> None:
    async def talk(bench: Bench) -> None:
        loop = asyncio.get_running_loop()

        def wished_meanwhile() -> None:
            bench.forwarder.on_reattach = lambda: None
            asyncio.run_coroutine_threadsafe(_want(bench), loop).result(2)

        bench.forwarder.on_reattach = wished_meanwhile
        await until(lambda: bench.told == ["applied"])

    assert run(talk).owners() == [{1, 2, 3}]


async def _want(bench: Bench) -> None:
    bench.forwarding.want(wish())


def test_a_stop_waits_for_the_write_under_way_and_begins_no_other() -> None:
    async def session() -> Bench:
        bench = Bench()
        running = asyncio.create_task(bench.forwarding.run())
        await bench.begin(wish())
        bench.forwarding.want(wish("b1"))
        bench.forwarding.stop()
        await asyncio.sleep(0.05)
        assert not running.done()
        bench.forwarder.gate.set()
        await asyncio.wait_for(running, 2)
        return bench

    bench = asyncio.run(session())
    assert (bench.owners(), bench.told) == ([{1, 2, 3}], ["applied"])


def test_a_forwarder_is_behind_since_the_first_wish_that_it_has_not_taken() -> None:
    async def talk(bench: Bench) -> None:
        await bench.begin(wish())
        first = bench.forwarding.behind_since
        assert first is not None
        await asyncio.sleep(0.02)
        bench.forwarding.want(wish("b1"))
        assert bench.forwarding.behind_since == first
        bench.forwarder.gate.set()
        await until(lambda: bench.forwarding.current)
        assert bench.forwarding.behind_since is None

    run(talk)


def test_progress_counts_though_newer_wishes_are_waiting() -> None:
    async def talk(bench: Bench) -> None:
        await bench.begin(wish())
        first = bench.forwarding.behind_since
        bench.forwarding.want(wish("b1"))
        await asyncio.sleep(0.02)
        _hold_the_second_write(bench)
        bench.forwarder.entered.clear()
        bench.forwarder.gate.set()
        await until(lambda: bench.told == ["applied"])
        await until(bench.forwarder.entered.is_set)  # or the second write would be held when all is to end
        assert not bench.forwarding.current
        assert first is not None
        assert bench.forwarding.behind_since is not None
        assert bench.forwarding.behind_since > first + 0.01

    run(talk)


def _hold_the_second_write(bench: Bench) -> None:
    bench.forwarder.on_reattach = bench.forwarder.gate.clear


def test_a_refusal_does_not_begin_the_staleness_anew() -> None:
    async def talk(bench: Bench) -> None:
        bench.forwarder.refusals += [REFUSAL] * 1000
        bench.forwarding.want(wish())
        first = bench.forwarding.behind_since
        await until(lambda: len(bench.told) > 2)
        assert bench.forwarding.behind_since == first
        bench.forwarder.refusals.clear()
        await until(lambda: bench.forwarding.current)

    run(talk)


def test_tables_through_which_packets_do_not_come_are_a_failure_until_they_do() -> None:
    async def talk(bench: Bench) -> None:
        bench.wrong = "it leaves with other headers than it must"
        bench.forwarding.want(wish())
        await until(lambda: len(bench.told) >= 2)
        assert bench.told[0] == f"packets do not come through the tables as they must: {bench.wrong}"
        assert (bench.forwarding.applied, bench.forwarding.current) == (None, False)
        bench.wrong = ""
        await until(lambda: bench.told[-1] == "applied")
        assert bench.forwarding.current

    run(talk)
