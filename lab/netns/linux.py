"""The Linux calls that Python 3.11 has no names for: mounts, namespaces, interface ioctls. Every failure is an OSError.

Source: mount(2), setns(2), unshare(2), pivot_root(2), prctl(2), netdevice(7), linux/ethtool.h.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

CLONE_FS = 0x200
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

_PR_SET_CHILD_SUBREAPER = 36
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFINDEX, _SIOCETHTOOL = 0x8913, 0x8914, 0x8933, 0x8946
_IFF_UP = 1
_PF_EXITING = 4
_ETHTOOL_STXCSUM = 0x17
_ETHTOOL_GET = {"tx": 0x16, "tso": 0x1E, "gso": 0x23, "gro": 0x2B}
_LAST = 19  # a nice value: about a seventieth of what others get
_IFREQ_ROOM = 64  # struct ifreq takes 40 bytes on 64-bit machines

_libc = ctypes.CDLL(None, use_errno=True)
R = TypeVar("R")


def _check(result: int, what: str) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2); empty texts stand for NULL."""
    arguments = [text.encode() or None for text in (source, target, fstype)]
    result = _libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None)
    _check(result, f"mount {fstype or source} on {target}")


def unmount(target: str) -> None:
    """Detach the mount at `target` from the tree; it goes for good when nothing uses it."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Make `source` appear at `target`, with what is mounted below it."""
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def unshare(flags: int) -> None:
    """unshare(2), for the calling thread."""
    _check(_libc.unshare(flags), "unshare")


def setns(path: str, kind: int) -> None:
    """setns(2), for the calling thread: enter the namespace that `path` names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, kind), f"setns {path}")
    finally:
        os.close(descriptor)


def pivot_root_here() -> None:
    """Make the current directory the root of this mount namespace.

    The old root lies on top of it until `unmount(".")`, which must come before any chdir; paths from / are new already.
    """
    machine = os.uname().machine
    if machine not in _PIVOT_ROOT:
        raise OSError(f"pivot_root: its number on {machine} is not known")
    _check(_libc.syscall(_PIVOT_ROOT[machine], b".", b"."), "pivot_root")


def set_hostname(name: str) -> None:
    """sethostname(2), for this UTS namespace."""
    _check(_libc.sethostname(name.encode(), len(name.encode())), "sethostname")


def become_subreaper() -> None:
    """From now on orphaned descendants become children of this process, so that it can reap them."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def in_thread(function: Callable[[], R]) -> R:
    """Run `function` in a thread of its own, which may change its namespaces as it likes; hands on its exception."""
    results: list[R] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def in_netns(path: Path | str, function: Callable[[], R]) -> R:
    """Run `function` in the network namespace that `path` names."""

    def run() -> R:
        setns(str(path), CLONE_NEWNET)
        return function()

    return in_thread(run)


def set_up(interface: str, handle: socket.socket | None = None) -> None:
    """Bring an interface up: of the namespace where the socket `handle` was opened, by default of the thread's."""
    asked = _interface_ioctl(_SIOCGIFFLAGS, struct.pack("16sH", interface.encode(), 0), handle)
    flags = struct.unpack_from("16sH", asked)[1] | _IFF_UP
    _interface_ioctl(_SIOCSIFFLAGS, struct.pack("16sH", interface.encode(), flags), handle)


def transmit_checksum_off(interface: str, handle: socket.socket | None = None) -> None:
    """What `ethtool -K INTERFACE tx off` does: the kernel computes every checksum before a packet leaves.

    The interface is in the namespace where the socket `handle` was opened; by default in the thread's.
    """
    _ethtool(interface, _ETHTOOL_STXCSUM, 0, handle)


def interface_index(interface: str, handle: socket.socket) -> int:
    """The number of an interface in the namespace of the socket `handle`; 0 when there is none of that name."""
    try:
        answer = _interface_ioctl(_SIOCGIFINDEX, struct.pack("16s", interface.encode()), handle)
    except OSError as error:
        if error.errno == errno.ENODEV:
            return 0
        raise
    return int(struct.unpack_from("16si", answer)[1])


def offloads(interface: str) -> frozenset[str]:
    """Which of tx, tso, gso and gro are on, as `ethtool -K` names them."""
    return frozenset(name for name, command in _ETHTOOL_GET.items() if _ethtool(interface, command, 0))


def _ethtool(interface: str, command: int, value: int, handle: socket.socket | None = None) -> int:
    request = ctypes.create_string_buffer(struct.pack("II", command, value))
    _interface_ioctl(_SIOCETHTOOL, struct.pack("16sP", interface.encode(), ctypes.addressof(request)), handle)
    return int(struct.unpack_from("II", request.raw)[1])


def _interface_ioctl(number: int, request: bytes, handle: socket.socket | None = None) -> bytes:
    if handle is None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as fresh:
            return _interface_ioctl(number, request, fresh)
    try:
        return fcntl.ioctl(handle, number, request.ljust(_IFREQ_ROOM, b"\0"))
    except OSError as error:
        name = request[:16].rstrip(b"\0").decode()
        raise OSError(error.errno, f"interface {name}: {os.strerror(error.errno or 0)}") from None


def give_way(pid: int, *, to_others: bool) -> None:
    """Let the session that process `pid` leads have the processor only where others leave it, or its share again.

    By the nice value of its autogroup (sched(7)), so it holds for all programs of the session and for those to come.
    Nothing happens where the kernel has no autogroups, or where the process is gone.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(_LAST if to_others else 0))


def start_time(pid: int) -> int:
    """When process `pid` started, in clock ticks since boot: tells it from a later one of that pid. 0 if it is gone.

    One that is exiting counts as gone: PID 1 of a namespace stays so until every process there has been collected.
    """
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] not in "ZX" and not int(fields[6]) & _PF_EXITING:
            return int(fields[19])
    return 0
