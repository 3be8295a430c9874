"""Keep a dead container's network namespace, where containerlab itself looks for it.

`containerlab stop` moves a node's interfaces to a "parking" namespace /run/netns/clab-park-CONTAINER, and
`containerlab start` fetches them from there. A node that is killed has no time to move anything: its whole namespace
becomes the parking one, by a bind mount made before the kill. The interfaces never go down, so the peers keep their
carrier, and `containerlab start` and `destroy` find what they expect.
"""

import os
import subprocess
from pathlib import Path

from lab.runtime import LabError

NAMED = Path("/run/netns")


def parking(container: str) -> Path:
    """Where the namespace of `container` is kept while it does not run."""
    return NAMED / f"clab-park-{container}"


def is_parked(container: str) -> bool:
    """Whether a namespace is kept for `container`."""
    return _is_mounted(parking(container))


def is_foreign(container: str) -> bool:
    """Whether something other than containerlab's own symlink has the container's name in /run/netns."""
    link = NAMED / container
    return link.exists() and not link.is_symlink()


def park(container: str, netns: Path) -> None:
    """Keep `netns` (a /proc/PID/ns/net) for `container` beyond the life of its processes; raises LabError."""
    kept = parking(container)
    NAMED.mkdir(mode=0o755, exist_ok=True)
    release(container)
    kept.touch(mode=0o444)
    _run("mount", "--bind", str(netns), str(kept))
    _point(NAMED / container, kept)


def release(container: str) -> None:
    """Drop what is kept for `container`: its interfaces go, unless they were moved out; idempotent, raises LabError."""
    kept = parking(container)
    while _is_mounted(kept):
        _run("umount", "--lazy", str(kept))
    kept.unlink(missing_ok=True)


def forget(container: str) -> None:
    """Remove every trace of `container` from /run/netns; idempotent, raises LabError."""
    release(container)
    link = NAMED / container
    if link.is_symlink():
        link.unlink()


def _is_mounted(path: Path) -> bool:
    """Whether a file system is mounted on a file (`Path.is_mount` knows only directories)."""
    try:
        return path.lstat().st_dev != path.parent.stat().st_dev
    except FileNotFoundError:
        return False


def _point(link: Path, target: Path) -> None:
    """Repoint containerlab's own symlink in one step, so that nobody finds it missing."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
