"""Runs what a unit runs, with the rights that the unit gives: `python -m tests.edge.unit_rig UNIT DIRECTORY`.

To be started in mount and network namespaces of its own (`unshare --mount --net --propagation private`), which take all
that is changed here with them. No systemd is started: capabilities, NoNewPrivileges, UMask and what is read-only or
hidden are set as systemd.exec(5) tells. DIRECTORY has the configuration and the credentials. Prints one JSON object.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FAIRHOP = Path(sys.executable).with_name("fairhop")
INSTALLED = "/opt/fairhop/bin/fairhop"
LINKS = """\
link set lo up
link add eth1 type veth peer name p1
link set eth1 up
link set p1 up
address add 10.0.5.1/31 dev eth1
address add 10.255.0.6/32 dev lo
neighbour replace 10.0.5.0 lladdr 02:00:00:00:00:01 dev eth1
route add default via 10.0.5.0
address add fd00:0:0:5::1/64 dev eth1 nodad
route add ::/0 via fd00:0:0:5::2 dev eth1
"""


def settings(unit: Path) -> dict[str, str]:
    """The settings of a unit's [Service]; values of a key that is repeated are joined by blanks."""
    found: dict[str, str] = {}
    for line in unit.read_text().partition("[Service]")[2].partition("[Install]")[0].splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[key] = f"{found[key]} {value}" if key in found else value
    return found


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def confine(unit: dict[str, str]) -> None:
    """What the file system is to the unit: ProtectSystem=strict, ProtectHome, PrivateTmp, and its own directories."""
    mount("-t", "bpf", "bpf", "/sys/fs/bpf")
    own = {"/run": unit.get("RuntimeDirectory"), "/var/lib": unit.get("StateDirectory")}
    for at, name in own.items():
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", at)
        if name:
            (Path(at) / name).mkdir()
            mode = unit.get("StateDirectoryMode", "0755") if at == "/var/lib" else "0755"
            mount("-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", f"{at}/{name}")
    hidden = [*(["/home", "/root"] if unit["ProtectHome"] == "yes" else [])]
    hidden += ["/tmp", "/var/tmp"] if unit["PrivateTmp"] == "yes" else []
    needed = (str(ROOT), sys.prefix, sys.base_prefix)
    for at in hidden:
        if not any(path.startswith(f"{at}/") for path in needed):
            mount("-t", "tmpfs", "-o", "mode=1777" if at.endswith("tmp") else "mode=700", "tmpfs", at)
    assert unit["ProtectSystem"] == "strict"
    for at in ("/", "/run", "/var/lib"):
        mount("-o", "remount,bind,ro", at)  # `bind`: of this mount alone, not of the file system


def confined(unit: dict[str, str], command: str, *more: str) -> list[str]:
    """A command line of the unit, with its rights."""
    program, *words = command.split()
    assert program == INSTALLED
    capabilities = ",".join(f"+{each.removeprefix('CAP_').lower()}" for each in unit["CapabilityBoundingSet"].split())
    assert unit["NoNewPrivileges"] == "yes"
    rights = ["setpriv", "--no-new-privs", "--bounding-set", f"-all,{capabilities}", "--inh-caps=-all"]
    return [*rights, "--", str(FAIRHOP), *words, *more]


class Notified:
    """The service manager's end of sd_notify."""

    def __init__(self, name: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{name}")
        self._socket.settimeout(0.2)
        self.said: list[str] = []

    def wait(self, word: str, seconds: float, speaker: subprocess.Popen[str]) -> bool:
        """Whether it is said in time, and before the end of who could say it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.said.append(self._socket.recv(100).decode())
            except TimeoutError:
                if speaker.poll() is not None:
                    return False
                continue
            if self.said[-1] == word:
                return True
        return False


def in_here() -> Iterator[tuple[int, str]]:
    """Every other process of this network namespace, with what it runs."""
    here = Path("/proc/self/ns/net").readlink()
    others = [each for each in Path("/proc").iterdir() if each.name.isdigit() and int(each.name) != os.getpid()]
    for directory in others:
        with suppress(OSError):
            words = (directory / "cmdline").read_bytes()
            if words and (directory / "ns/net").readlink() == here:
                yield int(directory.name), words.replace(b"\0", b" ").decode()


def main() -> None:
    path, given = Path(sys.argv[1]), Path(sys.argv[2])
    unit, files = settings(path), {file.name: file.read_bytes() for file in given.iterdir()}
    subprocess.run(["ip", "-batch", "-"], input=LINKS, text=True, check=True)
    for name in ("all", "eth1"):
        Path(f"/proc/sys/net/ipv4/conf/{name}/rp_filter").write_text("0")
    confine(unit)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/mnt")
    for name, content in files.items():
        (Path("/mnt") / name).write_bytes(content)
        (Path("/mnt") / name).chmod(0o400)
    mount("-o", "remount,bind,ro", "/mnt")
    os.umask(int(unit["UMask"], 8))
    os.chdir("/")
    notified = Notified("unit-rig")
    rights = {"NOTIFY_SOCKET": "@unit-rig", "CREDENTIALS_DIRECTORY": "/mnt", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    kind = "backend" if "backend" in path.name else "edge"
    config = ["--config", "/mnt/fairhop.yaml" if kind == "edge" else "/mnt/backend.yaml"]

    def start() -> subprocess.Popen[str]:
        argv = confined(unit, unit["ExecStart"], *config)
        return subprocess.Popen(argv, env=rights, stderr=subprocess.PIPE, text=True)

    told: dict[str, Any] = {}
    daemon = start()
    told["ready"] = notified.wait("READY=1", 20, daemon)
    told["beats"] = notified.wait("WATCHDOG=1", 10, daemon)
    if kind == "edge" and told["ready"]:
        argv = confined(unit, unit["ExecReload"])
        again = subprocess.run(argv, env=rights, capture_output=True, text=True, check=False)
        told["reload"] = [again.returncode, again.stdout + again.stderr]
        exabgp = [pid for pid, words in in_here() if "bgp.exabgp server" in words]
        listening = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        told["listens"] = any(words[1].endswith(":00B3") and words[3] == "0A" for words in listening)
        daemon.kill()
        told["first"] = daemon.communicate()[1]
        daemon = start()
        told["ready again"] = notified.wait("READY=1", 20, daemon)
        told["adopted"] = exabgp == [pid for pid, words in in_here() if "bgp.exabgp server" in words] != []
        argv = [str(FAIRHOP), "status", "--json"]
        shown = subprocess.run(argv, env=rights, capture_output=True, text=True, check=False)
        told["status"] = json.loads(shown.stdout or "null")
    daemon.send_signal(signal.SIGTERM)
    told["stopping"] = notified.wait("STOPPING=1", float(unit["TimeoutStopSec"]), daemon)
    with suppress(subprocess.TimeoutExpired):
        told["last"] = daemon.communicate(timeout=10)[1]
    told["status code"] = daemon.poll()
    told["left"] = [words for _, words in in_here()]
    told["written"] = [str(at) for at in (Path("/etc/x"), Path("/usr/x"), Path("/run/x")) if _can_write(at)]
    print(json.dumps(told))
    daemon.kill()
    for pid, _ in in_here():
        os.kill(pid, signal.SIGKILL)


def _can_write(path: Path) -> bool:
    try:
        path.write_text("")
    except OSError:
        return False
    return True


if __name__ == "__main__":
    assert shutil.which("setpriv")
    main()
