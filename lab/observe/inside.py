"""Run a function inside a node's network namespace: what it opens there stays there, whoever uses it afterwards."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lab.netns import linux
from lab.runtime import LabError

Result = TypeVar("Result")


def inside(netns: Path, function: Callable[[], Result]) -> Result:
    """The result of `function`, called in a thread of its own that has entered `netns`.

    The thread ends with the call, so the caller stays where it is and nothing of this keeps the namespace alive; a
    socket that `function` returns does, until it is closed. Raises LabError when the namespace cannot be entered, and
    whatever `function` raises.
    """

    def run() -> Result:
        try:
            linux.setns(str(netns), linux.CLONE_NEWNET)
        except OSError as error:
            raise LabError(f"{netns}: cannot enter the network namespace: {error.strerror}") from error
        return function()

    return linux.in_thread(run)
