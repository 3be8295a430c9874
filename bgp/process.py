"""ExaBGP as a process: started without privilege, recognised later by its start time, watched and killed by pidfd."""

import contextlib
import json
import os
import pwd
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self


class ProcessError(Exception):
    """ExaBGP could not be started or recognised; the text says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that ExaBGP runs as."""

    name: str
    uid: int
    gid: int


def account(user: str | None) -> Account:
    """The account to run as: `user` when we are root, ourselves otherwise. Raises ProcessError."""
    try:
        if os.geteuid() != 0 or user is None:
            own = pwd.getpwuid(os.geteuid())
            return Account(own.pw_name, os.geteuid(), os.getegid())
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ProcessError(f"user is {user!r}, expected an account of this machine") from None
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        raise ProcessError(f"user is {user!r}, expected one that is not root")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def unprivileged(argv: Sequence[str], runner: Account, low_ports: bool = False) -> list[str]:
    """`argv` as that account without any capability or a way to one; unchanged if we already are the account.

    With `low_ports` it may listen on ports below 1024, and has no other capability.
    """
    if runner.uid == os.geteuid():
        return list(argv)
    drop = ["setpriv", "--reuid", str(runner.uid), "--regid", str(runner.gid), "--clear-groups", "--no-new-privs"]
    kept = "-all,+net_bind_service" if low_ports else "-all"
    drop += ["--bounding-set", kept, "--inh-caps", kept, *(["--ambient-caps", kept] if low_ports else [])]
    return [*drop, "--", *argv]


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that another one of the same number cannot be mistaken for; `config` is a digest of what it runs."""

    pid: int
    start_ticks: int
    config: str


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat (proc(5)), None if there is no such process or it is a zombie."""
    fields = _stat(pid)
    return int(fields[19]) if fields and fields[0] not in ("Z", "X") else None


def parent_of(pid: int) -> int | None:
    """The parent's number, None if there is no such process."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def _stat(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def save_identity(path: Path, identity: Identity) -> None:
    """Replace the file whole, readable by us only."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(asdict(identity), file)
    fresh.replace(path)


def load_identity(path: Path) -> Identity | None:
    """What `save_identity` wrote, None if there is nothing readable."""
    try:
        plain = json.loads(path.read_text())
        return Identity(int(plain["pid"]), int(plain["start_ticks"]), str(plain["config"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Process:
    """One running ExaBGP, our child or adopted. `fileno()` becomes readable when it ends."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    @classmethod
    def spawn(
        cls, argv: Sequence[str], env: Mapping[str, str], log: Path, runner: Account, low_ports: bool = False
    ) -> Self:
        """Start `argv` in a session of its own, stdin from /dev/null, all output to `log`. Raises ProcessError."""
        try:
            with log.open("ab") as output:
                child = subprocess.Popen(
                    unprivileged(argv, runner, low_ports),
                    env=dict(env),
                    cwd="/",
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            raise ProcessError(f"{argv[0]} cannot be started: {error}") from None
        child.returncode = 0  # `reap` waits for it, not Popen
        return cls(child.pid, os.pidfd_open(child.pid))

    @classmethod
    def adopt(cls, identity: Identity) -> Self | None:
        """Take over a process that an earlier daemon started, None if it is gone or its number is another's now."""
        try:
            pidfd = os.pidfd_open(identity.pid)
        except OSError:
            return None
        if start_ticks(identity.pid) != identity.start_ticks:
            os.close(pidfd)
            return None
        return cls(identity.pid, pidfd)

    def fileno(self) -> int:
        """The pidfd."""
        return self._pidfd

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended gets none, and none goes astray."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def ended(self) -> bool:
        """Whether it has ended."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def reap(self, name: str = "ExaBGP") -> str:
        """Forget an ended process; says how it ended as far as we may know, with `name` as its subject."""
        try:
            status = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            status = None
        os.close(self._pidfd)
        if status is None:
            return f"{name} ended"
        if status.si_code == os.CLD_EXITED:
            return f"{name} exited with status {status.si_status}"
        return f"{name} was killed by {signal.Signals(status.si_status).name}"
