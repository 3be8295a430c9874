"""One edge node under test: the real `fairhop run`, its ExaBGP and relay, and everything that can be done to them."""

import os
import signal as signals
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from edge.control.ask import RefusedError, UnreachableError, ask
from edge.datapath.bpf_error import BpfError
from edge.datapath.xdp import Link
from lab.announce import files
from lab.announce.plan import Node
from lab.announce.space import Program, Space, eventually, in_namespace
from lab.runtime import LabError

FAIRHOP = str(Path(sys.prefix) / "bin" / "fairhop")
_SERVES_WITHIN = 30.0
# How the processes of a node are told apart by their command lines.
_MARKS = {"exabgp": "-m bgp.exabgp", "relay": "bgp.relay", "checker": "edge.checks", "bfd": "bgp.bfd", "all": ""}


def runner() -> str:
    """`nobody` where that account can reach this interpreter and the clone, else root."""
    drop = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--"]
    probe = [*drop, sys.executable, "-I", "-c", "import bgp.relay, exabgp"]
    return "nobody" if subprocess.run(probe, check=False, cwd="/", capture_output=True).returncode == 0 else "root"


class Edge:
    """`start` and `restart` return when the node serves; the signals go to one of its processes or to all."""

    def __init__(self, space: Space, node: Node, user: str) -> None:
        self._space, self.node = space, node
        self._place = space.directory(node.name)
        self.socket = str(self._place / "control.sock")
        self.config = self._place / "fairhop.yaml"
        self.config.write_text(files.fairhop_yaml(space.world, node, str(self._place), user))
        self.daemon: Program | None = None

    def launch(self) -> None:
        """Start the daemon and return at once."""
        argv = [FAIRHOP, "run", "--config", str(self.config), "--socket", self.socket]
        intent = ["--intent", str(self._place / "intent.json")]
        self.daemon = self._space.run(self.node.name, "fairhop", *argv, *intent)

    def start(self) -> None:
        """Start the daemon and wait until it serves."""
        self.launch()
        self.await_serving()

    def await_serving(self, within: float = _SERVES_WITHIN) -> None:
        """Until the daemon says SERVING. Raises `LabError` with its state or its last words."""
        try:
            eventually(lambda: self.verdict() == "SERVING", within, f"{self.node.name} serves", 0.05)
        except LabError as error:
            raise LabError(f"{error}: {self.verdict()}") from None

    def verdict(self) -> str:
        """What status says in one line, or why it says nothing."""
        if self.daemon is not None:
            self.daemon.require()
        with suppress(RefusedError, UnreachableError):
            return str(self.ask("status")["verdict"])
        return "no answer"

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """One request to the daemon's socket."""
        return ask(self.socket, verb, 5.0, **arguments)

    def pids(self, part: str) -> list[int]:
        """The processes of a part of this node: daemon, exabgp, relay, checker, bfd, or all."""
        if part == "daemon":
            return [self.daemon.pid] if self.daemon and self.daemon.running() else []
        return in_namespace(self.node.name, _MARKS[part])

    def pid(self, part: str) -> int:
        """The one process of a part. Raises `LabError` when there is none."""
        found = self.pids(part)
        if not found:
            raise LabError(f"{self.node.name}: there is no {part} process")
        return found[-1]

    def signal(self, part: str, number: signals.Signals) -> float:
        """Signal every process of a part; the moment right before."""
        pids = self.pids(part)
        if not pids:
            raise LabError(f"{self.node.name}: there is no {part} process")
        began = time.monotonic()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return began

    def detach(self) -> float:
        """Take the forwarder off the node's first interface, as an operator would; the moment right before."""
        pin = Path("/run/bpf") / self.node.name / f"link-{self.node.interfaces[0].name}"
        try:
            with Link.open_pinned(pin) as link:
                began = time.monotonic()
                link.detach()
        except BpfError as error:
            raise LabError(f"{self.node.name}: {error}") from error
        return began

    def wipe(self) -> None:
        """End every process of the node, whatever state it is in."""
        deadline = time.monotonic() + 5.0
        if self.daemon is not None:
            self.daemon.end()
        while pids := self.pids("all"):
            for pid in pids:
                _kill(pid)
            if time.monotonic() > deadline:
                raise LabError(f"{self.node.name}: processes {pids} do not end")
            time.sleep(0.01)

    def restart(self) -> None:
        """Wipe and start again, with no memory of deaths or drains."""
        self.wipe()
        (self._place / "intent.json").unlink(missing_ok=True)
        self.start()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signals.SIGKILL)
