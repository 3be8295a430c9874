"""The checker's process as the daemon holds it: started without privilege, watched by pidfd, killed by it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from bgp.process import account, unprivileged

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
_NICE = "-10"  # a probe that waits for a processor would look late
_SOONER = ("nice", "-n", _NICE) if os.geteuid() == 0 else ()
MODULE = ("-I", "-m", "edge.checks")


class Child:
    """One checker and the socket to it. `pidfd` becomes readable when it ends."""

    def __init__(self, process: "subprocess.Popen[bytes]", line: socket.socket) -> None:
        self.pid, self.line = process.pid, line
        self._process = process
        self.pidfd = os.pidfd_open(process.pid)

    @classmethod
    def start(cls, user: str, sockets: Mapping[str, socket.socket]) -> Self:
        """Start a checker as `user` where we are root. Raises OSError and ProcessError.

        It dies with the thread that calls this: no checker outlives its daemon, not even a stopped one.
        """
        ours, theirs = socket.socketpair()
        try:
            ours.setblocking(False)
            named = [f"{name}={made.fileno()}" for name, made in sockets.items()]
            argv = [sys.executable, *MODULE, str(theirs.fileno()), *named]
            process = subprocess.Popen(
                [*_SOONER, *unprivileged(["setpriv", "--pdeathsig", "KILL", "--", *argv], account(user))],
                env=_ENVIRONMENT,
                cwd="/",
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *(made.fileno() for made in sockets.values())],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        # Sessions share processors as wholes where the scheduler groups them (sched(7)), whatever is nice inside.
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/autogroup").write_text(_NICE)
        return cls(process, ours)

    def kill(self) -> None:
        """End it now; also one that is stopped."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> str:
        """Let go of one that has ended; says how it did."""
        self.line.close()
        os.close(self.pidfd)
        code = self._process.wait(1)
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"
