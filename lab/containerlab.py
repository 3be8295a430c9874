"""The lab on containerlab and Docker: what `lab.netns` does with namespaces, done by containerlab 0.79.

containerlab deploys, starts and destroys; this adds what it has no verb for: a node that dies at once and keeps its
links, and readiness asked often. Docker's own health checks wait a whole interval before the first question.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from lab import docker, parking
from lab.clab_tool import ContainerlabTool
from lab.docker import Container, ExecProcess
from lab.runtime import Completed, LabError, NodeStatus, Progress
from lab.topology_model import Topology

_READY_WITHIN = 60.0
_READY_POLL = 0.1
_DIES_WITHIN = 5.0
_ASK_AT_ONCE = 4  # readiness questions in flight: each costs Docker a tenth of a second of processor time


class ContainerlabRuntime:
    """Runs `topology` with containerlab on the local Docker daemon; needs root. Implements `lab.runtime.Runtime`.

    `binary` is the containerlab command, or one that wraps it. Default: $FAIRHOP_CONTAINERLAB, else build/containerlab
    of the checkout, else the one on PATH.
    """

    name = "containerlab"

    def __init__(self, topology: Topology, binary: str | None = None) -> None:
        self._topology = topology
        self._tool = ContainerlabTool(Path(topology.folder) / Path(topology.file).name, topology.name, binary)
        self._long = {node: topology.long_name(node) for node in topology.nodes}

    def deploy(self, progress: Progress) -> None:
        """Bring every node and link up and wait until all are ready; what already runs as described stays."""
        docker.require_daemon()
        images = self._images()
        broken = self._unusable(images)
        if broken:
            progress(f"not as described: {', '.join(broken)}; deploying the whole lab anew")
            self.destroy(progress)
        try:
            self._tool.run("deploy", progress=progress)
        except LabError as error:
            raise LabError("; ".join([str(error), *self._dead()])) from error
        self._ready(self._topology.nodes)

    def destroy(self, progress: Progress) -> None:
        """Remove containers, links, kept namespaces and containerlab's files, whatever state a crash left them in."""
        docker.require_daemon()
        label = f"containerlab={self._topology.name}"
        left = docker.labelled(label)
        if left:
            try:
                self._tool.run("destroy", progress=progress)
            except LabError as error:
                progress(f"{error}; removing the containers one by one")
            for container in docker.labelled(label):
                docker.docker("rm", "--force", "--volumes", container)
        for container in {*left, *self._long.values()}:
            parking.forget(container)
        self._tool.clean()
        if not docker.labelled("containerlab"):
            docker.remove_networks("containerlab")  # the management network: a failed deploy leaves it behind

    def nodes(self) -> list[NodeStatus]:
        """All nodes in the file's order; `state` is Docker's word, or "absent"."""
        found = docker.containers(self._long.values())
        return [self._status(node, found.get(long)) for node, long in self._long.items()]

    def exec(self, node: str, argv: Sequence[str], timeout: float = 30.0) -> Completed:
        """Run a command in the node to its end; after `timeout` seconds it is killed and LabError raised."""
        with self.spawn(node, argv) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise LabError(f"{node}: `{' '.join(argv)}` did not end within {timeout:g} s") from None
        if process.returncode and err.startswith(docker.REFUSALS):
            raise LabError(f"{node}: {err.strip()}")
        return Completed(tuple(argv), process.returncode, out, err)

    def spawn(self, node: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command in the node. Signals sent to what is returned reach the command and its children."""
        return ExecProcess(self._container_name(node), argv)

    def netns(self, node: str) -> Path:
        """The node's namespace; that of a killed node is the one its links wait in."""
        long = self._container_name(node)
        if parking.is_parked(long):
            return parking.parking(long)
        return _netns(self._running(node))

    def kill(self, node: str) -> None:
        """SIGKILL every process of the node at once: PID 1's death takes the others. Its links stay up."""
        container = self._running(node)
        if container.restart_policy != "no":
            raise LabError(
                f"{node}: restart-policy is '{container.restart_policy}': Docker would revive it without its links; "
                'set restart-policy: "no" in the topology'
            )
        with _process(container.pid) as descriptor:
            parking.park(container.name, _netns(container))
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            if not select.select([descriptor], [], [], _DIES_WITHIN)[0]:
                raise LabError(f"{node}: PID {container.pid} still runs {_DIES_WITHIN:g} s after SIGKILL")
        _until(
            lambda: not self._pid(container.name), _DIES_WITHIN, f"{node}: is dead, but Docker still calls it running"
        )

    def start(self, node: str) -> None:
        """Start a killed node; containerlab moves the kept links to its new namespace, and the node's start script
        applies the addresses again."""
        long = self._container_name(node)
        if not parking.is_parked(long):
            raise LabError(f"{node}: no links are kept for it, so it was not killed by this lab: deploy the lab anew")
        self._tool.run("start", "--node", node)
        self._ready([node])

    def _ready(self, nodes: Iterable[str]) -> None:
        """Wait until each node passes its health check, or, without one, runs; raises LabError saying which do not."""
        waiting = list(nodes)
        deadline = time.monotonic() + _READY_WITHIN
        with ThreadPoolExecutor(_ASK_AT_ONCE) as pool:
            while waiting:
                self._require_running(waiting)
                answers = list(pool.map(self._unready, waiting))
                waiting = [node for node, answer in zip(waiting, answers, strict=True) if answer is not None]
                if waiting and time.monotonic() > deadline:
                    why = "; ".join(f"{n}: {a}" for n, a in zip(waiting, filter(None, answers), strict=False))
                    raise LabError(f"not ready after {_READY_WITHIN:g} s: {why}")
                if waiting:
                    time.sleep(_READY_POLL)

    def _unready(self, node: str) -> str | None:
        """None when the node's health check passes, else what it says."""
        check = self._topology.nodes[node].healthcheck
        argv = _health_argv(check.test) if check else ()
        if not check or not argv:
            return None
        try:
            done = self.exec(node, argv, timeout=check.timeout)
        except LabError as error:
            return str(error)
        if done.returncode == 0:
            return None
        return (done.stderr or done.stdout).strip() or f"`{' '.join(argv)}` gives exit code {done.returncode}"

    def _require_running(self, nodes: Iterable[str]) -> None:
        wanted = set(nodes)
        missing = [f"{each.name}: {each.state}" for each in self.nodes() if each.name in wanted and not each.pid]
        if missing:
            raise LabError("; ".join(self._dead() or missing))

    def _dead(self) -> list[str]:
        """What the nodes that have ended said at last."""
        ended = [each for each in self.nodes() if each.state == "exited"]
        return [f"{each.name} has ended: {docker.last_words(self._long[each.name]) or 'no output'}" for each in ended]

    def _images(self) -> dict[str, str]:
        """Name -> id of every image that the topology names; raises LabError when one is missing."""
        wanted = {node.image for node in self._topology.nodes.values()}
        ids = docker.image_ids(wanted)
        missing = sorted(wanted - ids.keys())
        if missing:
            raise LabError(f"Docker has no image {', '.join(missing)}: build the lab's own with `make images`")
        return ids

    def _unusable(self, images: dict[str, str]) -> list[str]:
        """Existing nodes that a deploy would not repair: dead without their links, or of an image built since."""
        found = docker.containers(self._long.values())
        return [
            node
            for node, long in self._long.items()
            if (container := found.get(long))
            and (
                container.image != images[self._topology.nodes[node].image]
                or (container.state != "running" and not parking.is_parked(long))
            )
        ]

    def _status(self, node: str, container: Container | None) -> NodeStatus:
        labels = self._topology.nodes[node].labels
        if container is None:
            return NodeStatus(node, "absent", 0, labels)
        return NodeStatus(node, container.state, container.pid, labels)

    def _running(self, node: str) -> Container:
        long = self._container_name(node)
        container = docker.containers([long]).get(long)
        if container is None or not container.pid:
            raise LabError(f"{node}: does not run ({container.state if container else 'no such container'})")
        return container

    def _pid(self, long: str) -> int:
        container = docker.containers([long]).get(long)
        return container.pid if container else 0

    def _container_name(self, node: str) -> str:
        if node not in self._long:
            raise LabError(f"no node '{node}' in lab {self._topology.name}: it has {', '.join(self._long)}")
        return self._long[node]


def _health_argv(test: tuple[str, ...]) -> tuple[str, ...]:
    """The command of a Docker health check; empty for NONE."""
    if test[:1] == ("CMD",):
        return test[1:]
    return ("sh", "-c", *test[1:]) if test[:1] == ("CMD-SHELL",) else ()


def _netns(container: Container) -> Path:
    return Path(f"/proc/{container.pid}/ns/net")


@contextmanager
def _process(pid: int) -> Iterator[int]:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        raise LabError(f"PID {pid}: has just ended by itself") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _until(holds: Callable[[], bool], within: float, otherwise: str) -> None:
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise LabError(f"{otherwise} after {within:g} s")
        time.sleep(0.02)
