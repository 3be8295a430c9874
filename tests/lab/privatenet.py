"""Network namespaces that a test makes for itself and takes away again."""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest

PREFIX = "fh-trf-"
_numbers = count()

_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
Test = TypeVar("Test", bound=Callable[..., None])


def needs_root(test: Test) -> Test:
    """Mark a test that makes network namespaces."""
    marked: Test = pytest.mark.kernel(_root(test))
    return marked


def run(*argv: str) -> str:
    """Run a command that must succeed; its standard output."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
    return done.stdout


def ip(netns: Path, words: str) -> str:
    """Run one `ip` command inside a namespace."""
    return run("ip", "-n", netns.name, *words.split())


@contextmanager
def namespace(label: str, *commands: str) -> Iterator[Path]:
    """A namespace with lo up, then `ip` commands in it; gone at the end."""
    name = f"{PREFIX}{label}-{os.getpid()}-{next(_numbers)}"
    run("ip", "netns", "add", name)
    try:
        path = Path("/run/netns") / name
        for words in ("link set lo up", *commands):
            ip(path, words)
        yield path
    finally:
        run("ip", "netns", "del", name)


def spawn(netns: Path, argv: Sequence[str]) -> subprocess.Popen[str]:
    """Start a command inside a namespace with text pipes on all three streams, as a Runtime does."""
    pipe = subprocess.PIPE
    return subprocess.Popen(["nsenter", f"--net={netns}", *argv], stdin=pipe, stdout=pipe, stderr=pipe, text=True)
