"""Run a function inside a network namespace: what it opens there stays there, whoever uses it afterwards."""

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lab.runtime import LabError

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

Result = TypeVar("Result")


def inside(netns: Path, function: Callable[[], Result]) -> Result:
    """The result of `function`, called in a thread of its own that has entered `netns`.

    setns(2) moves only the calling thread, and the thread ends with the call, so the caller stays where it is and no
    namespace is kept alive by it; a socket that `function` returns keeps its namespace alive until it is closed.
    Raises LabError when the namespace cannot be entered, and whatever `function` raises.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _enter(netns)
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name=f"inside {netns.name}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _enter(netns: Path) -> None:
    try:
        descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(f"{netns}: cannot open the network namespace: {error.strerror}") from error
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise LabError(f"{netns}: cannot enter the network namespace: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)
