"""What a lab has on this machine, and how to take it all away again, whoever died at whatever moment.

Under /run/fairhop/lab/LAB: `lab.json` (written before anything is made, so that it names all there can be), a pid file
and a log per node, and `root`, the mount point that every node uses in its own mount namespace. The folder is locked by
the lab's guardian for as long as that lives.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.netns import linux
from lab.netns.links import delete_host_interfaces

STATE = Path("/run/fairhop/lab")
_SCHEMA_VERSION = 1
_KILL_PATIENCE = 10.0
_KILL_POLL = 0.002


@dataclass(frozen=True, slots=True)
class LabRecord:
    """`lab.json`. `netns` has each pin by the node that owns it, `descriptions` a digest of how each was described.

    `interfaces` are those that the lab makes in the machine's own network namespace; `host_bridges` are nodes that
    are bridges of the machine.
    """

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
    interfaces: list[str] = field(default_factory=list)
    host_bridges: list[str] = field(default_factory=list)
    long_names: dict[str, str] = field(default_factory=dict)


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


def lock(lab: str, patience: float = 0.0) -> int | None:
    """Make the lab's folder and lock it: the descriptor, or None when a guardian still holds it after `patience`."""
    deadline = time.monotonic() + patience
    while True:
        descriptor = _try_lock(lab)
        if descriptor is not None or time.monotonic() >= deadline:
            return descriptor
        time.sleep(_KILL_POLL)


def _try_lock(lab: str) -> int | None:
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


def write_ready(lab: str, node: str, pid: int) -> None:
    """Remember that the node whose PID 1 is `pid` was found ready; nothing when the lab goes just now."""
    with contextlib.suppress(OSError):
        (folder(lab) / f"{node}.ready").write_text(f"{pid}\n")


def is_ready(lab: str, node: str, pid: int) -> bool:
    """Whether the node was found ready since this PID 1 runs."""
    with contextlib.suppress(OSError):
        return (folder(lab) / f"{node}.ready").read_text() == f"{pid}\n"
    return False


def node_pid(lab: str, node: str) -> int:
    """The pid of the node's running PID 1; 0 when it does not run."""
    try:
        pid, start = (int(word) for word in (folder(lab) / f"{node}.pid").read_text().split())
    except (FileNotFoundError, ValueError):
        return 0
    return pid if start and linux.start_time(pid) == start else 0


def kill(pids: Iterable[int], patience: float = _KILL_PATIENCE) -> None:
    """SIGKILL processes and return when none of them runs. Raises OSError naming those that stay."""
    running = {pid: start for pid in pids if (start := linux.start_time(pid))}
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _wait(lambda: [pid for pid, start in running.items() if linux.start_time(pid) == start], patience)


def kill_nodes(pids: Iterable[int], patience: float = _KILL_PATIENCE) -> None:
    """SIGKILL processes and whatever runs in PID namespaces of theirs; returns, or raises OSError, as `kill` does."""
    pids = list(pids)
    inside = {_identity(f"/proc/{pid}/ns/pid") for pid in pids} - {None, _identity("/proc/self/ns/pid")}
    kill(pids, patience)
    _wait(lambda: list(_inhabitants(inside, "pid")), patience)


def _wait(staying: Callable[[], list[int]], patience: float) -> None:
    """Poll until nobody stays: no pidfd tells of the end that counts here, before a parent has collected the dead."""
    deadline = time.monotonic() + patience
    while left := staying():
        if time.monotonic() > deadline:
            raise OSError(f"processes {left} do not die within {patience:g} s")
        time.sleep(_KILL_POLL)


def remove(lab: str) -> bool:
    """Remove all processes, namespaces, mounts and files of the lab, whose lock is held. False if there was none."""
    record = read(lab)
    if record:
        _kill_all(record)
        delete_host_interfaces(record.interfaces)
        for pin in record.netns.values():
            _unpin(pin)
    shutil.rmtree(folder(lab), ignore_errors=True)
    for path in (STATE, STATE.parent):
        with contextlib.suppress(OSError):
            path.rmdir()
    return record is not None


def _kill_all(record: LabRecord) -> None:
    """Every process in the nodes' network namespaces, until there is none: one may have forked in between.

    Before them the nodes themselves: some may live in the machine's own network namespace.
    """
    nodes = (path.stem for path in folder(record.lab).glob("*.pid"))
    kill_nodes(pid for node in nodes if (pid := node_pid(record.lab, node)))
    own = {_identity(pin) for pin in record.netns.values()} - {None, _identity("/proc/self/ns/net")}
    while rest := list(_inhabitants(own, "net")):
        kill_nodes(rest)


def _inhabitants(namespaces: set[tuple[int, int] | None], kind: str) -> Iterator[int]:
    """Processes that run, this one apart, in one of the namespaces of a kind."""
    others = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    for pid in others:
        if pid != os.getpid() and _identity(f"/proc/{pid}/ns/{kind}") in namespaces and linux.start_time(pid):
            yield pid


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _unpin(pin: str) -> None:
    with contextlib.suppress(OSError):  # ends when nothing is mounted there, as when its maker died before it was
        while True:
            linux.unmount(pin)
    with contextlib.suppress(FileNotFoundError):
        Path(pin).unlink()


def as_json(record: LabRecord) -> dict[str, Any]:
    """The record as plain values."""
    return asdict(record)
