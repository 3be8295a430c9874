"""What a lab needs of whatever runs its nodes. Two implementations: `lab.netns` and `lab.clab.runtime`."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Progress = Callable[[str], None]


class LabError(Exception):
    """The lab could not do what was asked; the text says what, where and what to do about it."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """One node as the runtime sees it. `pid` is that of the node's PID 1 on the host, 0 when it does not run."""

    name: str
    state: str
    pid: int
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command in a node."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class DeployTimes:
    """Seconds from the call of `deploy` until all nodes ran and had their links, and until all were ready."""

    linked: float
    ready: float


class Runtime(Protocol):
    """Deploys one topology and reaches into its nodes. Methods raise `LabError`.

    A node has a PID 1 (`NodeStatus.pid`), whose death ends all its processes, and a network namespace (`netns`) that
    keeps the links while it is dead. A node that is a bridge in another node, or the machine itself, has no process of
    its own: `kill`, `stop`, `start` and `restart` refuse it.
    """

    name: str

    def deploy(self, progress: Progress) -> None:
        """Bring every node and link up; idempotent: what already runs as described stays."""

    def destroy(self, progress: Progress) -> None:
        """Remove everything the lab made, also what a crashed run left; idempotent."""

    def nodes(self) -> list[NodeStatus]:
        """All nodes of the topology, running or not, in the file's order."""

    def exec(self, node: str, argv: Sequence[str], timeout: float = 30.0) -> Completed:
        """Run a command in the node (all its namespaces) to its end; a non-zero exit is no error here."""

    def spawn(self, node: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command in the node; stdin, stdout and stderr are text pipes."""

    def netns(self, node: str) -> Path:
        """A path that opens as the node's network namespace, for setns."""

    def kill(self, node: str) -> None:
        """SIGKILL every process of the node at once; its links and their carrier stay up."""

    def start(self, node: str) -> None:
        """Start a killed node again with the links it had; returns when it is ready as the topology defines."""

    def stop(self, node: str) -> None:
        """End a node's programs, SIGTERM first and SIGKILL after a grace; its links stay, as after `kill`."""

    def restart(self, node: str) -> None:
        """`stop`, then `start`: the node has the links it had; returns when it is ready."""


def finish(process: subprocess.Popen[str], node: str, argv: Sequence[str], timeout: float) -> Completed:
    """Wait for a command in a node; after `timeout` seconds, or when interrupted, it is killed. Raises `LabError`."""
    with process:
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise LabError(f"node {node}: '{' '.join(argv)}' took longer than {timeout:g} s") from None
            raise
    return Completed(tuple(argv), process.returncode, stdout, stderr)
