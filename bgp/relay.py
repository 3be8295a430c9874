"""The relay: ExaBGP's only child. `python -I -m bgp.relay SOCKET [graceful=SECONDS] PREFIX...`.

Standard library only, no privilege. Commands go to ExaBGP on stdout, its answers come on stdin, the daemon listens on
SOCKET. All rules are in `bgp.relay_core`; this shell moves bytes, never blocks, and reads everything before it lets
time pass.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final

from bgp.relay_core import RelayCore
from bgp.route import parse_prefix
from bgp.wire import WireError

RECONNECT_EVERY: Final = 0.05
READ_MAX: Final = 1 << 20
PATIENCE: Final = 1.0
"""Seconds that a relay with graceful restart waits for a daemon under an ExaBGP that has had a relay before."""
FRESH: Final = 5.0
"""Seconds after ExaBGP's start within which a relay counts as its first one: it has announced nothing yet."""
_GRACEFUL: Final = "graceful="


class ExaBGPGoneError(Exception):
    """Our stdin or stdout is closed: ExaBGP ended, and its sessions with it."""


class Relay:
    """The selectors loop around a RelayCore."""

    def __init__(self, path: str, arguments: list[str]) -> None:
        self._path = path
        parent = os.getppid()
        if parent == 1:
            raise ExaBGPGoneError
        restart, prefixes = _split(arguments)
        patience = None if restart is None else restart if _age(parent) < FRESH else PATIENCE
        self._core = RelayCore([parse_prefix(text) for text in prefixes], time.monotonic(), patience)
        self._parent = os.pidfd_open(parent)
        self._selector = selectors.DefaultSelector()
        self._daemon: socket.socket | None = None
        self._reconnect_at = 0.0
        self._to_exabgp = b""
        self._to_daemon = b""
        for fd in (0, 1):
            os.set_blocking(fd, False)
        self._selector.register(0, selectors.EVENT_READ)

    def run(self) -> None:
        """Until ExaBGP ends or has to be ended."""
        while self._core.abort is None:
            self._connect()
            self._write()
            self._wait()
            self._core.handle_timer(time.monotonic())
        self._abort(self._core.abort)

    def _connect(self) -> None:
        now = time.monotonic()
        if self._daemon is not None or now < self._reconnect_at:
            return
        self._reconnect_at = now + RECONNECT_EVERY
        daemon = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        daemon.setblocking(False)
        try:
            daemon.connect(self._path)
        except OSError:
            daemon.close()
            return
        self._daemon, self._to_daemon = daemon, b""
        self._selector.register(daemon, selectors.EVENT_READ)
        self._core.daemon_connected(now)

    def _disconnect(self) -> None:
        if self._daemon is not None:
            self._selector.unregister(self._daemon)
            self._daemon.close()
            self._daemon = None
            self._core.daemon_lost()

    def _write(self) -> None:
        now = time.monotonic()
        if not self._to_exabgp:
            self._to_exabgp = self._core.exabgp_output(now)
        if self._to_exabgp:
            self._to_exabgp = self._to_exabgp[_written(1, self._to_exabgp) :]
        self._watch_stdout(bool(self._to_exabgp))
        if self._daemon is not None:
            self._write_daemon(self._daemon, now)

    def _write_daemon(self, daemon: socket.socket, now: float) -> None:
        if not self._to_daemon:
            self._to_daemon = self._core.daemon_output(now)
        try:
            if self._to_daemon:
                self._to_daemon = self._to_daemon[daemon.send(self._to_daemon) :]
        except BlockingIOError:
            pass
        except OSError:
            self._disconnect()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._to_daemon else 0)
        self._selector.modify(daemon, wanted)

    def _watch_stdout(self, wanted: bool) -> None:
        if wanted != (1 in self._selector.get_map()):
            if wanted:
                self._selector.register(1, selectors.EVENT_WRITE)
            else:
                self._selector.unregister(1)

    def _wait(self) -> None:
        deadline = self._core.next_deadline(daemon_writable=not self._to_daemon)
        if self._daemon is None:
            deadline = min(deadline, self._reconnect_at)
        for key, events in self._selector.select(max(0.0, deadline - time.monotonic())):
            if not events & selectors.EVENT_READ:
                continue
            if key.fd == 0:
                self._read_exabgp()
            elif self._daemon is not None:
                self._read_daemon(self._daemon)

    def _read_exabgp(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(0, READ_MAX)
            if not data:
                raise ExaBGPGoneError
            self._core.exabgp_data(data, time.monotonic())

    def _read_daemon(self, daemon: socket.socket) -> None:
        try:
            data = daemon.recv(READ_MAX)
            if data:
                self._core.daemon_data(data, time.monotonic())
                return
        except BlockingIOError:
            return
        except (OSError, WireError) as error:
            sys.stderr.write(f"relay: daemon dropped: {error}\n")
        self._disconnect()

    def _abort(self, reason: str) -> None:
        """Killing ExaBGP is the one way left to take its routes back: its sessions close with it."""
        sys.stderr.write(f"relay: {reason}: killing ExaBGP\n")
        if self._daemon is not None:
            self._write_daemon(self._daemon, time.monotonic())
        signal.pidfd_send_signal(self._parent, signal.SIGKILL)


def _split(arguments: list[str]) -> tuple[float | None, list[str]]:
    """The restart time, None without graceful restart, and the prefixes."""
    if arguments and arguments[0].startswith(_GRACEFUL):
        return float(arguments[0].removeprefix(_GRACEFUL)), arguments[1:]
    return None, arguments


def _age(pid: int) -> float:
    """Seconds from the start of a process to ours, by field 22 of /proc/PID/stat (proc(5))."""

    def started(which: int | str) -> int:
        return int(Path(f"/proc/{which}/stat").read_text().rpartition(")")[2].split()[19])

    return (started("self") - started(pid)) / os.sysconf("SC_CLK_TCK")


def _written(fd: int, data: bytes) -> int:
    try:
        return os.write(fd, data)
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        raise ExaBGPGoneError from None


def main() -> int:
    """Entry point; arguments are checked by who wrote ExaBGP's configuration."""
    try:
        Relay(sys.argv[1], sys.argv[2:]).run()
    except ExaBGPGoneError:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
