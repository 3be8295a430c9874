"""The station as a process, and its link: strangers, routers that babble, a station that dies, hangs or lies."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from bgp.bmp import link
from bgp.bmp.config import ReadBackConfig, RouterConfig
from bgp.bmp.facts import SETTLE
from bgp.bmp.link import Station
from bgp.bmp.readback import Others
from bgp.report import Event
from tests.bgp.bmp.bytes_of import announce_vip, peer, peer_up

pytestmark = pytest.mark.process

VIP = IPv4Network("203.0.113.10/32")
US, EDGE = peer(), peer("10.0.7.1", 65110, "10.255.0.7")
HOME = IPv4Address("127.0.0.1")
PATIENCE = 15.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((str(HOME), 0))
        return int(probe.getsockname()[1])


def config() -> ReadBackConfig:
    router = RouterConfig("r1", HOME, (HOME,), (IPv4Address("10.0.5.1"),))
    return ReadBackConfig(65110, IPv4Address("10.255.0.6"), (VIP,), (router,), HOME, free_port(), grace=0.5, user=None)


async def until(what: Callable[[], object], problem: str) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, problem
        await asyncio.sleep(0.02)


async def connect(settings: ReadBackConfig) -> asyncio.StreamWriter:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            _, writer = await asyncio.open_connection(str(HOME), settings.port)
            return writer
        except ConnectionError:
            assert time.monotonic() < end, "the station does not listen"
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(settings: ReadBackConfig, run_dir: Path) -> AsyncIterator[tuple[Station, list[Event]]]:
    events: list[Event] = []
    station = Station(settings, run_dir, events.append)
    await station.start()
    try:
        yield station, events
    finally:
        await station.stop()


def story(tmp_path: Path, settings: ReadBackConfig, tell: Callable[[Station, list[Event]], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with running(settings, tmp_path) as (station, events):
            await tell(station, events)

    asyncio.run(whole())


def test_what_a_router_tells_reaches_the_daemon_and_ends_with_its_session(tmp_path: Path) -> None:
    settings = config()

    async def tell(station: Station, events: list[Event]) -> None:
        writer = await connect(settings)
        writer.write(peer_up(US) + announce_vip(US) + peer_up(EDGE) + announce_vip(EDGE))
        await until(lambda: station.view().accepted(VIP) == {"r1": True}, "not accepted")
        assert station.view().others(VIP) == Others(1, 0)
        writer.close()
        await until(lambda: station.view().others(VIP) is None, "still known")
        assert [(event.subject, event.new) for event in events] == [
            ("read-back station", "running"),
            ("read-back r1", "known"),
            ("read-back r1", "unknown"),
        ]

    story(tmp_path, settings, tell)


def test_a_stranger_is_hung_up_on_and_babble_ends_only_its_own_session(tmp_path: Path) -> None:
    settings = config()

    async def tell(station: Station, _: list[Event]) -> None:
        (await connect(settings)).close()  # it listens
        reader, stranger = await asyncio.open_connection(str(HOME), settings.port, local_addr=("127.0.0.9", 0))
        with contextlib.suppress(ConnectionError):
            stranger.write(peer_up(US) + announce_vip(US))
            assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        stranger.close()
        pid = station.pid
        for babble in (b"GET / HTTP/1.1\r\n\r\n", struct.pack("!BIB", 3, 1 << 31, 0), peer_up(US)[:-1] + b"\0" * 90):
            writer = await connect(settings)
            writer.write(babble)
            await until(lambda: "no BMP" in station.view().routers[0].reason, "not hung up on")
            writer.close()
            good = await connect(settings)
            good.write(peer_up(US) + announce_vip(US))
            await until(lambda: station.view().routers[0].known, "the next session does not count")
            good.close()
            await until(lambda: not station.view().routers[0].known, "still known")
        assert station.pid == pid

    story(tmp_path, settings, tell)


def test_a_router_that_says_nothing_any_more_is_unknown(tmp_path: Path) -> None:
    settings = replace(config(), silence=SETTLE + 1.0)

    async def tell(station: Station, _: list[Event]) -> None:
        writer = await connect(settings)
        writer.write(peer_up(US) + announce_vip(US))
        await until(lambda: station.view().routers[0].known, "not known")
        await until(lambda: "silent for" in station.view().routers[0].reason, "silence is not noticed")
        await until(lambda: not station.view().routers[0].known, "still known")
        writer.close()

    story(tmp_path, settings, tell)


def test_a_killed_and_a_stopped_station_are_started_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = config()
    monkeypatch.setattr(link, "SILENCE", 2.5)

    async def tell(station: Station, events: list[Event]) -> None:
        for number in (signal.SIGKILL, signal.SIGSTOP):
            await until(lambda: station.pid, "no station")
            pid = station.pid
            assert pid is not None
            writer = await connect(settings)
            os.kill(pid, number)
            gone = (None, pid)
            await until(lambda gone=gone: station.pid not in gone, "not started anew")  # type: ignore[misc]
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
            writer.close()
        reasons = [event.reason for event in events if event.new == "backing off"]
        assert reasons == ["it ended with status -9", "killed: it has been silent for 2.5 s"]

    story(tmp_path, settings, tell)


def fake_station(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Another program in the station's place."""
    program = tmp_path / "station.py"
    program.write_text(code)
    monkeypatch.setattr(link, "unprivileged", lambda argv, runner: [sys.executable, str(program)])


