"""Reaches into the nodes of a lab from the host, which may do what a container without privilege must not.

Commands run with the node's network namespace and the host's programs, so that a node needs none of its own.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lab.netns import linux
from lab.runtime import LabError, Runtime
from lab.topology.model import Endpoint, Topology

HELPER = "lab.faults.helpers"  # in the command line of every helper, which is no program of the node
_XDP_ROLES = ("edge", "backend", "proxy")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a node, by its number on the host; `start` tells it from a later one of that number."""

    pid: int
    start: int
    command: str


class Site:
    """The nodes of `topology` as `runtime` runs them."""

    def __init__(self, runtime: Runtime, topology: Topology) -> None:
        self.runtime = runtime
        self.topology = topology

    def pid(self, node: str) -> int:
        """PID 1 of the node on the host, 0 when it does not run."""
        return next((status.pid for status in self.runtime.nodes() if status.name == node), 0)

    def running(self, node: str) -> int:
        """The same. Raises LabError when the node does not run."""
        pid = self.pid(node)
        if not pid:
            raise LabError(f"node {node} does not run")
        return pid

    def place(self, node: str) -> int:
        """The identity of the node's network namespace; 0 when there is none."""
        try:
            return self.runtime.netns(node).stat().st_ino
        except (OSError, LabError):
            return 0

    def inside(self, node: str, function: Callable[[], R]) -> R:
        """Call `function` in the node's network namespace; /proc/sys/net is the node's there."""
        try:
            return linux.in_netns(self.runtime.netns(node), function)
        except FileNotFoundError as error:
            raise LabError(f"node {node}: {error.filename or error}: there is no such thing") from None

    def run(self, node: str, *argv: str, feed: str = "") -> subprocess.CompletedProcess[str]:
        """A command of the host to its end, in the node's network namespace."""
        return self.inside(
            node, lambda: subprocess.run(argv, input=feed, capture_output=True, text=True, timeout=30, check=False)
        )

    def must(self, node: str, *argv: str, feed: str = "") -> str:
        """The output of a command that must not fail. Raises LabError."""
        done = self.run(node, *argv, feed=feed)
        if done.returncode:
            said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
            raise LabError(f"node {node}: {' '.join(argv)}: {said}")
        return done.stdout

    def sysctl(self, node: str, name: str) -> str:
        """The value of a sysctl of the node's network, such as net/ipv4/ip_forward."""
        return self.inside(node, lambda: Path("/proc/sys", name).read_text().strip())

    def set_sysctl(self, node: str, name: str, value: str) -> None:
        """Set it."""
        self.inside(node, lambda: Path("/proc/sys", name).write_text(value))

    def in_root(self, node: str, function: Callable[[], R]) -> R:
        """Call `function` with the node's file systems: its mounts, paths and root."""
        pid = self.running(node)

        def run() -> R:
            linux.unshare(linux.CLONE_FS)  # a thread shares its root and working folder with the others until here
            linux.setns(f"/proc/{pid}/ns/mnt", linux.CLONE_NEWNS)
            return function()

        return linux.in_thread(run)

    def processes(self, node: str, word: str = "") -> list[Process]:
        """The node's own processes whose command line has `word` in it; helpers of faults are not among them."""
        pid = self.pid(node)
        return [each for each in _inhabitants(pid) if word in _text(each.command) and HELPER not in each.command]

    def helpers(self, node: str, mark: str) -> list[Process]:
        """The helpers of one fault in a node."""
        words = [each for each in _inhabitants(self.pid(node)) if HELPER in each.command]
        return [each for each in words if mark in each.command.split("\0")]

    def named(self, node: str, word: str) -> list[Process]:
        """As `processes`, PID 1 apart. Raises LabError that says what runs when there is none."""
        first = self.running(node)
        found = [each for each in self.processes(node, word) if each.pid != first]
        if not found:
            runs = sorted({_short(each.command) for each in self.processes(node)})
            raise LabError(f"node {node} has no process with '{word}' in its command line; it runs {', '.join(runs)}")
        return found

    def start_helper(self, node: str, name: str, mark: str, *arguments: str) -> str:
        """Start `lab.faults.helpers.NAME MARK ARGUMENTS...` in the node; what it says once it works.

        It has the network of the node and dies with it, but the host's files, so that any node will do. It runs on by
        itself: the process started here ends when the helper is ready. Raises LabError with what it says instead.
        """
        argv = [sys.executable, "-m", f"{HELPER}.{name}", mark, *arguments]
        pid, netns = self.running(node), str(self.runtime.netns(node))
        root = str(Path(__file__).resolve().parents[2])

        def start() -> subprocess.CompletedProcess[str]:
            linux.setns(netns, linux.CLONE_NEWNET)
            linux.setns(f"/proc/{pid}/ns/pid", linux.CLONE_NEWPID)
            return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, cwd=root)

        done = linux.in_thread(start)
        if done.returncode:
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise LabError(f"node {node}: {name}: {said}")
        return done.stdout.strip()

    def end(self, spelled: str) -> Endpoint:
        """The end of a link that is spelled NODE:IFACE. Raises LabError."""
        for link in self.topology.links:
            for each in link.ends:
                if f"{each.node}:{each.interface}" == spelled:
                    return each
        raise LabError(f"no link has the end '{spelled}'")

    def peer(self, end: Endpoint) -> Endpoint:
        """The other end of the link."""
        return next(link.b if link.a == end else link.a for link in self.topology.links if end in link.ends)

    def plain(self, end: Endpoint, direction: str) -> tuple[Endpoint, str]:
        """The end at which nft and tc see all packets of the link, and the direction as it is seen from there.

        That is the named one, unless an XDP program of edge or backend takes packets before: then the other one. Raises
        LabError when both are of that kind.
        """
        if not self._has_xdp(end):
            return end, direction
        other = self.peer(end)
        if self._has_xdp(other):
            raise LabError(f"{end} and {other} both have XDP programs that take packets before any fault could")
        return other, {"in": "out", "out": "in"}.get(direction, direction)

    def _has_xdp(self, end: Endpoint) -> bool:
        node = self.topology.nodes[end.node]
        if node.labels.get("fairhop.role") in _XDP_ROLES and node.labels.get("fairhop.target", "fairhop") == "fairhop":
            return True
        shown = self.run(end.node, "ip", "-d", "link", "show", "dev", end.interface).stdout
        return "prog/xdp" in shown and "name pass " not in shown


def alive(process: Process) -> bool:
    """Whether the process still runs."""
    return linux.start_time(process.pid) == process.start


def _inhabitants(first: int) -> Iterator[Process]:
    """The processes of the PID namespace of process `first`."""
    if not first:
        return
    try:
        namespace = Path(f"/proc/{first}/ns/pid").stat().st_ino
    except OSError:
        return
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                if Path(f"/proc/{entry.name}/ns/pid").stat().st_ino == namespace:
                    words = Path(entry.path, "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace")
                    if start := linux.start_time(int(entry.name)):
                        yield Process(int(entry.name), start, words)
            except OSError:
                continue


def _text(command: str) -> str:
    return command.replace("\0", " ")


def _short(command: str) -> str:
    words = command.split("\0")
    return " ".join([words[0].rpartition("/")[2], *words[1:3]])[:40]
