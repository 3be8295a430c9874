"""A router in a namespace: started with a configuration, asked what its kernel and its BGP have, ended by pid."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.bgp.routers.net import Star, command, needs, run_in

Found = TypeVar("Found")


def eventually(what: Callable[[], Found], limit: float, problem: str | Callable[[], str]) -> Found:
    """What `what()` returns once that is true; fails with `problem` after `limit` seconds."""
    end = time.monotonic() + limit
    while not (found := what()):
        if time.monotonic() > end:
            pytest.fail(f"{problem() if callable(problem) else problem} (waited {limit} s)")
        time.sleep(0.02)
    return found


def stays(what: Callable[[], bool], seconds: float, problem: str) -> None:
    """Fails with `problem` as soon as `what()` is false, at any time for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert what(), problem
        time.sleep(0.05)


class Router:
    """What the makes have in common; `log` is everything the daemons printed."""

    kind = ""

    def __init__(self, netns: Path, directory: Path) -> None:
        self.netns, self.directory = netns, directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, config: str) -> None:
        """Start the daemons with this configuration; returns once they answer."""
        raise NotImplementedError

    def session(self, peer: str) -> str:
        """The state of the session with a peer's address: `Established` or another word of the make's."""
        raise NotImplementedError

    def accepted(self, prefix: str) -> list[str]:
        """The peers' addresses whose paths to the prefix are in the loc_rib, after the policy."""
        raise NotImplementedError

    def spawn(self, name: str, *argv: str) -> None:
        """Start a program inside the namespace."""
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command(self.netns, *argv), stdout=log, stderr=log)

    def stop(self) -> None:
        """End every program, by its pid; a stopped one too."""
        for process in reversed(self.processes.values()):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(18)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)
        self.processes.clear()

    def alive(self) -> bool:
        """Whether every program that was started still runs."""
        return all(process.poll() is None for process in self.processes.values())

    def ready(self, what: Callable[[], bool]) -> None:
        """Wait until `what()` holds; fails with the log when a daemon ended or 15 seconds went by."""
        eventually(lambda: what() or not self.alive(), 15, lambda: f"{self.kind} did not start: {self.log}")
        if not self.alive():
            pytest.fail(f"{self.kind} did not start: {self.log}")

    @property
    def log(self) -> str:
        """What all daemons have printed or logged."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.directory.glob("*.log")))

    def kernel(self, *words: str) -> dict[str, dict[str, int]]:
        """prefix -> next hop (or type, such as blackhole) -> weight, of both families; `words` select, as in ip(8)."""
        found: dict[str, dict[str, int]] = {}
        for family in ("-4", "-6"):
            text = run_in(self.netns, "ip", "-j", family, "route", "show", *words)
            for route in json.loads(text or "[]"):
                if route["dst"] != "default":
                    prefix = str(ip_network(route["dst"]))
                else:
                    prefix = "::/0" if family == "-6" else "0.0.0.0/0"
                found.setdefault(prefix, {}).update(_hops(route))
        return found

    def route_get(self, address: str) -> str:
        """What the kernel says it would do with a packet to the address, errors included."""
        argv = command(self.netns, "ip", "route", "get", address)
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout + done.stderr

    def learned(self) -> dict[str, dict[str, int]]:
        """The kernel's routes that the make's BGP installed."""
        return self.kernel("proto", {"frr": "bgp"}.get(self.kind, self.kind))


def _hops(route: dict[str, Any]) -> Iterator[tuple[str, int]]:
    if "nexthops" in route:
        for hop in route["nexthops"]:
            yield _gateway(hop), hop["weight"]
    else:
        yield _gateway(route), 1


def _gateway(hop: dict[str, Any]) -> str:
    return str(hop.get("gateway") or hop.get("via", {}).get("host") or hop.get("type") or hop.get("dev"))


@contextmanager
def running(make: type[Router], net: Star, config: str) -> Iterator[Router]:
    """A router of the make in the middle of the star; nothing of it stays, however the test ends."""
    needs(make.kind)
    directory = Path(tempfile.mkdtemp(prefix=f"fh-{make.kind}-"))
    directory.chmod(0o755)
    router = make(net.netns, directory)
    try:
        router.start(config)
        yield router
    finally:
        router.stop()
        shutil.rmtree(directory, ignore_errors=True)
