"""The namespace runtime: `lab.runtime.Runtime` without Docker.

A lab belongs to the tool that deployed it until `keep`: when that tool ends, in whatever way, its guardian removes it.
"""

import contextlib
import getpass
import hashlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import edge
import lab
from lab.netns import enter, linux, state
from lab.netns.client import GuardianClient
from lab.netns.deployment import Deployment
from lab.netns.links import LinkLayer
from lab.netns.places import Places
from lab.netns.readiness import NodeAccess, wait_ready
from lab.netns.spec import NodeSpec, Surroundings, labels, node_spec
from lab.runtime import Completed, DeployTimes, LabError, NodeStatus, Progress, finish
from lab.topology import dotenv
from lab.topology.model import HOST, Topology

STOP_GRACE = 10.0  # Docker's, seconds
_IMPORT_ENVIRON = "__IMPORT_ENVS"  # containerlab's: the node gets the tool's own variables
_LOG_TAIL = 2000
_LOCK_PATIENCE = 5.0  # a dying guardian lets go of its lock a moment after it is killed


class NetnsRuntime:
    """Runs one topology. As a context manager it closes at the end."""

    name = "netns"

    def __init__(self, topology: Topology) -> None:
        self._topology = replace(topology, folder=str(Path(topology.folder).resolve()))
        self._places = Places(self._topology, _host_bridges(self._topology))
        self.times: DeployTimes | None = None
        self._client: GuardianClient | None = None
        self._from_files: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def deploy(self, progress: Progress) -> None:
        """Bring the lab up, or what of it does not run; returns when every node is ready.

        Until `keep` is called the lab lives only as long as this object and this process.
        """
        _require_root()
        began = time.monotonic()
        for note in self._topology.notes:
            progress(f"note: {note}")
        self._read_env_files()
        with LinkLayer(self._places) as links:
            client = self._client = self._client or self._guardian()
            if client.existed:
                self._require_same_description()
            told = (self._note_laid, self._note_ready)
            deployment = Deployment(self._topology, self._places, self._access(), links, progress, *told)
            deployment.run(self.close if client.existed else self._abort)
        self.times = DeployTimes(deployment.laid - began, time.monotonic() - began)

    def keep(self) -> None:
        """Let the lab live on after this process."""
        if self._client:
            self._client.keep()
            self._client = None

    def close(self) -> None:
        """Part from the lab: it is removed unless it is kept."""
        if self._client:
            self._client.close()
            self._client = None

    def destroy(self, progress: Progress) -> None:
        """Remove everything the lab has on this machine."""
        _require_root()
        if self._client:
            self._abort()
        else:
            destroy(self._topology.name)
        progress(f"lab {self._topology.name} is gone")

    def nodes(self) -> list[NodeStatus]:
        """All nodes of the topology: running, exited (it ended, its links stay) or absent."""
        return [
            NodeStatus(name, self._state(name), self._pid(name), labels(self._topology, name))
            for name in self._topology.nodes
        ]

    def exec(self, node: str, argv: Sequence[str], timeout: float = 30.0) -> Completed:
        """Run a command in the node to its end; it is killed after `timeout` seconds, which is a `LabError`."""
        return finish(self._popen(node, argv, stdin=subprocess.DEVNULL), node, argv, timeout)

    def spawn(self, node: str, argv: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command in the node; its three pipes are text, and it is a child of this process."""
        return self._popen(node, argv, stdin=subprocess.PIPE)

    def netns(self, node: str) -> Path:
        """Where the node's network namespace is pinned; `ip netns exec` takes the last part of it."""
        self._require_node(node)
        return Path(self._places.netns(node))

    def kill(self, node: str) -> None:
        """SIGKILL the node's PID 1, and the kernel all its processes with it; returns when they are dead."""
        self._require_process(node)
        try:
            state.kill_nodes([self._running_pid(node)])
        except OSError as error:
            raise LabError(f"node {node}: {error}") from None

    def start(self, node: str) -> None:
        """Start a node that does not run, with a fresh root and its old links; returns when it is ready."""
        self._require_process(node)
        if self._pid(node):
            return
        self._read_env_files()
        if self._client:
            self._start(node)
        else:
            client = self._guardian()
            try:
                if not client.existed:
                    raise LabError(f"lab {self._topology.name} is not deployed")
                client.start(self._spec(node))
                client.keep()
            finally:
                client.close()
        self._note_laid()
        wait_ready(self._topology.nodes[node], self._access(), threading.Event())
        self._note_ready(node)

    def _note_laid(self) -> None:
        """The programs of the nodes stood back until all nodes and links are there; now they have their share."""
        for node in self._places.processes():
            if pid := self._pid(node):
                linux.give_way(pid, to_others=False)

    def _note_ready(self, node: str) -> None:
        """For whoever watches the lab from elsewhere."""
        state.write_ready(self._topology.name, node, self._pid(node))

    def stop(self, node: str, grace: float = STOP_GRACE) -> None:
        """End a node as Docker does: SIGTERM to its programs, and SIGKILL to all that is left after `grace` seconds.

        Its links stay as they are. A node that does not run is left so.
        """
        self._require_process(node)
        pid = self._pid(node)
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(pid)
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
                select.select([descriptor], [], [], grace)
            finally:
                os.close(descriptor)
        try:
            state.kill_nodes([pid])
        except OSError as error:
            raise LabError(f"node {node}: {error}") from None

    def restart(self, node: str) -> None:
        """Stop the node and start it with the links it had; returns when it is ready."""
        self.stop(node)
        self.start(node)

    def _access(self) -> NodeAccess:
        return NodeAccess(self._start, self.exec, lambda name: bool(self._pid(name)), self._log_tail)

    def _start(self, node: str) -> None:
        if not self._client:
            raise LabError("the deployment was cancelled")
        self._client.start(self._spec(node))

    def _abort(self) -> None:
        if self._client:
            self._client.destroy()
            self._client = None

    def _popen(self, node: str, argv: Sequence[str], stdin: int) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        options: dict[str, Any] = {"stdin": stdin, "stdout": pipe, "stderr": pipe, "start_new_session": True}
        try:
            if self._is_machine(node):
                return subprocess.Popen(argv, text=True, **options)
            return enter.popen(self._running_pid(node), argv, **options)
        except OSError as error:
            raise LabError(f"node {node}: '{argv[0]}' cannot run: {error.strerror}") from None

    def _guardian(self) -> GuardianClient:
        sysctls: dict[str, dict[str, str]] = {}
        for name, node in self._topology.nodes.items():
            sysctls.setdefault(self._places.place(name), {}).update(node.sysctls)
        return GuardianClient(self._record(), sysctls)

    def _record(self) -> state.LabRecord:
        names = self._topology.nodes
        return state.LabRecord(
            lab=self._topology.name,
            owner=os.environ.get("SUDO_USER") or getpass.getuser(),
            file=self._topology.file,
            netns=self._places.pins(),
            descriptions=self._descriptions(),
            tool=os.getpid(),
            labels={name: labels(self._topology, name) for name in names},
            interfaces=self._places.host_interfaces(),
            host_bridges=sorted(self._places.host_bridges),
        )

    def _descriptions(self) -> dict[str, str]:
        words = {name: f"{node!r} {self._from_files.get(name, '')}" for name, node in self._topology.nodes.items()}
        words["links"] = repr(self._topology.links)
        return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in words.items()}

    def _require_same_description(self) -> None:
        record = state.read(self._topology.name)
        now, then = self._descriptions(), record.descriptions if record else {}
        changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        if changed:
            self.close()
            words = f"lab {self._topology.name} runs as an older description: {', '.join(changed)} changed since"
            raise LabError(f"{words}; take it down first, or use --reconfigure")

    def _spec(self, node: str) -> NodeSpec:
        netns = self._places.netns(node) if self._places.place(node) != HOST else ""
        folder = str(state.folder(self._topology.name))
        return node_spec(self._topology, node, _surroundings(), folder, netns, self._from_files.get(node, {}))

    def _read_env_files(self) -> None:
        """What env-files say now. Raises ConfigError, or LabError for one that is not there."""
        for name, node in self._topology.nodes.items():
            said: dict[str, str] = {}
            for path in node.env_files:
                file = Path(self._topology.folder, path).expanduser()
                try:
                    said |= dotenv.parse(file.read_text(), str(file))
                except OSError as error:
                    raise LabError(f"node {name}: env-file {file}: {error.strerror}") from None
            if _IMPORT_ENVIRON in node.env:
                said |= os.environ
            self._from_files[name] = said

    def _is_machine(self, node: str) -> bool:
        self._require_node(node)
        return self._places.runs(node) == HOST

    def _require_process(self, node: str) -> None:
        self._require_node(node)
        place = self._places.runs(node)
        if place != node:
            words = "the machine itself" if place == HOST else f"part of node {place}"
            raise LabError(f"{node} is {words}, and has no processes of its own to stop or start")

    def _require_node(self, node: str) -> None:
        if node not in self._topology.nodes:
            raise LabError(f"lab {self._topology.name} has no node '{node}': it has {', '.join(self._topology.nodes)}")

    def _pid(self, node: str) -> int:
        self._require_node(node)
        return state.node_pid(self._topology.name, self._places.runs(node))

    def _running_pid(self, node: str) -> int:
        pid = self._pid(node)
        if not pid:
            raise LabError(f"node {node} of lab {self._topology.name} does not run")
        return pid

    def _state(self, node: str) -> str:
        if self._pid(node) or (self._is_machine(node) and state.read(self._topology.name)):
            return "running"
        return "exited" if state.read(self._topology.name) and self.netns(node).exists() else "absent"

    def _log_tail(self, node: str) -> str:
        with contextlib.suppress(OSError):
            log = state.folder(self._topology.name) / f"{node}.log"
            return log.read_text(errors="replace")[-_LOG_TAIL:].strip() or "nothing"
        return "nothing"


