"""How many checks one core holds: python -m tests.edge.checks.scale [CHECKS] [tcp|http] [SECONDS]

First the engine alone, which says how late every single probe was; then the whole way, checker process and daemon.
Listeners are processes of their own on the second core. Everything stays on loopback.
"""

import asyncio
import gc
import os
import random
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from edge.checks.engine import Engine
from edge.checks.plan import Subject
from edge.checks.target import Outcome, Target, results
from edge.config.file import load
from edge.daemon import checking
from edge.policy.health import Result, Rules
from tests.edge.test_config import GOOD

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_OPTIONS: dict[str, dict[str, Any]] = {
    "tcp": {"tether": False},
    "http": {
        "path": "/", "method": "GET", "host": None, "headers": [], "body": None, "body_regex": None,
        "status": [[200, 200]],
    },
}  # fmt: skip
_TICKS = os.sysconf("SC_CLK_TCK")
_WARM = 2.0


@contextmanager
def listeners(kind: str, count: int = 2) -> Iterator[list[int]]:
    """Processes that accept and close; gives their ports."""
    made = [socket.create_server(("127.0.0.1", 0), backlog=4096) for _ in range(count)]
    pids = []
    for listener in made:
        pid = os.fork()
        if not pid:
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
            _serve(listener, kind)
        pids.append(pid)
    try:
        yield [listener.getsockname()[1] for listener in made]
    finally:
        for pid, listener in zip(pids, made, strict=True):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            listener.close()


def _serve(listener: socket.socket, kind: str) -> None:
    while True:
        accepted, _ = listener.accept()
        try:
            if kind == "http":
                accepted.recv(1000)
                accepted.send(_ANSWER)
        except OSError:
            pass
        accepted.close()


def targets(count: int, kind: str, ports: list[int]) -> dict[Subject, Target]:
    """So many checks at an interval of one second, with the default time limit."""
    rules = Rules(2, 3, 2.0, None, 1.0, 0.25, kind)
    return {
        Subject("web", f"b{n}", 0): Target(
            kind, "127.0.0.1", 0.25, 0.1, rules, f"n/{n}", _OPTIONS[kind] | {"port": ports[n % len(ports)]}
        )
        for n in range(count)
    }


def engine_alone(count: int, kind: str, seconds: float) -> tuple[float, float, list[float]]:
    """Results a second, share of a core, and the sorted lateness of every probe in seconds."""
    fresh: list[Outcome] = []
    failed: list[Outcome] = []
    with listeners(kind) as ports:
        engine = Engine(fresh.append, time.monotonic, random.random)
        seen = engine.late.seen = []
        for number, target in enumerate(targets(count, kind, ports).values()):
            engine.add(number, target)
        gc.freeze()
        told = 0

        def run(until: float) -> None:
            nonlocal told
            while time.monotonic() < until:
                engine.turn()
                told += len(fresh)
                failed.extend(each for each in fresh if not each.ok)
                for _ in results(fresh):  # as the checker does
                    pass
                fresh.clear()

        run(time.monotonic() + _WARM)
        told, before, began = 0, time.process_time(), time.monotonic()
        seen.clear()
        run(time.monotonic() + seconds)
        elapsed, used = time.monotonic() - began, time.process_time() - before
        engine.close()
    if failed:
        print(f"{len(failed)} failed, the first: {failed[0]}")
    return told / elapsed, used / elapsed, sorted(seen)


async def whole_way(count: int, kind: str, seconds: float) -> str:
    """The same through a checker process and the daemon's side."""
    told, failed, lates = 0, 0, list[float]()

    def report(pool: str, backend: str, result: Result) -> None:
        nonlocal told, failed
        told += 1
        failed += not result.ok

    config = load(GOOD, "f.yaml")
    with listeners(kind) as ports, mock.patch.object(checking, "subjects", lambda _: targets(count, kind, ports)):
        side = checking.Checking(report)
        side.follow(config)
        await asyncio.sleep(_WARM)
        pid = side.view().pid
        assert pid is not None
        told, before, own, began = 0, _used(pid), time.process_time(), time.monotonic()
        while time.monotonic() < began + seconds:
            await asyncio.sleep(0.1)
            lates.append(side.view().late)
        elapsed = time.monotonic() - began
        shares = [(_used(pid) - before) / elapsed, (time.process_time() - own) / elapsed]
        stale, deaths = side.stale(), side.view().deaths
        await side.stop()
    return (
        f"through the process: {told / elapsed:.0f} results/s, {failed} failed, checker {shares[0]:.0%} and daemon "
        f"{shares[1]:.0%} of a core, worst lateness {max(lates) * 1e3:.1f} ms, {len(stale.backends)} stale, "
        f"{deaths} restarts"
    )


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def main(arguments: list[str]) -> None:
    """Print what was measured."""
    count, kind = int((arguments or ["10000"])[0]), (arguments[1:] or ["tcp"])[0]
    seconds = float((arguments[2:] or ["10"])[0])
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    rate, share, late = engine_alone(count, kind, seconds)
    p50, p99 = late[len(late) // 2] * 1e3, late[int(len(late) * 0.99)] * 1e3
    print(f"engine alone: {count} {kind} checks a second: {rate:.0f} results/s, {share:.0%} of a core, "
          f"late p50 {p50:.2f}, p99 {p99:.2f}, worst {late[-1] * 1e3:.1f} ms")  # fmt: skip
    print(asyncio.run(whole_way(count, kind, seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
