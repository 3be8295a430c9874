"""The few things the lab asks of Docker's command line."""

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lab.runtime import LabError


@dataclass(frozen=True, slots=True)
class Container:
    """One container. `pid` is 0 unless it runs; `image` is an image's id, not its name."""

    name: str
    state: str
    pid: int
    image: str
    restart_policy: str


def docker(*argv: str, timeout: float = 60.0) -> str:
    """Standard output of `docker ARGV`; raises LabError with Docker's own words when it fails."""
    done = _docker(argv, timeout)
    if done.returncode != 0:
        raise LabError(f"docker {argv[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def require_daemon() -> None:
    """Raise LabError, saying what to do, unless a Docker daemon answers."""
    done = _docker(("version", "--format", "{{.Server.Version}}"), 20.0)
    if done.returncode != 0:
        raise LabError(f"Docker does not answer ({done.stderr.strip()}): start it, e.g. `systemctl start docker`")


def containers(names: Iterable[str]) -> dict[str, Container]:
    """Those of the named containers that exist, by name."""
    return {each.name: each for each in map(_container, _inspect("container", names))}


def labelled(label: str) -> list[str]:
    """Names of all containers, running or not, that carry `label` (KEY or KEY=VALUE)."""
    return docker("ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}").split()


def remove_networks(label: str) -> None:
    """Remove the networks that carry `label` and that no container uses."""
    for network in docker("network", "ls", "--filter", f"label={label}", "--format", "{{.Name}}").split():
        _docker(("network", "rm", network), 20.0)


def image_ids(names: Iterable[str]) -> dict[str, str]:
    """Name of each of the images that is present -> its id."""
    wanted = sorted(set(names))
    present = _inspect("image", wanted)
    ids = {tag: str(image["Id"]) for image in present for tag in image["RepoTags"]}
    return {name: ids[name] for name in wanted if name in ids}


def last_words(container: str) -> str:
    """The last lines that the container wrote, empty when there are none."""
    done = _docker(("logs", "--tail", "5", container), 20.0)
    return f"{done.stdout}{done.stderr}".strip() if done.returncode == 0 else ""


def _container(described: dict[str, Any]) -> Container:
    state = described["State"]
    return Container(
        name=described["Name"].lstrip("/"),
        state=state["Status"],
        pid=state["Pid"],
        image=described["Image"],
        restart_policy=described["HostConfig"]["RestartPolicy"]["Name"] or "no",
    )


def _inspect(kind: str, names: Iterable[str]) -> list[dict[str, Any]]:
    """Docker's description of those of the named things that exist."""
    wanted = list(names)
    if not wanted:
        return []
    done = _docker((kind, "inspect", *wanted), 60.0)
    # Absent names make it fail, and still it prints the others.
    errors = [line for line in done.stderr.splitlines() if line and "No such" not in line]
    if errors:
        raise LabError(f"docker {kind} inspect: {errors[0]}")
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def _docker(argv: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["docker", *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
        )
    except FileNotFoundError:
        raise LabError("docker is not installed: on Debian, `apt-get install docker.io`") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"docker {argv[0]}: no answer within {timeout:g} s") from None
