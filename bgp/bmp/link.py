"""The read-back as the daemon sees it: a station process, started, listened to, ended and started again.

Nothing that a router or the station does reaches the daemon's work: lines are bounded, a station that babbles, hangs or
dies is killed and started again after a delay, and meanwhile what routers hold is unknown.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from bgp.bmp.config import ReadBackConfig, to_line
from bgp.bmp.facts import Hearsay
from bgp.bmp.readback import ReadBack
from bgp.bmp.wire import SILENCE, StationError, decode
from bgp.process import Account, account, unprivileged
from bgp.report import Event
from bgp.route import Prefix, Route
from bgp.wire import LineBuffer, WireError

TURN: Final = 0.25
"""Seconds between two looks at what has lasted or is no longer good."""
DELAYS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
STABLE_AFTER: Final = 30.0
BABBLE: Final = 64 * 1024 * 1024
"""Bytes in `BABBLE_TIME` seconds, far more than any number of routers has to say."""
BABBLE_TIME: Final = 5.0
_READ: Final = 64 * 1024

OnChange = Callable[[Event], None]


class Station:
    """One station process and what it tells. Use from one asyncio loop; no method blocks."""

    def __init__(self, config: ReadBackConfig, run_dir: Path, on_change: OnChange | None = None) -> None:
        """`run_dir` holds the log of the station; `on_change` hears of routers, findings and the station itself."""
        self.config = config
        self._log = run_dir / "station.log"
        self._on_change = on_change or (lambda event: None)
        self._hearsay = Hearsay(config)
        self._runner: Account | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._state, self._reason = "stopped", "not started"

    async def start(self) -> None:
        """Start the station. Raises ProcessError (no such account); later faults are retried and reported."""
        self._runner = account(self.config.user)
        self._tasks = [
            asyncio.create_task(self._keep_running(), name="read-back station"),
            asyncio.create_task(self._watch(), name="read-back"),
        ]

    async def stop(self) -> None:
        """End it."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def intend(self, routes: Mapping[Prefix, Route | None]) -> None:
        """What is declared from now on: what routers hold is compared with it."""
        self._hearsay.intend(routes)

    def view(self) -> ReadBack:
        """What routers hold, as far as they can be asked."""
        return self._hearsay.read_back()

    @property
    def pid(self) -> int | None:
        """The station's process, None while there is none."""
        return self._process.pid if self._process else None

    async def _watch(self) -> None:
        while True:
            for event in self._hearsay.turn(time.monotonic()):
                self._on_change(event)
            if self._process is not None and self._process.stdin is not None:
                for name in self._hearsay.to_ask():
                    self._process.stdin.write(f"{name}\n".encode())
            await asyncio.sleep(TURN)

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                reason = await self._run_once()
            except OSError as error:
                reason = f"cannot be started: {error}"
            now = time.monotonic()
            self._hearsay.lost(f"the station is gone: {reason}", now)
            self._say("backing off", reason)
            failures = 0 if now - began >= STABLE_AFTER else failures
            await asyncio.sleep(DELAYS[min(failures, len(DELAYS) - 1)])
            failures += 1

    def _say(self, state: str, reason: str) -> None:
        old, self._state = self._state, state
        if state != old:
            self._on_change(Event("read-back station", old, state, reason))

    async def _run_once(self) -> str:
        """One life of the station, from its start to its end; says how it ended."""
        assert self._runner is not None
        self._log.parent.mkdir(parents=True, exist_ok=True)
        argv = unprivileged([sys.executable, "-I", "-m", "bgp.bmp"], self._runner)
        pipe = asyncio.subprocess.PIPE
        with self._log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *argv, stdin=pipe, stdout=pipe, stderr=log, cwd="/", env={"LANG": "C.UTF-8"}, start_new_session=True
            )
        self._process = process
        try:
            assert process.stdin is not None
            process.stdin.write(to_line(self.config))  # the pipe stays open: its end ends the station
            return await self._listen(process)
        finally:
            self._process = None
            await _bury(process)

    async def _listen(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        lines, taken, since = LineBuffer(), 0, time.monotonic()
        while True:
            try:
                async with asyncio.timeout(SILENCE):
                    data = await process.stdout.read(_READ)
            except TimeoutError:
                return f"killed: it has been silent for {SILENCE:g} s"
            if not data:
                status = await process.wait()
                return f"it ended with status {status}{self._last_words()}"
            now = time.monotonic()
            taken, since = (taken + len(data), since) if now - since < BABBLE_TIME else (len(data), now)
            if taken > BABBLE:
                return f"killed: it said {taken} bytes within {now - since:.1f} s"
            try:
                self._heard(lines.feed(data), now)
            except (WireError, StationError) as error:
                return f"killed: {error}"
            await asyncio.sleep(0)  # others first, however much there is to read

    def _heard(self, lines: list[bytes], now: float) -> None:
        for line in lines:
            self._say("running", "it answers")
            if (news := decode(line)) is not None:
                self._hearsay.heard(news, now)

    def _last_words(self) -> str:
        try:
            lines = self._log.read_bytes()[-2000:].decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((f"; last words: {line.strip()}" for line in reversed(lines) if line.strip()), "")


async def _bury(process: asyncio.subprocess.Process) -> None:
    """Kill it, and read its pipe to the end: only then does asyncio let go of it."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while await process.stdout.read(_READ):
                pass
    await process.wait()
