"""FRR: zebra, bgpd, staticd and bfdd of one namespace; the configuration goes in through vtysh, as `vtysh -b` does."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.bgp.routers.router import Router, eventually

_DAEMONS = Path("/usr/lib/frr")


class Frr(Router):
    """`vtysh` asks any of its daemons."""

    kind = "frr"
    daemons = ("zebra", "bgpd", "staticd", "bfdd")

    def start(self, config: str) -> None:
        shutil.chown(self.directory, "frr", "frr")
        common = ["-z", str(self.directory / "zserv"), "--vty_socket", str(self.directory), "-P", "0"]
        for name in self.daemons:
            extra = ["--bfdctl", str(self.directory / "bfdd.sock")] if name == "bfdd" else []
            pid = ["-i", str(self.directory / f"{name}.pid"), "--log", "stdout"]
            self.spawn(name, str(_DAEMONS / name), *common, *extra, *pid)
            self.ready((self.directory / f"{name}.vty").exists)
        self.configure(config)

    def configure(self, config: str) -> None:
        """Take a file's lines in and wait until bgpd takes sessions; fails when one is refused.

        bgpd refuses every session for about a second behind the last line (`config-pending hold`).
        """
        file = self.directory / "frr.conf"
        file.write_text(config)
        done = self._vtysh("-f", str(file))
        assert done.returncode == 0, done.stdout + done.stderr
        refused = [line for line in done.stdout.splitlines() if line.startswith("%")]
        assert not refused, done.stdout
        eventually(lambda: "Idle" not in self._states(), 10, lambda: f"FRR holds its sessions: {self._states()}")

    def vtysh(self, *commands: str) -> str:
        """The text of one or more commands."""
        done = self._vtysh(*(word for line in commands for word in ("-c", line)))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, line: str) -> Any:
        """The JSON of a `show ... json`."""
        return json.loads(self.vtysh(line))

    def session(self, peer: str) -> str:
        return str(self.ask(f"show bgp neighbors {peer} json").get(peer, {}).get("bgpState", "absent"))

    def accepted(self, prefix: str) -> list[str]:
        return [str(path["peer"]["peerId"]) for path in self.paths(prefix)]

    def paths(self, prefix: str) -> list[dict[str, Any]]:
        """The paths to a prefix, as FRR describes them."""
        family = "ipv6" if ":" in prefix else "ipv4"
        return list(self.ask(f"show bgp {family} unicast {prefix} json").get("paths", []))

    def _states(self) -> list[str]:
        neighbors = self.ask("show bgp neighbors json")
        return [str(one["bgpState"]) for one in neighbors.values() if isinstance(one, dict) and "bgpState" in one]

    def _vtysh(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = ["vtysh", "--vty_socket", str(self.directory), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
