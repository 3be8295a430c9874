"""BFD as the daemon uses it: the process started, adopted, told what to do, watched and ended; heartbeats handed in.

The daemon calls `beat("daemon")` from its work loop and `beat("forwarder")` when its data path was seen to work, both
at least once an interval of the gate. Nothing else keeps the sessions Up.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bgp.adoption import adopt_or_end, end
from bgp.bfd.beats import Beats
from bgp.bfd.config import BfdConfig, to_plain
from bgp.bfd.gate import HOLD_MAX
from bgp.bfd.status import BfdState, SessionStatus, StatusError, decode_state, encode_order
from bgp.life import Action
from bgp.process import Account, Identity, Process, ProcessError, account, save_identity, start_ticks
from bgp.report import Event
from bgp.rundir import RunDir
from bgp.supervisor import KILL_LIMIT, SILENCE_LIMIT, START_LIMIT, Phase, Supervisor, Transition
from bgp.supervisor import Event as Happening
from bgp.wire import LineBuffer, WireError

PROTOCOL: Final = 1
"""Of the orders, the states and the heartbeat file: a running process with another number is replaced, not adopted."""
TICK: Final = 0.05
STOP_LIMIT: Final = 1.0
SILENCE: Final = 1.0
"""Seconds after which the process's last word says nothing any more; it speaks every half second."""
_WORDS: Final = {Phase.WAITING: "waiting for its socket"}
_REASONS: Final = {
    Phase.STARTING: f"it has not answered for {START_LIMIT} s",
    Phase.WAITING: f"it has not answered for {SILENCE_LIMIT} s",
    Phase.RUNNING: f"it has been silent for {SILENCE_LIMIT} s",
    Phase.KILLING: f"it has not ended for {KILL_LIMIT} s",
    Phase.BACKOFF: "the delay is over",
}

OnChange = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class BfdView:
    """All that the daemon knows: `phase` is the process's, `state` its last word at `heard` (CLOCK_MONOTONIC)."""

    phase: Phase
    reason: str
    deaths: int
    pid: int | None
    heard: float | None
    state: BfdState | None


class _Files(RunDir):
    """The process's own names in its directory."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.identity, self.socket, self.log = path / "bfd.pid", path / "bfd.sock", path / "bfd.log"
        self.beats = path / "beats"

    def prepare(self, runner: Account) -> None:
        """Make the directory if needed, mode 0750, owned by us with the account's group."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._own(self.path, runner, 0o750)


