"""What the process keeps of root's rights: the processor first, and memory that stays. No more."""

import ctypes
import os
from typing import Final

from bgp.process import Account

_MCL_CURRENT: Final = 1
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAP_LAST: Final = 63


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
    """Lock what is mapped now (mlockall(2)), so that no page fault waits for a disk; why not, or an empty text."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT) == 0:
        return ""
    return f"without locked memory: {os.strerror(ctypes.get_errno())}"


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
