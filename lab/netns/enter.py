"""Runs a program inside a running node, as a direct child of the caller.

A thread enters the node's namespaces and starts the program from there: no helper process stands between, so signals,
exit codes and pipes are the program's own.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab.netns import linux

_ORDER = (  # the mount namespace last: the others are found in the host's /proc
    ("net", linux.CLONE_NEWNET),
    ("uts", linux.CLONE_NEWUTS),
    ("ipc", linux.CLONE_NEWIPC),
    ("pid", linux.CLONE_NEWPID),
    ("mnt", linux.CLONE_NEWNS),
)


def popen(pid: int, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """`subprocess.Popen(argv, **options)` in all namespaces of process `pid` and with its environment.

    The program is looked up in the node's PATH. Raises OSError as Popen does, and when the process is gone.
    """
    words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    env = dict(word.decode(errors="surrogateescape").split("=", 1) for word in words if b"=" in word)

    def start() -> subprocess.Popen[str]:
        linux.unshare(linux.CLONE_FS)  # a thread shares its root and working folder with the others until here
        for name, kind in _ORDER:
            linux.setns(f"/proc/{pid}/ns/{name}", kind)
        return subprocess.Popen(argv, env=env, text=True, **options)

    return linux.in_thread(start)