class Bfd:
    """The node's BFD. Use from one asyncio loop; no method blocks, and `beat` makes no system call."""

    def __init__(self, config: BfdConfig, run_dir: Path, on_change: OnChange | None = None) -> None:
        self.config = config
        self._files = _Files(run_dir)
        self._on_change = on_change or (lambda event: None)
        self._supervisor = Supervisor(reasons=_REASONS)
        self._runner: Account | None = None
        self._beats: Beats | None = None
        self._process: Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._talking: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._state: BfdState | None = None
        self._heard: float | None = None
        self._told = 0
        self._told_until = 0.0
        self._admin_down = False
        self._seq = 0
        self._news = asyncio.Event()

    async def start(self) -> None:
        """Adopt the process that an earlier daemon left, or start one. Later faults are retried and reported.

        Raises ProcessError (no such account) and OSError (the directory).
        """
        self._runner = account(self.config.user)
        self._files.prepare(self._runner)
        self._beats = Beats.create(self._files.beats, self._runner.gid if os.geteuid() == 0 else None)
        self._told_until = self._beats.read()["daemon"]  # what happened since is told by us
        if await self._adopt_or_end():
            self._handle(Happening.ADOPT, f"adopted process {self._process.pid if self._process else 0}")
        else:
            self._handle(Happening.START, "the daemon started")
        self._ticking = asyncio.create_task(self._tick(), name="bfd")

    def beat(self, source: str) -> None:
        """`daemon` or `forwarder` is alive now; a store into shared memory. Raises KeyError for another name."""
        if self._beats is not None:
            self._beats.beat(source)

    def hold(self, seconds: float) -> None:
        """Before a planned restart: the gate stays as it is for so long (HOLD_MAX at most); 0 ends a hold."""
        if self._beats is not None:
            self._beats.hold(min(seconds, HOLD_MAX))

    def admin_down(self, down: bool) -> None:
        """Tell all peers AdminDown (a drain: they keep their routes), or go back to normal."""
        self._admin_down = down
        self._order()

    def reconfigure(self, config: BfdConfig) -> None:
        """Take other peers, timers, keys or gates over; the sessions of unchanged peers go on.

        The user and the priority do not change: such a configuration needs `stop` and a new Bfd.
        """
        self.config = config
        self._order()

    async def applied(self, limit: float) -> bool:
        """Wait until the process has carried out the last order; False after `limit` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not self._is_applied():
                    self._news.clear()
                    await self._news.wait()
        return self._is_applied()

    def _is_applied(self) -> bool:
        return self._state is not None and self._state.seq == self._seq

    def sessions(self) -> tuple[SessionStatus, ...]:
        """What the process said last of each session: `down` if it is gone, `unknown` if it has been silent for 1 s."""
        if self._state is None or self._heard is None:
            return ()
        if self._process is None:
            return tuple(replace(one, state="down", diag="the process is gone") for one in self._state.sessions)
        if time.monotonic() - self._heard <= SILENCE:
            return self._state.sessions
        return tuple(replace(one, state="unknown", diag="the process is silent") for one in self._state.sessions)

    def view(self) -> BfdView:
        """A snapshot for status."""
        machine = self._supervisor
        pid = self._process.pid if self._process else None
        return BfdView(machine.phase, machine.reason, machine.deaths, pid, self._heard, self._state)

    async def stop(self, admin_down: bool = True) -> None:
        """Tell the peers AdminDown and end the process; without `admin_down` leave it to the next daemon.

        What is left goes Down as soon as the heartbeats are stale: call `hold` before.
        """
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.gather(self._ticking, return_exceptions=True)
        if admin_down and self._writer is not None:
            self.admin_down(True)
            await self.applied(STOP_LIMIT)
        self._handle(Happening.STOP, "the daemon stops")
        self._hang_up()
        if self._process is not None:
            asyncio.get_running_loop().remove_reader(self._process.fileno())
            if admin_down:
                await end(self._process, signal.SIGTERM, STOP_LIMIT, "BFD")
                self._files.identity.unlink(missing_ok=True)
            self._process = None
        if self._beats is not None:
            self._beats.close()
            self._beats = None

    def _order(self) -> None:
        self._seq = time.monotonic_ns()  # greater than any of an earlier daemon
        if self._writer is not None:
            self._writer.write(encode_order(self._seq, to_plain(self.config), self._admin_down))

    async def _tick(self) -> None:
        while True:
            self._act(*self._supervisor.tick(time.monotonic()))
            with contextlib.suppress(OSError):
                self._files.trim_log()
            if self._process is not None and self._talking is None:
                self._talking = asyncio.create_task(self._talk(), name="bfd talk")
            await asyncio.sleep(TICK)

    async def _talk(self) -> None:
        """One connection to the process, from its opening to its end."""
        lines, mine = LineBuffer(), None
        try:
            reader, mine = await asyncio.open_unix_connection(str(self._files.socket))
            self._writer = mine
            self._handle(Happening.CONNECTED, "it answered")
            self._order()
            while data := await reader.read(1 << 16):
                for line in lines.feed(data):
                    self._hear(decode_state(line))
        except (OSError, WireError, StatusError):
            pass
        finally:
            if self._talking is asyncio.current_task():
                self._talking = None
            if mine is not None and mine is self._writer:
                self._hang_up()
                self._handle(Happening.DISCONNECTED, "it closed the connection")

    def _hang_up(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        if self._talking is not None and self._talking is not asyncio.current_task():
            self._talking.cancel()
            self._talking = None

    def _hear(self, state: BfdState) -> None:
        self._heard = time.monotonic()
        before, self._state = self._state, state
        self._handle(Happening.HEARD, "")
        for change in state.changes:
            if change.serial > self._told and change.at > self._told_until:
                self._told = change.serial
                self._on_change(Event(f"bfd {change.name}", change.old, change.new, change.reason))
        if before is None or before.remarks != state.remarks:
            for remark in state.remarks:
                self._on_change(Event("bfd", "running", "running", remark))
        self._news.set()

    def _handle(self, happening: Happening, reason: str) -> None:
        self._act(*self._supervisor.handle(happening, reason, time.monotonic()))

    def _act(self, action: Action, transition: Transition | None) -> None:
        if transition is not None:
            old, new = (_WORDS.get(phase, phase.value) for phase in (transition.old, transition.new))
            self._on_change(Event("bfd", old, new, transition.reason))
        if action is Action.SPAWN:
            self._spawn()
        elif action is Action.KILL and self._process is not None:
            self._process.signal(signal.SIGKILL)

    def _spawn(self) -> None:
        argv = self._argv()
        self._told = 0
        try:
            self._process = Process.spawn(argv, _ENVIRONMENT, self._files.log, account(None))
        except ProcessError as error:
            self._handle(Happening.EXITED, str(error))
            return
        self._watch(self._process)
        identity = Identity(self._process.pid, start_ticks(self._process.pid) or 0, self._digest())
        try:
            save_identity(self._files.identity, identity)
        except OSError as error:  # the next daemon cannot adopt it, which the heartbeats take care of
            self._on_change(Event("bfd", "starting", "starting", f"{self._files.identity}: {error.strerror}"))

    def _watch(self, process: Process) -> None:
        asyncio.get_running_loop().add_reader(process.fileno(), self._exited, process)

    def _exited(self, process: Process) -> None:
        asyncio.get_running_loop().remove_reader(process.fileno())
        reason, self._process = process.reap("BFD"), None
        self._hang_up()
        words = self._files.last_words()
        self._handle(Happening.EXITED, f"{reason}; last words: {words}" if words else reason)

    async def _adopt_or_end(self) -> bool:
        process = await adopt_or_end(self._files.identity, self._digest(), signal.SIGTERM, STOP_LIMIT, "BFD")
        if process is None:
            return False
        self._process = process
        self._watch(process)
        return True

    def _argv(self) -> list[str]:
        user = self.config.user if os.geteuid() == 0 else None
        return [sys.executable, "-I", "-m", "bgp.bfd", str(self._files.path), user or "", str(self.config.priority)]

    def _digest(self) -> str:
        """Of what cannot be changed by an order; a new version of the program is no reason to break a session."""
        assert self._runner is not None
        known = [self._argv()[1:], self._runner.uid, PROTOCOL]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()


_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
