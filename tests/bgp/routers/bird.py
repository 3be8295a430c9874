"""BIRD 2 of one namespace."""

import re
import subprocess

from tests.bgp.routers.router import Router


class Bird(Router):
    """`birdc` asks it."""

    kind = "bird"

    def start(self, config: str) -> None:
        file, socket = self.directory / "bird.conf", self.directory / "bird.ctl"
        file.write_text(config)
        pid = str(self.directory / "bird.pid")
        self.spawn("bird", "/usr/sbin/bird", "-f", "-c", str(file), "-s", str(socket), "-P", pid)
        self.ready(lambda: socket.exists() and "Daemon is up" in self.birdc("show status", check=False))

    def configure(self, config: str) -> None:
        """Replace the configuration of the running daemon; fails when it is refused."""
        (self.directory / "bird.conf").write_text(config)
        answer = self.birdc("configure")
        assert "Reconfig" in answer, answer

    def birdc(self, line: str, *, check: bool = True) -> str:
        """The text of one command."""
        argv = ["birdc", "-s", str(self.directory / "bird.ctl"), *line.split()]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout

    def session(self, peer: str) -> str:
        for block in re.split(r"\n(?=\S)", self.birdc("show protocols all")):
            if f"Neighbor address: {peer}\n" in block:
                state = re.search(r"BGP state: +(\w+)", block)
                return state[1] if state else "absent"
        return "absent"

    def accepted(self, prefix: str) -> list[str]:
        text = self.birdc(f"show route for {prefix} all", check=False)
        if not re.search(rf"^{re.escape(prefix)} ", text, flags=re.M):
            return []
        return re.findall(r" from (\S+?)(?:%\S+)?\]", text) or re.findall(r"^\s+via (\S+) on", text, flags=re.M)
