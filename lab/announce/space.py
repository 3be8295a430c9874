"""Namespaces, links and programs of a small world, for a process in surroundings of its own (`lab.announce.inside`)."""

import os
import signal as signals
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import edge
from lab.announce.plan import TRANSIT, Node, World
from lab.netns import linux
from lab.runtime import LabError

NETNS = Path("/run/netns")
PASS_OBJECT = Path(edge.__file__ or "").parent / "datapath" / "bpf" / "pass.bpf.o"
_DONE_WITHIN = 5.0


def sh(*argv: str, within: float = 20.0) -> str:
    """A command's standard output. Raises `LabError` when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=within, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def eventually(holds: Callable[[], object], within: float, what: str, pause: float = 0.02) -> None:
    """Poll until it holds. Raises `LabError` with `what` after `within` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {within:g} s")
        time.sleep(pause)


# SCHED_RR (sched(7)). A router is a machine of its own: what an edge does must not keep it waiting.
PRIORITIES = {"router": 2, "edge": 1, "backend": 1, "client": 1}
OBSERVER = 3


def first(role: str) -> tuple[str, ...]:
    """Words before a command that give it its priority, where this process has one."""
    has_one = os.sched_getscheduler(0) == os.SCHED_RR
    return ("chrt", "--rr", str(PRIORITIES[role])) if has_one else ()


class Program:
    """A program in a namespace; its output goes to a file."""

    def __init__(self, node: str, name: str, argv: Sequence[str], place: Path) -> None:
        self.node, self.name, self.log = node, name, place / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net={NETNS / node}", *argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        """nsenter and chrt become the program itself."""
        return self.process.pid

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def require(self) -> bool:
        """True. Raises `LabError` with its last words when it has ended."""
        if not self.running():
            raise LabError(f"{self.node}: {self.name} ended with {self.process.returncode}: {self.last_words()}")
        return True

    def last_words(self) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-600:].strip()

    def signal(self, number: signals.Signals) -> None:
        """Send a signal; one that has ended gets none."""
        if self.running():
            self.process.send_signal(number)

    def end(self, number: signals.Signals = signals.SIGKILL) -> None:
        """End it, also when it is stopped."""
        self.signal(number)
        self.signal(signals.SIGCONT)
        try:
            self.process.wait(_DONE_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Space:
    """The namespaces and links of a world, as a context manager; `place` is a directory for the files of all nodes."""

    def __init__(self, world: World, place: Path) -> None:
        self.world, self.place = world, place
        self._held = ExitStack()

    def __enter__(self) -> "Space":
        with ExitStack() as undo:
            for node in self.world.nodes.values():
                sh("ip", "netns", "add", node.name)
                undo.callback(sh, "ip", "netns", "del", node.name)
                sh("ip", "-n", node.name, "link", "set", "lo", "up")
                self.directory(node.name).mkdir(parents=True, exist_ok=True)
            for first, second in self.world.links:
                self._link(self.world.nodes[first], self.world.nodes[second])
            for node in self.world.nodes.values():
                self._addresses(node)
            self._held = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def directory(self, node: str) -> Path:
        """Where a node's files are."""
        return self.place / node

    def run(self, node: str, name: str, *argv: str) -> Program:
        """Start a program that ends with this space."""
        program = Program(node, name, [*first(self.world.nodes[node].role), *argv], self.directory(node))
        self._held.callback(program.end)
        return program

    def note(self, path: str, text: str) -> None:
        """Write a small file in one step, as a service writes its pidfile."""
        new = Path(f"{path}.new")
        new.write_text(text)
        new.rename(path)

    def _link(self, first: Node, second: Node) -> None:
        one, other = first.towards(second.name), second.towards(first.name)
        sh("ip", "-n", first.name, "link", "add", one.name, "type", "veth",
           "peer", "name", other.name, "netns", second.name)  # fmt: skip
        for node, interface, peer in ((first, one, second), (second, other, first)):
            sh("ip", "-n", node.name, "address", "add", f"{interface.address}/31", "dev", interface.name)
            words = ["tx", "off", "tso", "off", "gso", "off", "gro", "off"]
            sh("nsenter", f"--net={NETNS / node.name}", "ethtool", "-K", interface.name, *words)
            if peer.role in ("edge", "backend"):
                # A veth drops what its peer sends by XDP_TX unless it has a program too.
                sh("ip", "-n", node.name, "link", "set", interface.name, "xdpdrv", "object", str(PASS_OBJECT),
                   "section", "xdp")  # fmt: skip
            sh("ip", "-n", node.name, "link", "set", interface.name, "up")

    def _addresses(self, node: Node) -> None:
        if node.role == "router":
            for name in ("ip_forward", "fib_multipath_hash_policy"):
                self._sysctl(node.name, f"net/ipv4/{name}", "1")
        if node.role == "client":
            self._sysctl(node.name, "net/ipv4/ip_local_port_range", "1024 65535")
        if node.role != "router" or (node.name != TRANSIT and TRANSIT in self.world.nodes):
            up = node.interfaces[0] if node.role != "router" else node.towards(TRANSIT)
            sh("ip", "-n", node.name, "route", "add", "default", "via", str(up.peer_address))

    def _sysctl(self, node: str, name: str, value: str) -> None:
        linux.in_netns(NETNS / node, lambda: Path("/proc/sys", name).write_text(value))


def in_namespace(node: str, mark: str = "") -> list[int]:
    """The processes in a node's namespace whose command line has `mark`, whoever started them."""
    mine = (NETNS / node).stat().st_ino
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if (entry / "ns" / "net").stat().st_ino == mine and mark in words:
                    found.append(int(entry.name))
    return sorted(found)