def _host_bridges(topology: Topology) -> frozenset[str]:
    """Bridges of the file that this machine had when the lab was deployed: containerlab uses those."""
    record = None
    with contextlib.suppress(ValueError):
        record = state.read(topology.name)
    if record:
        return frozenset(record.host_bridges) & topology.nodes.keys()
    wanted = (node for node in topology.nodes.values() if node.bridge and not node.shares)
    return frozenset(node.name for node in wanted if Path(f"/sys/class/net/{node.bridge}/bridge").exists())


def destroy(name: str) -> bool:
    """Remove a lab by its name, also one that a crashed tool left or one in use. False if there was none."""
    _require_root()
    try:
        record = state.read(name)
    except ValueError as error:
        raise LabError(str(error)) from None
    if record is None:
        return False
    if record.guardian and linux.start_time(record.guardian) == record.guardian_start:
        state.kill([record.guardian])  # it would clean up too, and once is enough
    lock = state.lock(name, _LOCK_PATIENCE)
    if lock is None:
        raise LabError(f"lab {name} was deployed anew just now")
    try:
        return state.remove(name)
    except OSError as error:
        raise LabError(f"lab {name} cannot be removed: {error}") from None
    finally:
        os.close(lock)


def records() -> Iterable[state.LabRecord]:
    """Every lab that this machine has."""
    return (record for name in state.labs() if (record := state.read(name)))


def _surroundings() -> Surroundings:
    package = Path(lab.__file__).resolve().parent.parent
    paths = dict.fromkeys((sys.prefix, sys.base_prefix, str(package)))
    return Surroundings(
        python_bin=f"{sys.prefix}/bin",
        bpf=str(Path(edge.__file__).resolve().parent / "datapath" / "bpf"),
        paths=tuple(paths),
    )


def _require_root() -> None:
    if os.geteuid() != 0:
        raise PermissionError("a lab of namespaces needs root: run this with sudo")
