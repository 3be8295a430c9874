"""An edge node of the tests: `tests.bgp.bfd.edge` in a namespace, ordered about and asked."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from itertools import count
from pathlib import Path
from typing import Any

from bgp.bfd.config import BfdConfig, BfdPeer, to_plain
from bgp.process import Process, load_identity
from tests.bgp.routers.net import Leaf, command
from tests.bgp.routers.router import eventually

ROOT = Path(__file__).resolve().parents[3]
FAST = 0.01
_asked = count(1)


class Node:
    """The daemon; `events` are its lines in order."""

    def __init__(self, netns: Path, run_dir: Path, config: BfdConfig) -> None:
        self.netns, self.run_dir, self.config = netns, run_dir, config
        self.events: list[dict[str, Any]] = []
        self.process: subprocess.Popen[str]
        self.known = 0  # the BFD process's number, noted by who will need it when nobody answers

    def start(self) -> None:
        plain = json.dumps({**to_plain(self.config), "user": self.config.user, "priority": self.config.priority})
        argv = command(self.netns, sys.executable, "-m", "tests.bgp.bfd.edge", str(self.run_dir), plain)
        pipe = subprocess.PIPE
        env = {"FAIRHOP_FIRST": "5", **os.environ}  # a busy machine must not be what takes the gate down
        self.process = subprocess.Popen(argv, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, text=True)
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.events.append(json.loads(line))

    def order(self, **what: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def ask(self) -> dict[str, Any]:
        number = next(_asked)
        self.order(ask=number)

        def answer() -> list[dict[str, Any]]:
            return [event for event in self.events if event.get("answer") == number]

        return eventually(answer, 10, "no answer")[0]

    def session(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next((one for one in self.ask()["sessions"] if one["name"] == name), {"state": "none"})
        return found

    def up(self, name: str, limit: float = 10.0) -> None:
        eventually(
            lambda: self.session(name)["state"] == "up", limit, lambda: f"{name} is not up: {self.session(name)}"
        )

    def changes(self, name: str, since: int = 0) -> list[tuple[str, str, str]]:
        """(old, new, reason) of a session's events from number `since` on."""
        subject = f"bfd {name}"
        found = [event for event in self.events[since:] if event.get("subject") == subject]
        return [(event["old"], event["new"], event["reason"]) for event in found]

    @property
    def pid(self) -> int:
        """Of the BFD process."""
        return int(self.ask()["pid"])

    def kill(self) -> None:
        """The daemon alone, without a word."""
        self.process.kill()
        self._close()

    def stop(self, admin_down: bool = True) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.order(stop=admin_down)
        self._close()

    def _close(self) -> None:
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


@contextmanager
def node(netns: Path, config: BfdConfig) -> Iterator[Node]:
    """A running node; nothing of it stays."""
    directory = Path(tempfile.mkdtemp(prefix="fh-bfd-"))
    directory.chmod(0o755)
    made = Node(netns, directory / "bfd", config)
    made.start()
    try:
        yield made
    finally:
        identity = load_identity(made.run_dir / "bfd.pid")
        if made.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                made.process.send_signal(signal.SIGCONT)
            made.stop()
        left = Process.adopt(identity) if identity else None
        if left is not None:  # of a daemon that was killed, or of a test that failed half-way
            left.signal(signal.SIGKILL)
            os.close(left.fileno())
        shutil.rmtree(directory, ignore_errors=True)


def peer4(leaf: Leaf, name: str = "r4", **more: Any) -> BfdPeer:
    return BfdPeer(name, leaf.router, leaf.address, **{"tx": FAST, "rx": FAST, **more})


def peer6(leaf: Leaf, name: str = "r6", **more: Any) -> BfdPeer:
    return BfdPeer(name, leaf.router6, leaf.address6, **{"tx": FAST, "rx": FAST, **more})


def towards(leaf: Leaf, version: int = 4, name: str = "e1", **more: Any) -> BfdPeer:
    """The same session as the router's end sees it."""
    pair: tuple[IPv4Address | IPv6Address, IPv4Address | IPv6Address]
    pair = (leaf.address, leaf.router) if version == 4 else (leaf.address6, leaf.router6)
    return BfdPeer(name, *pair, **{"tx": FAST, "rx": FAST, **more})
