"""GoBGP of one namespace. It installs nothing in the kernel by itself: ask its table."""

import json
import subprocess
from typing import Any

from tests.bgp.routers.net import command
from tests.bgp.routers.router import Router


class Gobgp(Router):
    """`gobgp` asks it, over 127.0.0.1 inside the namespace."""

    kind = "gobgp"

    def start(self, config: str) -> None:
        file = self.directory / "gobgpd.toml"
        file.write_text(config)
        self.spawn("gobgpd", "/usr/bin/gobgpd", "-t", "toml", "-f", str(file), "--api-hosts", "127.0.0.1:50051", "-p")
        self.ready(lambda: self._call("global").stdout.startswith("AS:"))

    def gobgp(self, line: str) -> Any:
        """The JSON of one command."""
        done = self._call("-j", *line.split())
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def session(self, peer: str) -> str:
        states = {
            one["state"]["neighbor_address"]: one["state"].get("session_state", 0) for one in self.gobgp("neighbor")
        }
        return {6: "Established", None: "absent"}.get(states.get(peer), f"state {states.get(peer)}")

    def accepted(self, prefix: str) -> list[str]:
        return [path["neighbor-ip"] for path in self.paths(prefix)]

    def paths(self, prefix: str) -> list[dict[str, Any]]:
        """The paths to a prefix in the loc_rib, the best one first."""
        family = "ipv6" if ":" in prefix else "ipv4"
        done = self._call("-j", "global", "rib", "-a", family, prefix)
        if done.returncode != 0 or not done.stdout.startswith(("{", "[")):
            return []
        return [path for paths in _tables(json.loads(done.stdout)) for path in paths]

    def table(self) -> set[str]:
        """Every prefix of the loc_rib."""
        found: set[str] = set()
        for family in ("ipv4", "ipv6"):
            found |= set(self.gobgp(f"global rib -a {family}"))
        return found

    def _call(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv = command(self.netns, "gobgp", *words)
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def _tables(answer: Any) -> list[list[dict[str, Any]]]:
    return list(answer.values()) if isinstance(answer, dict) else [answer]
