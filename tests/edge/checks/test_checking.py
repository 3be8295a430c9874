"""The daemon's side with real checker processes: good ones, dead ones, and those that do whatever they like."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from edge.checks import child
from edge.config.file import Config, load
from edge.daemon.checking import NOBODY, Checking, Stale
from edge.policy.health import Result
from tests.edge.checks.test_programs import alive
from tests.edge.test_config import GOOD

pytestmark = pytest.mark.process
BACKEND = ("web", "a-b1")
QUICK = "interval: 0.1, fast_interval: 0.1, timeout: 0.1"


def config(local: str = f"{{type: exec, command: [/bin/true], {QUICK}}}", backends: str = "a-b1") -> Config:
    text = GOOD.replace("{type: http, port: 80}", f"{{type: exec, command: [/bin/true], {QUICK}}}")
    entries = ", ".join(f"{{name: {name}, address: 10.0.9.{n}}}" for n, name in enumerate(backends.split(), start=1))
    text = text.replace("[{name: a-b1, address: 10.0.9.1}]", f"[{entries}]")
    return load(text.replace("pool: web}", f"pool: web, local_check: {local}}}"), "f.yaml")


class Daemon:
    """What hears the results, and how long the event loop ever stood still."""

    def __init__(self) -> None:
        self.backends: list[tuple[float, str, str, Result]] = []
        self.services: list[tuple[float, str, Result]] = []
        self.stale: list[tuple[float, Stale]] = []
        self.phases: list[tuple[str, str, str]] = []
        self.longest = self.away = 0.0
        self.checking = Checking(self._backend, self._service, self._changed, self._phase)

    def _backend(self, pool: str, backend: str, result: Result) -> None:
        self.backends.append((time.monotonic(), pool, backend, result))

    def _service(self, service: str, result: Result) -> None:
        self.services.append((time.monotonic(), service, result))

    def _changed(self) -> None:
        self.stale.append((time.monotonic(), self.checking.stale()))

    def _phase(self, old: str, new: str, reason: str) -> None:
        self.phases.append((old, new, reason))

    async def watch(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            gap, last = now - last, now
            self.longest = max(self.longest, gap)
            self.away += gap if gap > 0.2 else 0

    async def until(self, true: Callable[[], bool], seconds: float = 8.0) -> None:
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.002)

    async def results(self, more: int = 3) -> None:
        count = len(self.backends)
        await self.until(lambda: len(self.backends) >= count + more)

    async def another(self, before: int) -> None:
        await self.until(lambda: self.checking.view().pid not in (None, before))

    @property
    def pid(self) -> int:
        pid = self.checking.view().pid
        assert pid is not None
        return pid


def run(talk: Callable[[Daemon], Awaitable[None]], start: Config | None = None) -> Daemon:
    async def session() -> Daemon:
        daemon = Daemon()
        daemon.checking.follow(start or config())
        watching = asyncio.create_task(daemon.watch())
        try:
            await talk(daemon)
        finally:
            watching.cancel()
            await daemon.checking.stop()
            assert daemon.checking.view().pid is None
        return daemon

    return asyncio.run(session())


def test_results_of_backends_and_services_arrive_from_a_process_without_privilege() -> None:
    async def talk(daemon: Daemon) -> None:
        await daemon.until(lambda: len(daemon.backends) >= 3 and len(daemon.services) >= 3)
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert "0" not in fields["Uid"].split() or os.geteuid() != 0
        if os.geteuid() == 0:
            assert {fields[name].strip("0") for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {""}
            assert fields["NoNewPrivs"] == "1"
        assert daemon.checking.stale() == NOBODY

    daemon = run(talk)
    assert {(pool, name, result.ok) for _, pool, name, result in daemon.backends} == {(*BACKEND, True)}
    assert {(service, result.detail) for _, service, result in daemon.services} == {("web", "status 0")}


def test_a_killed_checker_is_there_again_before_anything_is_stale() -> None:
    async def talk(daemon: Daemon) -> None:
        await daemon.results()
        for number in range(3):
            before = daemon.pid
            began = time.monotonic()
            os.kill(before, signal.SIGKILL)
            await daemon.another(before)
            # 20 ms, and answers 80 ms later, where nothing else runs; those that follow are given a pause.
            assert time.monotonic() - began < 1.0 + number
            await daemon.results(1)
        assert daemon.checking.view().deaths == 3

    daemon = run(talk)
    assert [stale for _, stale in daemon.stale if stale != NOBODY] == []


def test_a_stopped_checker_is_replaced_within_three_seconds() -> None:
    async def talk(daemon: Daemon) -> None:
        await daemon.results()
        before, began = daemon.pid, time.monotonic()
        os.kill(before, signal.SIGSTOP)
        await daemon.another(before)
        await daemon.results(1)
        assert time.monotonic() - began < 3.0
        assert not alive(before)

    assert any("silent" in reason for _, _, reason in run(talk).phases)


PREFIX = """
import json, os, socket, sys, time
line = socket.socket(fileno=int(sys.argv[1]))
beat = lambda n=1, late=0.0: line.sendall(json.dumps({"h": 1, "n": n, "late": late}).encode() + b"\\n")
"""
BAD = {
    "dead at once": "sys.exit(3)",
    "silent": "time.sleep(60)",
    "closes its line": "line.close(); time.sleep(60)",
    "half a line": """
        while True:
            line.sendall(b'{"h": 1, "n"'); time.sleep(60)""",
    "half a line after each heartbeat": """
        while True:
            beat(); line.sendall(b'{"r": [[1, true, 5, '); time.sleep(60)""",
    "garbage": """
        while True:
            line.sendall(os.urandom(4096))""",
    "a line without end": """
        while True:
            line.sendall(b"x" * 65536)""",
    "heartbeats and no results": """
        while True:
            beat(); time.sleep(0.05)""",
    "a flood of heartbeats": """
        while True:
            line.sendall(b'{"h":1,"n":1,"late":0.0}\\n' * 1000)""",
    "a flood of results": """
        while True:
            line.sendall(b'{"r":[' + b",".join([b'[1,true,5,"",false]'] * 1000) + b"]}\\n")""",
    "results of checks that there are not": """
        while True:
            line.sendall(b'{"r":[[999,true,5,"",false]]}\\n'); time.sleep(0.01)""",
    "deaf: an old configuration for ever": """
        while True:
            beat(0); time.sleep(0.05)""",
    "newlines only": """
        while True:
            line.sendall(b"\\n" * 60000)""",
}

REASONS = {
    "dead at once": "exited with status 3",
    "silent": "it has said nothing for 2 s",
    "closes its line": "it has said nothing for 2 s",
    "half a line": "it has said nothing for 2 s",
    "half a line after each heartbeat": "it has been silent for 1 s",
    "garbage": "it said a line",
    "a line without end": "it said a line of more than 65536 bytes",
    "heartbeats and no results": "it lives, but 2 check(s) have no result in time",
    "a flood of heartbeats": "results in a second",
    "a flood of results": "results in a second",
    "results of checks that there are not": "a result of check 999",
    "deaf: an old configuration for ever": "that it follows configuration 0, not 1",
    "newlines only": "a line that is no message",
}


@pytest.mark.parametrize("how", BAD)
def test_whatever_a_checker_does_its_checks_are_stale_in_time_and_nobody_waits(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = child.MODULE
    script = PREFIX + textwrap.dedent(BAD[how])

    async def talk(daemon: Daemon) -> None:
        await daemon.results()
        monkeypatch.setattr(child, "MODULE", ("-I", "-c", script))
        daemon.longest = 0.0
        began = time.monotonic()
        os.kill(daemon.pid, signal.SIGKILL)
        both = Stale(frozenset({BACKEND}), frozenset({"web"}))
        if "results" in how and "of results" in how:  # its results are well formed until it has said too many
            await asyncio.sleep(1.5)
        else:
            await daemon.until(lambda: daemon.checking.stale() == both)
            # The dead-man interval of 3 s and a tick; a loop that was kept from running forgives that long.
            assert time.monotonic() - began < 3.3 + daemon.away
        assert daemon.longest < 2.0  # 20 ms where nothing else runs; a loop that waits for a checker waits for ever
        monkeypatch.setattr(child, "MODULE", good)
        await daemon.until(lambda: daemon.checking.stale() == NOBODY and daemon.checking.view().phase == "running")
        await daemon.results(1)

    daemon = run(talk)
    assert daemon.checking.view().deaths >= 1
    assert any(REASONS[how] in reason for _, _, reason in daemon.phases), daemon.phases


def test_a_reload_adds_and_removes_and_leaves_the_rest_in_its_rhythm() -> None:
    async def talk(daemon: Daemon) -> None:
        await daemon.results()
        pid = daemon.pid
        both = config(backends="a-b1 a-b2")
        for _ in range(30):  # a follow that began anew would ask anew
            daemon.checking.follow(both)
        await daemon.until(lambda: any(name == "a-b2" for _, _, name, _ in daemon.backends))
        times = [moment for moment, _, name, _ in daemon.backends if name == "a-b1"]
        assert len([each for each in times if each > times[-1] - 0.05]) <= 2
        daemon.checking.follow(config(backends="a-b2"))
        await asyncio.sleep(0.3)
        count = sum(name == "a-b1" for _, _, name, _ in daemon.backends)
        await daemon.results(5)
        assert sum(name == "a-b1" for _, _, name, _ in daemon.backends) == count
        assert daemon.pid == pid
        assert daemon.checking.stale() == NOBODY

    run(talk, config(backends="a-b1"))


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """One that the checker's user may enter, which pytest's own may not be."""
    with tempfile.TemporaryDirectory(prefix="fh-checks-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_the_end_of_a_local_process_is_heard_at_once(open_directory: Path) -> None:
    pidfile = open_directory / "pid"

    async def talk(daemon: Daemon) -> None:
        for _ in range(5):
            process = subprocess.Popen(["/bin/sleep", "60"])
            pidfile.write_text(str(process.pid))
            daemon.services.clear()
            await daemon.until(lambda: any(result.ok for _, _, result in daemon.services))
            began = time.monotonic()
            process.kill()
            await daemon.until(lambda: daemon.services[-1][2].certain)
            assert daemon.services[-1][0] - began < 0.15  # 1 ms where nothing else runs; the next poll is 0.5 s away
            process.wait()

    check = f"{{type: process, pidfile: {pidfile}, interval: 0.5, fast_interval: 0.05, timeout: 0.05}}"
    run(talk, config(local=check))


@pytest.mark.parametrize("stopped", [False, True])
def test_no_checker_outlives_its_daemon(stopped: bool) -> None:
    script = (
        "import asyncio, sys\nfrom tests.edge.checks.test_checking import Daemon, config\n"
        "async def main():\n    daemon = Daemon()\n    daemon.checking.follow(config())\n    await daemon.results()\n"
        "    print(daemon.pid, flush=True)\n    await asyncio.sleep(60)\nasyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        daemon.kill()
    until = time.monotonic() + 2
    while alive(pid):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_hung_check_delays_no_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        local = (
            f"[{{type: http, port: {port}, interval: 2.0, timeout: 2.0}}, "
            f"{{type: exec, command: [/bin/sleep, '30'], interval: 2.0, timeout: 2.0}}, "
            f"{{type: tcp, port: {port}, {QUICK}}}]"
        )

        async def talk(daemon: Daemon) -> None:
            await daemon.until(lambda: sum(result.check == 2 for _, _, result in daemon.services) >= 6)
            assert {result.check for _, _, result in daemon.services} == {2}
            assert daemon.checking.view().late < 0.5

        run(talk, config(local=local))
