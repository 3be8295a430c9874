"""exec and process: a program that judges, and a process that must not end.

A program is started as written, never by a shell, in a process group of its own with a fixed environment; the group is
killed when the probe ends, however it ends. A process is watched by its pidfd, so that its end is known at once.
"""

import contextlib
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

from edge.checks.asking import IN, Ask, Probe, Verdict

_OUTPUT_MAX = 200  # bytes of output that are shown
_READ = 1 << 14
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_PIDFILE_MAX = 64
CGROUPS = Path("/sys/fs/cgroup/system.slice")
_dying: list["subprocess.Popen[bytes]"] = []


def run(ask: Ask) -> Probe:
    """Run the program to its end."""
    environment = _ENVIRONMENT | {"FAIRHOP_ADDRESS": ask.target.address}
    child = subprocess.Popen(
        ask.target.options["command"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=environment,
        process_group=0,
    )
    try:
        return (yield from _judged(child))
    finally:
        # Also what the program started and left behind: a group outlives its leader. Its number is ours until we reap.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        if child.stdout:
            child.stdout.close()
        _reap(child)


def _reap(child: "subprocess.Popen[bytes]") -> None:
    """Never waits: a process that even SIGKILL does not end at once is looked at again with the next one."""
    _dying.append(child)
    _dying[:] = [each for each in _dying if each.poll() is None]


def _judged(child: "subprocess.Popen[bytes]") -> Probe:
    assert child.stdout is not None
    output, said = child.stdout.fileno(), b""
    os.set_blocking(output, False)
    pidfd = os.pidfd_open(child.pid)
    both = select.epoll(2)
    try:
        both.register(pidfd, IN)
        both.register(output, IN)
        while True:
            yield both.fileno(), IN
            ready = dict(both.poll(0))
            if output in ready:
                piece = _read(output)
                said = (said + piece)[:_OUTPUT_MAX]
                if not piece:
                    both.unregister(output)
            elif pidfd in ready:
                return _status(os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT), said)
    finally:
        both.close()
        os.close(pidfd)


def _read(output: int) -> bytes:
    try:
        return os.read(output, _READ)
    except BlockingIOError:
        return b""


def _status(ended: os.waitid_result | None, said: bytes) -> Verdict:
    text = "".join(c if c.isprintable() else " " for c in said.decode(errors="replace")).strip()
    words = f": {text}" if text else ""
    if ended is None or ended.si_code != os.CLD_EXITED:
        how = signal.Signals(ended.si_status).name if ended else "nobody knows what"
        return Verdict(False, f"killed by {how}{words}")
    return Verdict(ended.si_status == 0, f"status {ended.si_status}{words}")


class Alive:
    """A process that runs, by its pidfd: its number may be given to another one meanwhile without harm."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def fileno(self) -> int:
        """The pidfd."""
        return self._pidfd

    def ended(self) -> str:
        """That it ended; empty when it runs."""
        waiting = select.poll()
        waiting.register(self._pidfd, select.POLLIN)
        return f"process {self.pid} ended" if waiting.poll(0) else ""

    def close(self) -> None:
        """Watch it no more."""
        os.close(self._pidfd)


def process(ask: Ask) -> Probe:
    """Find the process, and watch it from now on."""
    yield from ()
    options: Any = ask.target.options
    found = _unit_pid(options["unit"]) if options["unit"] else _pidfile_pid(options["pidfile"])
    if isinstance(found, str):
        return Verdict(False, found)
    if isinstance(ask.watch, Alive) and ask.watch.pid == found and not ask.watch.ended():
        return Verdict(True, f"process {found}")
    try:
        watch = Alive(found)
    except ProcessLookupError:
        return Verdict(False, f"process {found} does not run")
    if watch.ended():
        watch.close()
        return Verdict(False, f"process {found} has ended")
    return Verdict(True, f"process {found}", watch)


def _pidfile_pid(name: str) -> int | str:
    try:
        with Path(name).open("rb") as file:
            text = file.read(_PIDFILE_MAX).decode(errors="replace").strip()
    except OSError as error:
        hint = "; checks run as an unprivileged user" if isinstance(error, PermissionError) else ""
        return f"cannot read {name}: {error.strerror}{hint}"
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 2**31 else f"{name} holds no number"


def _unit_pid(unit: str) -> int | str:
    """The process of a unit that has run longest, which is the one that systemd started."""
    path = CGROUPS / unit / "cgroup.procs"
    try:
        pids = [int(line) for line in path.read_text().split()]
    except (OSError, ValueError) as error:
        return f"unit {unit} does not run: {getattr(error, 'strerror', None) or error} ({path})"
    begun = [(ticks, pid) for pid in pids if (ticks := _start_ticks(pid)) is not None]
    return min(begun)[1] if begun else f"unit {unit} has no process"


def _start_ticks(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None
