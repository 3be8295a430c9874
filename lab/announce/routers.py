"""The routers: FRR's daemons, BIRD or GoBGP in a namespace, with the files of `lab.announce.files`."""

import json
import shutil
import subprocess
import threading
import time
from collections.abc import Collection
from ipaddress import ip_network
from pathlib import Path

from bgp.route import Prefix
from lab.announce import files
from lab.announce.plan import Kind, Node
from lab.announce.space import NETNS, Space, eventually, sh
from lab.announce.watch import KernelWatch, Watch
from lab.runtime import LabError

_FRR = Path("/usr/lib/frr")
_UP_WITHIN = 10.0


def missing(kind: Kind) -> str:
    """Why a kind of router cannot run here; empty when it can."""
    needed = {"frr": str(_FRR / "bgpd"), "bird": "bird", "gobgp": "gobgpd"}[kind]
    return "" if shutil.which(needed, path="/usr/sbin:/usr/bin:/usr/local/bin:/sbin") or Path(needed).exists() else (
        f"{needed} is not installed"
    )  # fmt: skip


def version(kind: Kind) -> str:
    """The first line of what it says of its version."""
    argv = {"frr": [str(_FRR / "bgpd"), "--version"], "bird": ["bird", "--version"], "gobgp": ["gobgpd", "--version"]}
    done = subprocess.run(argv[kind], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]


class Router:
    """One router. `start` returns when it accepts sessions."""

    def __init__(self, space: Space, node: Node) -> None:
        self._space, self.node = space, node
        self._place = space.directory(node.name)

    def start(self) -> None:
        """Write its files and start it."""
        {"frr": self._start_frr, "bird": self._start_bird, "gobgp": self._start_gobgp}[self._space.world.layout.kind]()

    def watch(self, prefixes: Collection[Prefix]) -> Watch:
        """What it does with the VIPs: in its kernel, or in its RIB where it has no other."""
        if self._space.world.layout.kind == "gobgp":
            return RibWatch(self.node.name, prefixes)
        return KernelWatch(NETNS / self.node.name, prefixes)

    def updates(self, peer: str) -> int:
        """How many UPDATEs it has had from the edge `peer`; at BIRD, how many routes in them."""
        if self._space.world.layout.kind == "frr":
            address = str(self.node.towards(peer).peer_address)
            facts = json.loads(self._vtysh(f"show bgp neighbors {address} json"))[address]
            return int(facts["messageStats"]["updatesRecv"])
        if self._space.world.layout.kind == "bird":
            control = str(self._place / "bird.ctl")
            text = sh("birdc", "-s", control, "show", "protocols", "all", peer)
            counts = {
                line.split(":")[0].strip(): line.split(":")[1].split() for line in text.splitlines() if ":" in line
            }
            return int(counts["Import updates"][0]) + int(counts["Import withdraws"][0])
        raise LabError("gobgp: UPDATEs are not counted")

    def bfd_up(self) -> bool:
        """Whether every BFD session that it has is up, and it has one."""
        if self._space.world.layout.kind == "frr":
            states = [peer["status"] for peer in json.loads(self._vtysh("show bfd peers json", "bfdd"))]
            return bool(states) and all(state == "up" for state in states)
        rows = sh("birdc", "-s", str(self._place / "bird.ctl"), "show", "bfd", "sessions").splitlines()[3:]
        return bool(rows) and all(row.split()[2] == "Up" for row in rows if row.strip())

    def _vtysh(self, command: str, daemon: str = "bgpd") -> str:
        return sh("vtysh", "--vty_socket", str(self._place), "-d", daemon, "-c", command)

    def _start_frr(self) -> None:
        shutil.chown(self._place, "frr", "frr")
        conf = self._place / "frr.conf"
        conf.write_text(files.frr_conf(self._space.world, self.node))
        common = ["-f", str(conf), "-z", str(self._place / "zserv"), "--vty_socket", str(self._place), "-P", "0"]
        daemons = {"zebra": ["-s", "16777216"], "bgpd": []}
        if self._space.world.layout.bfd:
            daemons["bfdd"] = ["--bfdctl", str(self._place / "bfdd.sock")]
        for name, extra in daemons.items():
            pid = ["-i", str(self._place / f"{name}.pid")]
            program = self._space.run(self.node.name, name, str(_FRR / name), *common, *extra, *pid)
            vty = self._place / f"{name}.vty"
            eventually(lambda: program.require() and vty.exists(), _UP_WITHIN, f"{name} of {self.node.name}")  # noqa: B023

    def _start_bird(self) -> None:
        conf, control = self._place / "bird.conf", self._place / "bird.ctl"
        conf.write_text(files.bird_conf(self._space.world, self.node))
        program = self._space.run(self.node.name, "bird", "bird", "-f", "-c", str(conf), "-s", str(control))
        eventually(lambda: program.require() and control.exists(), _UP_WITHIN, f"bird of {self.node.name}")

    def _start_gobgp(self) -> None:
        conf = self._place / "gobgpd.toml"
        conf.write_text(files.gobgp_conf(self._space.world, self.node))
        program = self._space.run(self.node.name, "gobgpd", "gobgpd", "-f", str(conf), "-t", "toml")

        def answers() -> bool:
            program.require()
            asked = _gobgp(self.node.name, "global")
            return asked.wait() == 0

        eventually(answers, _UP_WITHIN, f"gobgpd of {self.node.name}", 0.1)


def _gobgp(node: str, *words: str) -> subprocess.Popen[str]:
    argv = ["nsenter", f"--net={NETNS / node}", "gobgp", *words]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


class RibWatch(Watch):
    """GoBGP's best paths, as `gobgp monitor` tells them."""

    def __init__(self, node: str, prefixes: Collection[Prefix]) -> None:
        super().__init__(prefixes)
        self._monitor = _gobgp(node, "-j", "monitor", "global", "rib")
        self._reader = threading.Thread(target=self._read, name="rib watch", daemon=True)
        self._reader.start()
        time.sleep(0.3)  # it says nothing when it begins to listen

    def close(self) -> None:
        """End the monitor; idempotent."""
        self._monitor.kill()
        self._monitor.wait()
        self._reader.join()
        if self._monitor.stdout:
            self._monitor.stdout.close()

    def _read(self) -> None:
        assert self._monitor.stdout
        for line in self._monitor.stdout:
            now = time.monotonic()
            try:
                paths = json.loads(line)
            except ValueError as error:
                self._fail(LabError(f"gobgp monitor: {line.strip()!r} is no JSON: {error}"))
                return
            with self._changed:
                for path in paths:
                    hops = () if path.get("withdrawal") else (str(path.get("source", "rib")),)
                    self._put(now, ip_network(path["nlri"]["prefix"]), hops)
                self._look(now)
