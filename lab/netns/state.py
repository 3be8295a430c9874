"""What a lab has on this machine, and how to take it all away again, whoever died at whatever moment.

Under /run/fairhop/lab/LAB: `lab.json` (written before anything is made, so that it names all there can be), a pid file
and a log per node, and `root`, the mount point that every node uses in its own mount namespace. The folder is locked by
the lab's guardian for as long as that lives.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.netns import linux

STATE = Path("/run/fairhop/lab")
_SCHEMA_VERSION = 1
_KILL_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class LabRecord:
    """`lab.json`. `netns` has each node's pin by the node's name, `descriptions` a digest of how each was described."""

    lab: str
    owner: str
    file: str
    netns: dict[str, str]
    descriptions: dict[str, str]
    tool: int
    guardian: int = 0
    guardian_start: int = 0
    kept: bool = False
    schema_version: int = _SCHEMA_VERSION
    labels: dict[str, dict[str, str]] = field(default_factory=dict)


def folder(lab: str) -> Path:
    """Where the lab's state is."""
    return STATE / lab


def read(lab: str) -> LabRecord | None:
    """The lab's record, or None when this machine has no such lab. A damaged or foreign one raises ValueError."""
    path = folder(lab) / "lab.json"
    try:
        return LabRecord(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a record of this version: {error}") from None


def write(record: LabRecord) -> None:
    """Replace the lab's record in one step."""
    path = folder(record.lab) / "lab.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(record), indent=1))
    fresh.rename(path)


def labs() -> list[str]:
    """Names of all labs that this machine knows of."""
    return sorted(path.parent.name for path in STATE.glob("*/lab.json"))


def lock(lab: str) -> int | None:
    """Make the lab's folder and lock it: the descriptor, or None when a guardian holds it."""
    for _ in range(100):
        with contextlib.suppress(FileExistsError):
            folder(lab).mkdir(mode=0o755, parents=True)
        try:
            descriptor = os.open(folder(lab), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # somebody removed it in between
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
    raise OSError(f"{folder(lab)} comes and goes: is another tool cleaning up?")


def write_pid(lab: str, node: str, pid: int) -> None:
    """Remember a node's PID 1, with its start time so that a later process of that pid is not taken for it."""
    path = folder(lab) / f"{node}.pid"
    path.write_text(f"{pid} {linux.start_time(pid)}\n")


def node_pid(lab: str, node: str) -> int:
    """The pid of the node's running PID 1; 0 when it does not run."""
    try:
        pid, start = (int(word) for word in (folder(lab) / f"{node}.pid").read_text().split())
    except (FileNotFoundError, ValueError):
        return 0
    return pid if start and linux.start_time(pid) == start else 0


def kill(pids: Iterable[int], patience: float = _KILL_PATIENCE) -> None:
    """SIGKILL processes and return when all are dead. Raises OSError naming those that stay."""
    open_pids: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            open_pids[os.pidfd_open(pid)] = pid
    poll = select.poll()
    for descriptor in open_pids:
        poll.register(descriptor, select.POLLIN)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    deadline = time.monotonic() + patience
    while open_pids and time.monotonic() < deadline:
        for descriptor, _ in poll.poll(100):
            poll.unregister(descriptor)
            del open_pids[descriptor]
            os.close(descriptor)
    stay = list(open_pids.values())
    for descriptor in open_pids:
        os.close(descriptor)
    if stay:
        raise OSError(f"processes {stay} do not die within {patience:g} s")


def remove(lab: str) -> bool:
    """Remove all processes, namespaces, mounts and files of the lab, whose lock is held. False if there was none."""
    record = read(lab)
    if record:
        _kill_all(record)
        for pin in record.netns.values():
            _unpin(pin)
    shutil.rmtree(folder(lab), ignore_errors=True)
    for path in (STATE, STATE.parent):
        with contextlib.suppress(OSError):
            path.rmdir()
    return record is not None


def _kill_all(record: LabRecord) -> None:
    """PID 1 of each node, then whatever else runs in its network namespace, until nothing does."""
    kill([pid for node in record.netns if (pid := node_pid(record.lab, node))])
    for _ in range(5):
        rest = list(_inhabitants(record.netns.values()))
        if not rest:
            return
        kill(rest)


def _inhabitants(pins: Iterable[str]) -> Iterator[int]:
    """Processes, this one apart, in one of the pinned network namespaces."""
    own = {_identity(pin) for pin in pins} - {None, _identity("/proc/self/ns/net")}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid() and _identity(f"/proc/{entry.name}/ns/net") in own:
            yield int(entry.name)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _unpin(pin: str) -> None:
    with contextlib.suppress(OSError):  # not mounted yet when its maker died
        linux.unmount(pin)
    with contextlib.suppress(FileNotFoundError):
        Path(pin).unlink()


def as_json(record: LabRecord) -> dict[str, Any]:
    """The record as plain values."""
    return asdict(record)
