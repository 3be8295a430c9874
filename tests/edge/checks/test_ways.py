"""Probes that must leave by one interface: they do, a new checker goes on so, and any interface will do again later."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from edge.checks.asking import connected
from edge.checks.target import keeping, read_orders
from edge.config.file import load
from edge.daemon.checking import Checking
from edge.policy.health import Result
from lab.observe.inside import inside
from tests.edge.checks.asking import HERE, Asking, target
from tests.edge.test_config import GOOD
from tests.lab.privatenet import namespace, needs_root

BACKEND = IPv4Address("10.0.9.1")


def test_the_words_arrive_as_they_were_given() -> None:
    only = {f"10.0.{number // 250}.{number % 250}": "eth1" for number in range(1000)} | {"2001:db8::1": ""}
    orders = [read_orders(line) for line in keeping(7, only)]
    assert {address: name for order in orders for address, name in order["only"].items()} == only
    assert not any(order["end"] or order["set"] or order["drop"] for order in orders)


@pytest.mark.parametrize(("only", "bound"), [("lo", b"lo\0"), ("", b""), ("nosuch", b"")])
def test_a_connection_leaves_by_the_interface_named_or_by_any(only: str, bound: bytes) -> None:
    with socket.create_server((HERE, 0)) as server:
        steps = connected(HERE, server.getsockname()[1], only)
        with pytest.raises(StopIteration) as done:
            while True:
                next(steps)
        with done.value.value as made:
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) == bound


def test_the_engine_keeps_the_probes_of_an_address_to_an_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def connecting(address: str, port: int, only: str = "") -> Iterator[tuple[int, int]]:
        seen.append(only)
        return connected(address, port, only)

    monkeypatch.setattr("edge.checks.tcp.connected", connecting)
    with socket.create_server((HERE, 0)) as server:
        asking = Asking()
        asking.engine.keep({HERE: "lo", "10.0.9.9": "lo"})
        port = server.getsockname()[1]
        asking.engine.add(1, target(f"{{type: tcp, port: {port}, interval: 0.05, timeout: 0.05}}"))
        asking.until(lambda: len(asking.outcomes) >= 2)
        asking.engine.keep({HERE: ""})
        before = len(asking.outcomes)
        asking.until(lambda: len(asking.outcomes) >= before + 3)
        asking.engine.close()
    assert all(outcome.ok for outcome in asking.outcomes)
    assert (seen[0], seen[-1]) == ("lo", "")


@needs_root
def test_a_checker_keeps_to_an_interface_also_after_its_death_until_any_will_do() -> None:
    """The interface named leads nowhere, so that every probe that keeps to it fails."""
    veth = ("link add near type veth peer name far", "link set near up", "link set far up")
    with namespace("ways", f"address add {BACKEND}/32 dev lo", *veth) as netns:
        inside(netns, lambda: asyncio.run(_keep_and_let_go(netns)))


async def _keep_and_let_go(netns: Path) -> None:
    seen: list[bool] = []

    def report(pool: str, backend: str, result: Result) -> None:
        seen.append(result.ok)

    async def until(ok: bool) -> None:
        async with asyncio.timeout(10):
            while seen[-3:] != [ok] * 3:
                await asyncio.sleep(0.005)

    with socket.create_server((str(BACKEND), 0)) as server:
        check = f"{{type: tcp, port: {server.getsockname()[1]}, interval: 0.05, fast_interval: 0.05, timeout: 0.05}}"
        checking = Checking(report)
        checking.follow(load(GOOD.replace("{type: http, port: 80}", check), "f.yaml"))
        try:
            await until(ok=True)
            checking.keep_to({BACKEND: "near"})
            await until(ok=False)
            pid = checking.view().pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            async with asyncio.timeout(10):
                while checking.view().pid in (None, pid):
                    await asyncio.sleep(0.005)
            seen.clear()
            await until(ok=False)
            checking.keep_to({})
            await until(ok=True)
        finally:
            await checking.stop()
