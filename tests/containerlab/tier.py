"""What this tier needs of the machine, and the one rule about its absence: a skip by name, or a failure in CI."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BUILD = ROOT / "build"
CPU_CONTROLLER = Path("/sys/fs/cgroup/cpu")


def missing(what: str) -> NoReturn:
    """Skip, naming what is missing; where FAIRHOP_REQUIRE lists this tier, fail instead."""
    if "containerlab" in os.environ.get("FAIRHOP_REQUIRE", "").split(","):
        pytest.fail(f"FAIRHOP_REQUIRE asks for the containerlab tier, but {what}", pytrace=False)
    pytest.skip(f"containerlab tier: {what}")


def need(command: str, package: str) -> None:
    if shutil.which(command) is None:
        missing(f"`{command}` is not installed ({package})")


def run(*argv: str | Path, timeout: float = 60) -> str:
    """Standard output; a failure shows both outputs."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=timeout, cwd=ROOT)
    assert done.returncode == 0, f"{argv[0]} gives {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def docker_answers() -> bool:
    return subprocess.run(["docker", "version"], capture_output=True, check=False, timeout=20).returncode == 0


@contextmanager
def docker_daemon() -> Iterator[None]:
    """A Docker daemon: the running one, else one started here without flags and stopped at the end."""
    if os.geteuid() != 0:
        missing("not root: containerlab moves interfaces between namespaces")
    need("docker", "Debian: docker.io")
    if docker_answers():
        yield
        return
    need("dockerd", "Debian: docker.io")
    BUILD.mkdir(exist_ok=True)
    log = BUILD / "dockerd.log"
    with log.open("w") as written:
        daemon = subprocess.Popen(_dockerd(), stdout=written, stderr=written, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not docker_answers():
            assert daemon.poll() is None, f"dockerd ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"dockerd does not answer: {log.read_text()[-2000:]}"
            time.sleep(0.2)
        yield
    finally:
        daemon.terminate()
        daemon.wait(60)


def _dockerd() -> list[str]:
    """The command of a daemon whose containers may have real-time programs, which BFD asks for.

    A kernel that groups them by cgroups v1 refuses them in each new group, and containerlab knows no share of them. So
    the daemon does not see the cpu controller: its containers stay in the group that it is in itself.
    """
    if not (CPU_CONTROLLER / "cpu.rt_runtime_us").exists():
        return ["dockerd"]
    return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", f"umount {CPU_CONTROLLER} && exec dockerd"]


def traces(lab: str) -> set[str]:
    """What a lab has on the machine: containers, named namespaces, networks, interfaces, files."""
    found = run("docker", "ps", "--all", "--filter", f"label=containerlab={lab}", "--format", "{{.Names}}").split()
    found += run("docker", "network", "ls", "--filter", "label=containerlab", "--format", "{{.Name}}").split()
    for folder in ("/run/netns", "/run/fairhop-lab/containerlab", "/etc/ssh/ssh_config.d", "/run/fairhop/lab"):
        found += [str(path) for path in Path(folder).glob(f"*{lab}*")]
    found += [path.name for path in Path("/sys/class/net").glob("clab-*")]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if lab in line]
    return set(found)


def module_directory() -> Path:
    """Where the pinned containerlab's source lies in Go's module cache."""
    need("go", "https://go.dev/dl, 1.21 or later")
    tools = ROOT / "containerlab" / "tools"
    run("go", "-C", tools, "mod", "download", "github.com/srl-labs/containerlab", timeout=300)
    return Path(run("go", "-C", tools, "list", "-m", "-f", "{{.Dir}}", "github.com/srl-labs/containerlab").strip())
