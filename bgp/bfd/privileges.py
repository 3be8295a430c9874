"""What the process keeps of root's rights: the processor first, and memory that stays. No more."""

import ctypes
import os
import struct
from pathlib import Path
from typing import Final

from bgp.process import Account

_SCHED_DEADLINE: Final = 6
_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
_RUNTIME: Final = 1_500_000
_PERIOD: Final = 5_000_000
"""Nanoseconds. A turn of the loop takes 0.1 to 1 ms."""
_FLAGS: Final = 0x01 | 0x02
"""SCHED_FLAG_RESET_ON_FORK and SCHED_FLAG_RECLAIM (sched_setattr(2)). Without the second, what a turn takes above the
runtime is paid back by standing still, and stolen time counts as taken: 6 ms of it cost up to 14 more.
"""
_MCL_CURRENT: Final = 1
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAP_LAST: Final = 63


def run_on_time(thread: int = 0) -> str:
    """Take SCHED_DEADLINE: RUNTIME of every PERIOD, before all of SCHED_FIFO (sched(7)), for this thread or another.

    Returns why not, or an empty text. SCHED_FIFO is not enough where another real-time process hogs a processor: the
    kernel then gives 50 ms of a second to all others (the fair server), which is longer than a detection time.
    """
    number = _SETATTR.get(os.uname().machine)
    if number is None:
        return f"without SCHED_DEADLINE: not known on {os.uname().machine}"
    attributes = _ATTRIBUTES.pack(_ATTRIBUTES.size, _SCHED_DEADLINE, _FLAGS, 0, 0, _RUNTIME, _PERIOD, _PERIOD)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(number), thread, attributes, 0) != 0:
        return f"without SCHED_DEADLINE: {os.strerror(ctypes.get_errno())}"
    return ""


def run_first(priority: int) -> str:
    """Take SCHED_FIFO at this priority for this thread alone (sched(7)); why not, or an empty text. 0 asks for nothing.

    Threads and processes that it starts are scheduled as ever.
    """
    if not priority:
        return ""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as error:
        return f"without SCHED_FIFO: {error.strerror}"
    return ""


def stay_in_memory() -> str:
    """Lock what is mapped now (mlockall(2)), so that no page fault waits for a disk; why not, or an empty text.

    But for the stack: a locked one that grows beyond RLIMIT_MEMLOCK without CAP_IPC_LOCK is ended by SIGSEGV.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT) != 0:
        return f"without locked memory: {os.strerror(ctypes.get_errno())}"
    start, end = _stack()
    libc.munlock(ctypes.c_void_p(start), ctypes.c_size_t(end - start))
    return ""


def _stack() -> tuple[int, int]:
    """Where the main thread's stack is mapped (proc(5))."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    start, end = next(line for line in lines if line.endswith("[stack]")).split()[0].split("-")
    return int(start, 16), int(end, 16)


def become(runner: Account) -> None:
    """Go on as this account without any capability or a way to one. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs was refused")
    if os.geteuid() == runner.uid:
        return
    for capability in range(_CAP_LAST + 1):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # those that the kernel does not know fail
    os.setgroups([])
    os.setresgid(runner.gid, runner.gid, runner.gid)
    os.setresuid(runner.uid, runner.uid, runner.uid)
