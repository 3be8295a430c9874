"""What a lab leaves on the machine: everything here must be empty before and after."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

MISSING = [name for name in ("tini", "ip", "ethtool") if not shutil.which(name)]
_skip = pytest.mark.skipif(os.geteuid() != 0, reason="a lab of namespaces needs root")
_needs = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
marks = [pytest.mark.lab, _skip, _needs]


def traces(lab: str) -> list[str]:
    """Processes, pinned namespaces, mounts, links, cgroups and files of a lab, in words."""
    return sorted([*_processes(lab), *_files(lab), *_mounts(lab), *_links(lab)])


def wait_for_nothing(lab: str, seconds: float = 10.0) -> None:
    """Fail with what is still there after `seconds`."""
    deadline = time.monotonic() + seconds
    while (left := traces(lab)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []


def wait_until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def pids(lab: str) -> list[int]:
    """All processes that a node of the lab started, its PID 1 included, by the environment they were given."""
    mark = f"CLAB_LABEL_CONTAINERLAB={lab}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def guardian_pid(lab: str) -> int:
    """The lab's guardian, found by the record of the lab."""
    from lab.netns import state  # noqa: PLC0415

    record = state.read(lab)
    return record.guardian if record else 0


def record_is_kept(lab: str) -> bool:
    """Whether the lab is there for good: its tool was done with it."""
    from lab.netns import state  # noqa: PLC0415

    record = state.read(lab)
    return bool(record and record.kept)


def guardians_of(tools: list[int]) -> list[str]:
    """Guardians that still run for one of these tools, in words."""
    ends = tuple(f"lab.netns.guardian\0{tool}\0".encode() for tool in tools)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if (entry / "cmdline").read_bytes().endswith(ends):
                    found.append(f"guardian {entry.name}")
    return found


def zombies() -> list[str]:
    """Dead processes of this test run that nobody has collected."""
    argv = ["ps", "-o", "stat=,args=", "--ppid", str(os.getpid())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line.startswith("Z")]


def open_files() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def _processes(lab: str) -> Iterator[str]:
    for pid in pids(lab):
        yield f"process {pid}"
    for entry in Path("/run/fairhop/lab").glob(f"{lab}/lab.json"):
        yield f"record {entry}"


def _files(lab: str) -> Iterator[str]:
    for folder in ("/run/netns", "/run/fairhop/lab"):
        for path in Path(folder).glob(f"*{lab}*"):
            yield f"file {path}"
    for path in Path("/sys/fs/cgroup").glob(f"**/*{lab}*"):
        yield f"cgroup {path}"


def _mounts(lab: str) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if lab in line:
            yield f"mount {line}"


def _links(lab: str) -> Iterator[str]:
    for path in Path("/sys/class/net").glob("fhns*"):
        yield f"link {path.name}"
