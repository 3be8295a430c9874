"""A real router in a namespace (Debian's FRR: zebra and bgpd) and an edge's namespace beside it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, not wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

ROUTER, EDGE = "fh-bgp-r", "fh-bgp-e"
VIP, OTHER = "203.0.113.10/32", "203.0.113.11/32"
VIP6 = "2001:db8:1::10/128"
HOP6 = "fd00:0:0:5::1"
FRR = Path("/usr/lib/frr")
ROOT = Path(__file__).resolve().parents[2]

SECRET = "c4n-ary$!%"

FRR_CONF = f"""\
frr version 8.4
frr defaults traditional
no zebra nexthop kernel enable
zebra work-queue 0
router bgp 65101
 bgp router-id 10.255.0.2
 no bgp ebgp-requires-policy
 neighbor 10.0.5.1 remote-as 65110
 neighbor 10.0.5.1 timers 1 3
 neighbor 10.0.5.1 timers connect 1
 neighbor 10.0.5.1 advertisement-interval 0
 neighbor 10.0.5.1 passive
 neighbor 10.0.5.1 password {SECRET}
 neighbor 10.0.5.1 ttl-security hops 1
 address-family ipv4 unicast
  neighbor 10.0.5.1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor 10.0.5.1 activate
"""


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20).stdout


def eventually(what: Callable[[], Any], limit: float, problem: str) -> float:
    """Seconds until `what()` holds; fails with `problem` after `limit`."""
    began = time.monotonic()
    while not what():
        if time.monotonic() - began > limit:
            pytest.fail(f"{problem} within {limit} s")
        time.sleep(0.01)
    return time.monotonic() - began


@dataclass
class FrrRouter:
    """The router's side, asked from its kernel: `changes` holds (time, prefix, installed) in order."""

    directory: Path
    changes: list[tuple[float, str, bool]] = field(default_factory=list)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> None:
        shutil.chown(self.directory, "frr", "frr")
        (self.directory / "frr.conf").write_text(FRR_CONF)
        common = ["-f", str(self.directory / "frr.conf"), "-z", str(self.directory / "zserv")]
        common += ["--vty_socket", str(self.directory), "-P", "0"]
        for name, extra in (("zebra", []), ("bgpd", ["-l", "10.0.5.0"])):
            argv = ["ip", "netns", "exec", ROUTER, str(FRR / name), *common, *extra]
            pid = ["-i", str(self.directory / f"{name}.pid")]
            with (self.directory / f"{name}.log").open("w") as log:
                self.processes.append(subprocess.Popen([*argv, *pid], stdout=log, stderr=log, text=True))
            eventually((self.directory / f"{name}.vty").exists, 10, f"{name} did not start")
        watcher = subprocess.Popen(["ip", "-n", ROUTER, "monitor", "route"], stdout=subprocess.PIPE, text=True)
        self.processes.append(watcher)
        threading.Thread(target=self._watch, args=(watcher,), daemon=True).start()

    def _watch(self, watcher: subprocess.Popen[str]) -> None:
        assert watcher.stdout is not None
        for line in watcher.stdout:
            words = line.split()
            gone = words[0] == "Deleted"
            prefix = words[1] if gone else words[0]
            known = {p.partition("/")[0]: p for p in (VIP, OTHER, VIP6)}
            if prefix in known:
                self.changes.append((time.monotonic(), known[prefix], not gone))

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait(10)
            if process.stdout is not None:
                process.stdout.close()

    def installed(self, prefix: str) -> bool:
        return bool(self.route(prefix))

    def route(self, prefix: str) -> str:
        family = "-6" if ":" in prefix else "-4"
        return run("ip", family, "-n", ROUTER, "route", "show", "proto", "bgp", prefix.partition("/")[0])

    def vtysh(self, command: str) -> Any:
        return json.loads(run("vtysh", "--vty_socket", str(self.directory), "-d", "bgpd", "-c", command))

    def sessions(self) -> tuple[str, int]:
        """State of the session, and how many there have been."""
        peer = self.vtysh("show bgp neighbors 10.0.5.1 json")["10.0.5.1"]
        return peer["bgpState"], peer["connectionsEstablished"]

    def communities(self, prefix: str) -> list[str]:
        family = "ipv6" if ":" in prefix else "ipv4"
        path = self.vtysh(f"show bgp {family} unicast {prefix} json")["paths"][0]
        return list(path.get("community", {}).get("list", []))


