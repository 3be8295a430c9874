"""Raw sockets for tunnel probes: opened by the daemon, inherited by the checker, which may open none itself."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def opened(kinds: Collection[str]) -> Iterator[Mapping[str, int]]:
    """The descriptors that checks of these kinds need, by name; closed on leaving. Raises OSError."""
    yield {}
