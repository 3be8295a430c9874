"""ExaBGP as the speaker runs it: its files, its start, its adoption from an earlier daemon, and its end."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from socket import socket
from typing import Final

from bgp import adoption
from bgp.exabgp_conf import environment, render
from bgp.process import Account, Identity, Process, account, save_identity, start_ticks
from bgp.rundir import RunDir
from bgp.secrets import forbid_core_dumps, read_keys
from bgp.speaker_config import SpeakerConfig

STOP_LIMIT: Final = 2.0
"""Seconds that ExaBGP has to end by itself."""


class ExaBGP:
    """At most one process, with the configuration that was written last. `on_exit` hears how it ended, when it does."""

    def __init__(self, run_dir: Path, on_exit: Callable[[str], None]) -> None:
        self._dir = RunDir(run_dir)
        self._on_exit = on_exit
        self._process: Process | None = None
        self._runner: Account | None = None
        self._conf = ""
        self._low_ports = False
        self.complaint = ""
        """Why what was written last could not be written; empty when it could."""

    @property
    def pid(self) -> int | None:
        """Its number, None when there is no process."""
        return self._process.pid if self._process else None

    def prepare(self, config: SpeakerConfig) -> socket:
        """Make the directory and the files; returns the relay's listening socket.

        Raises ProcessError (no such account, a key that cannot be used) and OSError.
        """
        forbid_core_dumps()
        self._runner = account(config.user)
        self._dir.prepare(self._runner)
        self._write(config)
        return self._dir.listen(self._runner)

    def _write(self, config: SpeakerConfig) -> None:
        assert self._runner is not None
        relay = [sys.executable, "-I", "-m", "bgp.relay", str(self._dir.socket)]
        conf = render(config, relay, read_keys(config, os.environ))
        self._dir.write_conf(conf, self._runner)
        self._conf = conf
        self._low_ports = any(peer.passive and peer.listen < 1024 for peer in config.peers)

    def reload(self, config: SpeakerConfig) -> None:
        """Have the running process read a new configuration; its running relay stays.

        Raises ProcessError and OSError, and then nothing has changed.
        """
        self._write(config)
        if self._process is not None:
            self._process.signal(signal.SIGUSR1)
            self._save_identity(self._process)

    def spawn(self) -> None:
        """Start it. Raises ProcessError."""
        assert self._runner is not None
        argv, env = self._command()
        self._process = Process.spawn(argv, env, self._dir.log, self._runner, self._low_ports)
        self._save_identity(self._process)
        self._watch(self._process)

    async def adopt_or_end(self) -> bool:
        """Take an earlier daemon's process over if it runs what we would run; end it otherwise."""
        process = await adoption.adopt_or_end(self._dir.identity, self._digest(), signal.SIGKILL, STOP_LIMIT)
        if process is None:
            return False
        self._process = process
        self._watch(process)
        return True

    def kill(self) -> None:
        """Close its sessions the one way that always works."""
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    async def close(self, end: bool) -> None:
        """Let go of the process, and end it if asked to; `on_exit` hears nothing of it."""
        process, self._process = self._process, None
        if process is not None:
            asyncio.get_running_loop().remove_reader(process.fileno())
            if end:
                await adoption.end(process, signal.SIGTERM, STOP_LIMIT)
                self._dir.identity.unlink(missing_ok=True)
        self._dir.socket.unlink(missing_ok=True)

    def last_words(self) -> str:
        """The last line of its log."""
        return self._dir.last_words()

    def trim_log(self) -> None:
        """Keep the log small; a disk that is full keeps nobody from working."""
        with contextlib.suppress(OSError):
            self._dir.trim_log()

    def _watch(self, process: Process) -> None:
        asyncio.get_running_loop().add_reader(process.fileno(), self._exited, process)

    def _exited(self, process: Process) -> None:
        asyncio.get_running_loop().remove_reader(process.fileno())
        reason, self._process = process.reap(), None
        self._on_exit(reason)

    def _save_identity(self, process: Process) -> None:
        """Without it the next daemon cannot adopt the process, which its own end or BFD then have to take away."""
        try:
            save_identity(self._dir.identity, Identity(process.pid, start_ticks(process.pid) or 0, self._digest()))
            self.complaint = ""
        except OSError as error:
            self.complaint = f"{self._dir.identity} cannot be written: {error.strerror}"

    def _command(self) -> tuple[list[str], dict[str, str]]:
        assert self._runner is not None
        argv = [sys.executable, "-I", "-m", "bgp.exabgp", "server", str(self._dir.conf)]
        return argv, environment(self._runner.name, str(self._dir.env))

    def _digest(self) -> str:
        """Of all that it runs with."""
        assert self._runner is not None
        known = [*self._command(), version("exabgp"), version("fairhop"), self._runner.uid, self._conf]
        return hashlib.sha256(json.dumps(known).encode()).hexdigest()