LIARS = {
    "no JSON": ("print('hello', flush=True)\nimport time; time.sleep(60)", "expected type router or alive"),
    "a line without end": ("while True: print('x' * 65536, end='')", "and no end"),
    "babble": ('while True: print(\'{"type":"alive"}\' * 1 + chr(10) * 9)', "expected type router or alive"),
    "too much": ('while True: print(\'{"type":"alive"}\')', "it said"),
}


@pytest.mark.parametrize(("code", "reason"), LIARS.values(), ids=LIARS.keys())
def test_a_station_that_lies_or_babbles_is_killed_and_the_loop_turns_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    fake_station(tmp_path, monkeypatch, code)
    monkeypatch.setattr(link, "BABBLE", 8 * 1024 * 1024)

    async def tell(station: Station, events: list[Event]) -> None:
        worst, before, end = 0.0, time.monotonic(), time.monotonic() + PATIENCE
        while not any(reason in event.reason for event in events):
            assert time.monotonic() < end, f"not killed: {events}"
            await asyncio.sleep(0.005)
            worst, before = max(worst, time.monotonic() - before), time.monotonic()
        assert worst < 1.0  # seconds that the daemon's loop stood still at most
        assert station.view().others(VIP) is None

    story(tmp_path, config(), tell)


def test_the_station_ends_with_its_daemon(tmp_path: Path) -> None:
    async def tell(station: Station, _: list[Event]) -> None:
        await until(lambda: station.pid, "no station")
        process = station._process
        assert process is not None and process.stdin is not None
        writer = await connect(station.config)
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
        writer.close()

    story(tmp_path, config(), tell)


def test_an_address_that_cannot_be_listened_at_is_told_and_tried_again(tmp_path: Path) -> None:
    settings = config()

    async def tell(station: Station, events: list[Event]) -> None:
        await until(lambda: any("in use" in event.reason for event in events), f"not told: {events}")
        taken.close()
        (await connect(settings)).close()

    with socket.socket() as taken:
        taken.bind((str(HOME), settings.port))
        taken.listen()
        story(tmp_path, settings, tell)


GLASSES = {
    "an answer": ('echo \'{"r1": {"203.0.113.10/32": ["10.255.0.6", "10.255.0.7"]}}\'', ""),
    "no answer": ("sleep 60", "no answer within 0.5 s"),
    "failure": ("exit 3", "exit status 3"),
    "babble": ("exec yes", "it prints more than"),
    "no JSON": ("echo hello", "not JSON"),
    "another router": ("echo '{\"r2\": {}}'", "does not name it"),
}


@pytest.mark.parametrize(("script", "reason"), GLASSES.values(), ids=GLASSES.keys())
def test_a_looking_glass_is_asked_within_its_limits(tmp_path: Path, script: str, reason: str) -> None:
    program = tmp_path / "glass"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(stat.S_IRWXU)
    settings = replace(config(), listen=None, command=(str(program),), interval=0.3)
    settings = replace(settings, limit=0.5 if script.startswith("sleep") else 10.0)

    async def tell(station: Station, _: list[Event]) -> None:
        if reason:
            await until(lambda: reason in station.view().routers[0].reason, "not told")
            assert station.view().others(VIP) is None
        else:
            await until(lambda: station.view().accepted(VIP) == {"r1": True}, "not accepted")
            assert station.view().others(VIP) == Others(1, 0)

    story(tmp_path, settings, tell)
