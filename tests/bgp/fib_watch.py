"""What a router's kernel was told to change, as it happens: every route that came, went or was replaced."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path

from tests.bgp.routers.net import command


@dataclass
class FibWatch:
    """`changes` holds (CLOCK_MONOTONIC seconds, prefix, installed) in order, of the prefixes that are watched."""

    prefixes: tuple[str, ...]
    changes: list[tuple[float, str, bool]] = field(default_factory=list)

    def since(self, moment: int) -> list[tuple[str, bool]]:
        """(prefix, installed) of every change behind the first `moment` ones."""
        return [(prefix, installed) for _, prefix, installed in self.changes[moment:]]

    def quiet(self, seconds: float) -> bool:
        """Whether nothing has changed for so long."""
        return not self.changes or time.monotonic() - self.changes[-1][0] >= seconds

    def gone(self, prefix: str, moment: int) -> float | None:
        """When a prefix was removed, behind the first `moment` changes; None if it was not."""
        return next((at for at, p, installed in self.changes[moment:] if p == prefix and not installed), None)

    def read(self, line: str) -> None:
        """One line of `ip monitor route`."""
        words = line.split()
        gone = words[:1] == ["Deleted"]
        with contextlib.suppress(ValueError, IndexError):
            prefix = str(ip_network(words[1] if gone else words[0]))
            if prefix in self.prefixes:
                self.changes.append((time.monotonic(), prefix, not gone))


@contextlib.contextmanager
def watching(netns: Path, *prefixes: str) -> Iterator[FibWatch]:
    """Watch until the end of the block."""
    watch = FibWatch(prefixes)
    argv = command(netns, "ip", "monitor", "route")
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def read() -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                watch.read(line)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield watch
    finally:
        process.terminate()
        process.wait(5)
        reader.join(5)
