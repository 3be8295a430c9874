"""The BPF file system: where pins keep links and maps alive when no process holds them."""

import ctypes
import errno as codes
import fcntl
import os
from pathlib import Path

from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.libbpf import Handle, call

_BPF_FS_MAGIC = 0xCAFE4A11
_STATFS_BYTES = 256  # more than any struct statfs; f_type comes first


def is_bpffs(path: Path) -> bool:
    """Tell whether an existing path lies on a bpffs."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), buffer):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], "little") & 0xFFFFFFFF == _BPF_FS_MAGIC


def make_directory(path: Path) -> None:
    """Make `path` and its missing parents on a bpffs. Raises `BpfError` that names the mount command when needed."""
    attempted = f"make the pin directory {path}"
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    if not is_bpffs(existing):
        mount_at = path.parent if existing != path else path
        fix = f"Mount one: `mkdir -p {mount_at} && mount -t bpf bpf {mount_at}`"
        raise BpfError(Step.PIN, attempted, detail=f"{existing} is not on a BPF file system", fix=fix)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BpfError(Step.PIN, attempted, error.errno or 0) from error


def pin(handle: Handle, path: Path) -> None:
    """Give a map, program or link a name that outlives this process; the kernel refuses a dot in the file name."""
    call(Step.PIN, f"pin {path}", "bpf_obj_pin", handle.fileno(), os.fsencode(path))


def unpin(path: Path) -> None:
    """Remove one pin; absence is no error. What nothing else refers to goes with it."""
    path.unlink(missing_ok=True)


class DirectoryLock(Handle):
    """Held by the one process that drives what is pinned in a directory; the kernel drops it with the process."""

    def __init__(self, path: Path) -> None:
        super().__init__(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        try:
            fcntl.flock(self.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            attempted = f"take the pin directory {path}"
            if error.errno != codes.EWOULDBLOCK:
                raise BpfError(Step.PIN, attempted, error.errno or 0) from error
            fix = "Stop the other process (`fuser -v` on the directory names it), or use another pin directory"
            raise BpfError(Step.PIN, attempted, detail="another process drives it", fix=fix) from error
