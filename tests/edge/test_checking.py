"""Checks follow the configuration, keep their rhythm, and none waits for another."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address

import pytest

from edge import checking
from edge.checking import Checking
from edge.config import Check, Config, load
from edge.health import Result
from tests.edge.fakes import until
from tests.edge.test_config import GOOD

INTERVAL = 0.02
QUICK = GOOD.replace("port: 80}", f"port: 80, interval: {INTERVAL}, timeout: {INTERVAL}}}", 1)


def config(*backends: str) -> Config:
    """Backends by name; b1 has the address 10.0.9.1, and so on."""
    entries = ", ".join(f"{{name: {name}, address: 10.0.9.{name[1:]}}}" for name in backends)
    return load(QUICK.replace("[{name: a-b1, address: 10.0.9.1}]", f"[{entries}]"), "f.yaml")


class Field:
    """Backends that answer at once, but for those that hang; counts what was asked and what was reported."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.reported: Counter[str] = Counter()
        self.hanging: set[str] = set()
        self.ports: set[int] = set()
        self.checking = Checking(self._report)

    async def probe(self, check: Check, address: IPv4Address) -> Result:
        name = f"b{address.packed[-1]}"
        self.asked[name] += 1
        self.ports.add(check.port)
        if name in self.hanging:
            await asyncio.Event().wait()
        return Result(True, "connected", 0.001)

    def _report(self, pool: str, backend: str, result: Result) -> None:
        assert (pool, result.ok) == ("web", True)
        self.reported[backend] += 1


def run(monkeypatch: pytest.MonkeyPatch, talk: Callable[[Field], Awaitable[None]]) -> Field:
    async def session() -> Field:
        field = Field()
        monkeypatch.setattr(checking, "probe", field.probe)
        await talk(field)
        await field.checking.stop()
        return field

    return asyncio.run(session())


def test_the_first_round_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(field: Field) -> None:
        began = asyncio.get_running_loop().time()
        field.checking.follow(load(GOOD.replace("a-b1", "b1"), "f.yaml"))
        await until(lambda: field.reported == {"b1": 1})
        assert asyncio.get_running_loop().time() - began < 0.4  # the next is due after half an interval of 1 s or more

    run(monkeypatch, talk)


def test_every_backend_is_asked_at_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(field: Field) -> None:
        field.checking.follow(config("b1", "b2"))
        await until(lambda: field.reported == {"b1": 1, "b2": 1})
        began = asyncio.get_running_loop().time()
        await until(lambda: min(field.reported.values()) >= 6)
        assert asyncio.get_running_loop().time() - began >= 4.5 * INTERVAL

    run(monkeypatch, talk)


def test_a_probe_that_hangs_delays_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(field: Field) -> None:
        field.hanging.add("b1")
        field.checking.follow(config("b1", "b2", "b3"))
        await until(lambda: min(field.reported["b2"], field.reported["b3"]) >= 3)

    assert run(monkeypatch, talk).reported["b1"] == 0


def test_a_probe_that_hangs_later_delays_no_other_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(field: Field) -> None:
        field.checking.follow(config("b1", "b2"))
        await until(lambda: field.reported["b1"] > 0)
        field.hanging.add("b1")
        await until(lambda: field.asked["b1"] > field.reported["b1"])
        before = field.reported["b2"]
        await until(lambda: field.reported["b2"] >= before + 3)

    run(monkeypatch, talk)


def test_targets_that_are_removed_are_asked_no_more_even_in_the_middle_of_a_probe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def talk(field: Field) -> None:
        field.hanging.add("b2")
        field.checking.follow(config("b1", "b2", "b3"))
        await until(lambda: field.asked["b1"] * field.asked["b2"] * field.asked["b3"] > 0)
        field.checking.follow(config("b3"))
        before, running = field.asked.copy(), {task.get_name() for task in asyncio.all_tasks()}
        await until(lambda: field.asked["b3"] >= before["b3"] + 3)
        assert (field.asked["b1"], field.asked["b2"]) == (before["b1"], 1)
        assert "check web/b2" in running
        assert {task.get_name() for task in asyncio.all_tasks()} & {"check web/b1", "check web/b2"} == set()

    run(monkeypatch, talk)


def test_targets_that_stay_keep_their_rhythm_and_new_ones_begin_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(field: Field) -> None:
        field.checking.follow(config("b1"))
        await until(lambda: field.asked["b1"] > 0)
        both = config("b1", "b2")
        for _ in range(50):  # a follow that began anew would ask anew
            field.checking.follow(both)
            await asyncio.sleep(0)
        await until(lambda: field.asked["b2"] > 0)
        assert field.asked["b1"] < 25

    run(monkeypatch, talk)


def test_a_check_that_changed_takes_the_place_of_the_former_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(field: Field) -> None:
        field.checking.follow(config("b1"))
        await until(lambda: field.asked["b1"] > 0)
        changed = QUICK.replace("a-b1", "b1").replace("port: 80, interval", "port: 81, interval")
        field.checking.follow(load(changed, "f.yaml"))
        field.ports.clear()
        await until(lambda: field.asked["b1"] > 3)

    assert run(monkeypatch, talk).ports == {81}


def test_stop_ends_every_check(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(field: Field) -> None:
        field.hanging.add("b1")
        field.checking.follow(config("b1", "b2"))
        await until(lambda: field.reported["b2"] > 0)
        await field.checking.stop()
        assert len(asyncio.all_tasks()) == 1

    run(monkeypatch, talk)
