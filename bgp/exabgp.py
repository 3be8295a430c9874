"""Runs ExaBGP with its timers on the monotonic clock: `python -m bgp.exabgp server FILE`, as `python -m exabgp` does.

ExaBGP 5.0 counts hold time, keepalives and the delay before it connects again by the wall clock. A clock that is put an
hour forward would end every session at once; one put back would send no keepalive, and connect nowhere, for an hour.
Both modules know `time` only by `time.time`, so that they are given another one; nothing else of ExaBGP is touched.
"""

import time
from importlib import import_module
from types import SimpleNamespace
from typing import Final

COUNTING: Final = ("exabgp.bgp.timer", "exabgp.reactor.delay")
"""The modules of ExaBGP that count time."""


def count_steadily() -> None:
    """Give what counts time a clock that nobody sets."""
    for name in COUNTING:
        import_module(name).__dict__["time"] = SimpleNamespace(time=time.monotonic)


def main() -> None:
    """Run ExaBGP with the arguments of this process."""
    count_steadily()
    import_module("exabgp.application.main").main()


if __name__ == "__main__":
    main()
