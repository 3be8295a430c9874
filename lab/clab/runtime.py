"""The lab on containerlab and Docker: what `lab.netns` does with namespaces, done by containerlab 0.79.

containerlab deploys, starts and destroys. This adds what it has no verb for: a node that dies at once and keeps its
links; readiness asked often (Docker's own health checks wait a whole interval before the first question); and commands
entered into the node's namespaces directly, for `docker exec` takes 90 ms, which would count as the edge's own delay.
"""

import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

from lab.clab import docker, parking
from lab.clab.docker import Container
from lab.clab.strays import forget_faults, remove_strays
from lab.clab.tool import ContainerlabTool
from lab.netns import enter
from lab.netns.readiness import NodeAccess, wait_ready
from lab.runtime import Completed, LabError, NodeStatus, Progress, finish
from lab.topology.model import Topology

_DIES_WITHIN = 5.0
_GRACE = 10.0
_OF_PROCESS = re.compile(r"/proc/(\d+)/ns/net")


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
        self._spawned: dict[str, WeakSet[subprocess.Popen[str]]] = {node: WeakSet() for node in topology.nodes}

    def deploy(self, progress: Progress) -> None:
        """Bring every node and link up and wait until all are ready; what already runs as described stays."""
        docker.require_daemon()
        if foreign := [long for long in self._long.values() if parking.is_foreign(long)]:
            raise LabError(
                f"{parking.NAMED}/{foreign[0]} is there already: another runtime has this lab up; take it down"
            )
        broken = self._unusable(self._images())
        if broken:
            progress(f"not as described: {', '.join(broken)}; deploying the whole lab anew")
            self.destroy(progress)
        try:
            self._tool.run("deploy", progress=progress)
        except LabError as error:
            raise LabError("; ".join([str(error), *self._dead()])) from error
        self._await_ready(self._topology.nodes)

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
        forget_faults(self._topology.name)
        if not docker.labelled("containerlab"):
            docker.remove_networks("containerlab")  # the management network: a failed deploy leaves it behind
            remove_strays()

    def nodes(self) -> list[NodeStatus]:
        """All nodes in the file's order; `state` is Docker's word, or "absent"."""
        found = docker.containers(self._long.values())
        return [self._status(node, found.get(long)) for node, long in self._long.items()]

    def exec(self, node: str, argv: Sequence[str], timeout: float = 30.0) -> Completed:
        """Run a command in the node to its end; after `timeout` seconds it is killed and LabError raised."""
        return finish(self._popen(node, argv, subprocess.DEVNULL), node, argv, timeout)

    def spawn(self, node: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command in the node; its three pipes are text, and it is a child of this process."""
        return self._popen(node, argv, subprocess.PIPE)

    def netns(self, node: str) -> Path:
        """The node's namespace; that of a killed node is the one its links wait in."""
        long = self._container_name(node)
        if parking.is_parked(long):
            return parking.parking(long)
        return Path(f"/proc/{self._pid(node)}/ns/net")

    def kill(self, node: str) -> None:
        """SIGKILL every process of the node at once: PID 1's death takes the others. Its links stay up."""
        self._end(node, grace=0.0)

    def stop(self, node: str) -> None:
        """SIGTERM to the node's PID 1, SIGKILL after Docker's grace of 10 s; its links stay. Nothing if it is dead."""
        if self._runs(node):
            self._end(node, grace=_GRACE)

    def restart(self, node: str) -> None:
        """Stop the node and start it with the links it had; returns when it is ready."""
        self.stop(node)
        self.start(node)

    def _end(self, node: str, grace: float) -> None:
        container = self._running(node)
        if container.restart_policy != "no":
            raise LabError(
                f"{node}: restart-policy is '{container.restart_policy}': Docker would revive it without its links; "
                'set restart-policy: "no" in the topology'
            )
        with _process(container.pid) as descriptor:
            parking.park(container.name, Path(f"/proc/{container.pid}/ns/net"))
            if grace:
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                with suppress(LabError):
                    _until(lambda: self._is_over(node, descriptor), grace, node)
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            _until(lambda: self._is_over(node, descriptor), _DIES_WITHIN, f"{node}: PID {container.pid} still runs")
        _until(lambda: not self._runs(node), _DIES_WITHIN, f"{node}: is dead, but Docker still calls it running")

    def start(self, node: str) -> None:
        """Start a killed node; containerlab moves the kept links to its new namespace, and the node's start script
        applies the addresses again."""
        if not parking.is_parked(self._container_name(node)):
            raise LabError(f"{node}: no links are kept for it, so it was not killed by this lab: deploy the lab anew")
        self._tool.run("start", "--node", node)
        self._await_ready([node])

    def _popen(self, node: str, argv: Sequence[str], stdin: int) -> subprocess.Popen[str]:
        pid = self._pid(node)
        pipe = subprocess.PIPE
        try:
            process = enter.popen(
                pid, argv, stdin=stdin, stdout=pipe, stderr=pipe, errors="replace", start_new_session=True
            )
        except OSError as error:
            raise LabError(f"{node}: `{argv[0]}` cannot run: {error.strerror}") from None
        self._spawned[node].add(process)
        return process

    def _is_over(self, node: str, descriptor: int) -> bool:
        """Whether the node's PID 1 has ended, which it cannot before the dead that we put there are reaped."""
        for process in self._spawned[node]:
            process.poll()
        return bool(select.select([descriptor], [], [], 0)[0])

    def _await_ready(self, nodes: Iterable[str]) -> None:
        """Wait until each node's health check passes; raises LabError for one that fails it or has ended."""
        stopped = threading.Event()
        access = NodeAccess(self.start, self.exec, self._runs, lambda node: docker.last_words(self._long[node]))
        waiting = [self._topology.nodes[node] for node in nodes]
        with ThreadPoolExecutor(len(waiting)) as pool:
            try:
                for _ in pool.map(lambda node: wait_ready(node, access, stopped), waiting):
                    pass
            finally:
                stopped.set()
        if dead := self._dead():
            raise LabError("; ".join(dead))

    def _dead(self) -> list[str]:
        """What the nodes that have ended said at last; a killed node is not among them."""
        ended = [each.name for each in self.nodes() if each.state == "exited"]
        return [
            f"{node} has ended: {docker.last_words(self._long[node]) or 'no output'}"
            for node in ended
            if not parking.is_parked(self._long[node])
        ]

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

    def _pid(self, node: str) -> int:
        """PID 1 of a running node, on the host: from containerlab's link in /run/netns, else from Docker."""
        long = self._container_name(node)
        link = parking.NAMED / long
        match = _OF_PROCESS.fullmatch(str(link.readlink())) if link.is_symlink() else None
        if match and _belongs(int(match[1]), long):
            return int(match[1])
        return self._running(node).pid

    def _running(self, node: str) -> Container:
        long = self._container_name(node)
        container = docker.containers([long]).get(long)
        if container is None or not container.pid:
            raise LabError(f"{node}: does not run ({container.state if container else 'no such container'})")
        return container

    def _runs(self, node: str) -> bool:
        found = docker.containers([self._container_name(node)]).values()
        return any(container.pid for container in found)

    def _container_name(self, node: str) -> str:
        if node not in self._long:
            raise LabError(f"no node '{node}' in lab {self._topology.name}: it has {', '.join(self._long)}")
        return self._long[node]


def _belongs(pid: int, container: str) -> bool:
    """Whether the process is one of the container's, and not another that was given the number since."""
    try:
        words = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return f"CLAB_LABEL_CLAB_NODE_LONGNAME={container}".encode() in words


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
        time.sleep(0.01)
