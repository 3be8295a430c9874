"""Waits until a node is ready, as its health check in the topology says."""

import shlex
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lab.runtime import Completed, LabError
from lab.topology.model import Healthcheck, Node

_FIRST_PAUSE, _LONGEST_PAUSE = 0.3, 0.6  # each question costs a process in the node while others still start


@dataclass(frozen=True, slots=True)
class NodeAccess:
    """What is done to nodes by name: start one, run a command in one, see whether it runs, read its log's end."""

    start: Callable[[str], None]
    exec: Callable[[str, Sequence[str], float], Completed]
    is_running: Callable[[str], bool]
    log_tail: Callable[[str], str]


def wait_ready(node: Node, access: NodeAccess, stopped: threading.Event) -> None:
    """Ask the node's health check, if it has one, more often than Docker does, until it is content.

    Raises `LabError` when the node ends, when Docker would call it unhealthy, or when `stopped` is set.
    """
    check = node.healthcheck
    argv = _health_argv(check) if check else []
    if not check or not argv:
        return
    deadline = time.monotonic() + check.start_period + check.retries * (check.interval + check.timeout)
    pause = _FIRST_PAUSE
    while words := _complaint(node.name, argv, access, check.timeout):
        ended = not access.is_running(node.name)
        if ended or time.monotonic() >= deadline:
            state = "ended before it was ready" if ended else f"is not healthy: {words}"
            raise LabError(f"node {node.name} {state}; its log ends: {access.log_tail(node.name)}")
        if stopped.wait(pause):
            raise LabError("the deployment was cancelled")
        pause = min(pause * 1.2, _LONGEST_PAUSE)


def _complaint(node: str, argv: Sequence[str], access: NodeAccess, timeout: float) -> str:
    try:
        done = access.exec(node, argv, timeout)
    except LabError as error:
        return str(error)
    return f"'{shlex.join(argv)}' exits with {done.returncode} {done.stderr or done.stdout}" if done.returncode else ""


def _health_argv(check: Healthcheck) -> list[str]:
    """Docker's forms: CMD word..., CMD-SHELL text, NONE; anything else is a plain argv."""
    kind, *words = check.test
    match kind:
        case "NONE":
            return []
        case "CMD":
            return words
        case "CMD-SHELL":
            return ["/bin/sh", "-c", " ".join(words)]
    return list(check.test)