@dataclass
class EdgeDaemon:
    """The daemon's process, to be ordered about and killed."""

    run_dir: Path
    user: str | None
    netns: Path = Path("/run/netns") / EDGE
    settings: dict[str, Any] = field(default_factory=dict)
    """Laid over the configuration."""
    events: list[dict[str, Any]] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    @property
    def config(self) -> dict[str, Any]:
        """The speaker's configuration as plain data."""
        peer: dict[str, object] = {"name": "r1", "address": "10.0.5.0", "asn": 65101, "local_address": "10.0.5.1"}
        peer |= {"md5": SECRET, "ttl_security": True, "local_address6": HOP6}
        config = {"asn": 65110, "router_id": "10.255.0.6", "hold_time": 3, "lease": 2.0, "user": self.user}
        return {**config, "prefixes": [VIP, OTHER, VIP6], "peers": [peer], **self.settings}

    def start(self) -> Self:
        settings = json.dumps(self.config)
        argv = ["nsenter", f"--net={self.netns}", sys.executable, "-m", "tests.bgp.edge_daemon"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [*argv, str(self.run_dir), settings], cwd=ROOT, stdin=pipe, stdout=pipe, text=True
        )
        self.events = []
        threading.Thread(target=self._read, args=(self.process, self.events), daemon=True).start()
        return self

    @staticmethod
    def _read(process: subprocess.Popen[str], events: list[dict[str, Any]]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                events.append(json.loads(line))

    def order(self, **what: object) -> None:
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def announce(self, *prefixes: str, communities: tuple[str, ...] = ()) -> None:
        """Declare these announced, all others withdrawn."""
        self.order(declare={p: {"communities": communities} if p in prefixes else None for p in (VIP, OTHER, VIP6)})

    def state(self) -> dict[str, Any]:
        asked = len(self.events)
        self.order(state=True)
        answers: list[dict[str, Any]] = []

        def answered() -> bool:
            answers[:] = [event for event in self.events[asked:] if "state" in event]
            return bool(answers)

        eventually(answered, 5, "the daemon did not answer")
        return answers[-1]

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> None:
        assert self.process is not None and self.process.stdin is not None
        self.process.wait(10)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


def announcer_user() -> str | None:
    """`nobody` where that account can reach this interpreter and the clone, else None."""
    drop = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--"]
    argv = [*drop, sys.executable, "-I", "-c", "import bgp.relay, exabgp"]
    probe = subprocess.run(argv, check=False, cwd="/", capture_output=True)
    return "nobody" if probe.returncode == 0 else None


@pytest.fixture(scope="module")
def frr() -> Iterator[FrrRouter]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    if not (FRR / "bgpd").exists():
        pytest.skip("needs FRR: /usr/lib/frr/bgpd is missing (apt install frr)")
    for name in (ROUTER, EDGE):
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    directory = Path(tempfile.mkdtemp(prefix="fh-bgp-"))
    directory.chmod(0o755)
    router = FrrRouter(directory)
    try:
        for name in (ROUTER, EDGE):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", ROUTER, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", EDGE)
        for name, address in ((ROUTER, "10.0.5.0/31"), (EDGE, "10.0.5.1/31")):
            run("ip", "-n", name, "address", "add", address, "dev", "eth0")
        for name, address in ((ROUTER, "fd00:0:0:5::/127"), (EDGE, f"{HOP6}/127")):
            run("ip", "-n", name, "address", "add", address, "dev", "eth0", "nodad")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        router.start()
        yield router
    finally:
        router.stop()
        for name in (ROUTER, EDGE):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def daemon(frr: FrrRouter) -> Iterator[EdgeDaemon]:
    run_dir = frr.directory / "edge"
    edge = EdgeDaemon(run_dir, announcer_user()).start()
    try:
        edge.announce(VIP, OTHER)
        eventually(lambda: frr.installed(VIP) and frr.installed(OTHER), 10, "nothing was announced")
        yield edge
    finally:
        edge.signal(18)
        with contextlib.suppress(BrokenPipeError):
            edge.order(stop=True)
        edge.wait()
