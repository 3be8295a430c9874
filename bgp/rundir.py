"""The announcer's directory: only root and the announcer's account can enter it or reach the relay's socket."""

import os
import socket
from pathlib import Path

from bgp.process import Account

LOG_MAX = 256 * 1024
LOG_KEEP = 64 * 1024


class RunDir:
    """Paths below one directory, and the files of which owner and mode matter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.conf = path / "exabgp.conf"
        self.identity = path / "exabgp.pid"
        self.socket = path / "relay.sock"
        self.log = path / "exabgp.log"
        self.env = path / "exabgp.env"

    def prepare(self, runner: Account) -> None:
        """Make the directory if needed, mode 0750, owned by us with the account's group."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._own(self.path, runner, 0o750)
        self.env.write_text("")  # ExaBGP complains about a missing one at every start
        self._own(self.env, runner, 0o640)

    def write_conf(self, text: str, runner: Account) -> None:
        """Replace the configuration whole; it may hold MD5 keys, so it is the account's alone."""
        fresh = self.conf.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(text)
            if os.geteuid() == 0:
                os.fchown(fd, runner.uid, runner.gid)
            os.fchmod(fd, 0o400)
        fresh.replace(self.conf)

    def listen(self, runner: Account) -> socket.socket:
        """The relay's socket, in place of what an earlier daemon left there; connecting needs the account or root."""
        self.socket.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            listener.bind(str(self.socket))
        finally:
            os.umask(before)
        if os.geteuid() == 0:
            os.chown(self.socket, runner.uid, 0)
        listener.listen(4)
        return listener

    def trim_log(self) -> None:
        """Keep the newest part of a log that has grown; ExaBGP appends, so cutting it under its hands is safe."""
        if not self.log.exists() or self.log.stat().st_size <= LOG_MAX:
            return
        with self.log.open("r+b") as file:
            file.seek(-LOG_KEEP, os.SEEK_END)
            kept = file.read()
            file.seek(0)
            file.write(kept)
            file.truncate()

    def last_words(self) -> str:
        """The last line of the log, empty if there is none."""
        try:
            lines = self.log.read_bytes()[-2000:].decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def _own(self, path: Path, runner: Account, mode: int) -> None:
        if os.geteuid() == 0:
            os.chown(path, 0, runner.gid)
        path.chmod(mode)
