"""Packets and bytes that routers send to each edge, second by second, from the counters of the routers' interfaces.

An edge's own counters depend on what it is made of; a router's do not. One read of /proc/net/dev per router and second,
through a file that was opened inside the router's namespace.
"""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lab.observe.inside import inside
from lab.observe.sockets import Observer
from lab.observe.taps import Tap
from lab.runtime import LabError

_ROOM = 1 << 16  # bytes of /proc/net/dev; a line has about 130
_TX_BYTES, _TX_PACKETS = 8, 9  # places behind the interface's name


class Rate(NamedTuple):
    """What one link carried towards an edge in the interval that ended at `t` (CLOCK_MONOTONIC, s)."""

    t: float
    router: str
    edge: str
    packets: int
    bytes: int


class Count(NamedTuple):
    """Packets and bytes that an interface has sent since it was made."""

    packets: int
    bytes: int


class RateWatch(Observer):
    """Reads the counters every `every` seconds from now until `close`.

    `netns`: router name -> its network namespace. Raises LabError. The open files keep the namespaces alive: close it.
    """

    def __init__(self, netns: Mapping[str, Path], taps: Sequence[Tap], every: float = 1.0) -> None:
        self._every = every
        self._taps: dict[str, dict[str, str]] = defaultdict(dict)
        for tap in taps:
            self._taps[tap.router][tap.interface] = tap.edge
        self._rates: list[Rate] = []
        self._error: OSError | None = None
        self._ended = threading.Event()
        with ExitStack() as opened:
            self._files = {router: inside(netns[router], partial(_open, opened)) for router in self._taps}
            self._before = self._read()
            self._resources = opened.pop_all()
        self._reader = threading.Thread(target=self._run, name="rate watch")
        self._reader.start()

    def follow(self, router: str, netns: Path) -> None:
        """Go on with a router in another namespace, where it has been started anew. Raises LabError."""
        if router in self._files:
            # The former file stays open until `close`: the thread may read it just now.
            self._files[router] = inside(netns, partial(_open, self._resources))

    def links(self) -> list[Rate]:
        """Every link and second so far, in order of time. Raises LabError once a counter could not be read."""
        if self._error:
            raise LabError(f"cannot read the counters of the routers: {self._error}")
        return list(self._rates)

    def series(self) -> list[tuple[float, str, int, int]]:
        """(t, edge, packets, bytes) for every edge and second so far: its links summed."""
        sums: dict[tuple[float, str], tuple[int, int]] = {}
        for rate in self.links():
            packets, octets = sums.get((rate.t, rate.edge), (0, 0))
            sums[rate.t, rate.edge] = packets + rate.packets, octets + rate.bytes
        return [(t, edge, *both) for (t, edge), both in sums.items()]

    def close(self) -> None:
        """End the thread and close the files; idempotent."""
        self._ended.set()
        self._reader.join()
        super().close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            due = max(due + self._every, time.monotonic())
            if self._ended.wait(due - time.monotonic()):
                return
            try:
                after = self._read()
            except OSError as error:
                self._error = error
                return
            self._add(time.monotonic(), after)

    def _add(self, now: float, after: dict[tuple[str, str], Count]) -> None:
        for (router, interface), count in after.items():
            before = self._before.get((router, interface), Count(0, 0))
            if count.packets < before.packets:  # the link was made anew
                before = Count(0, 0)
            edge = self._taps[router][interface]
            self._rates.append(Rate(now, router, edge, count.packets - before.packets, count.bytes - before.bytes))
        self._before = {**self._before, **after}  # a link that is not there just now goes on where it was

    def _read(self) -> dict[tuple[str, str], Count]:
        return {
            (router, interface): count
            for router, fd in self._files.items()
            for interface, count in read_sent(os.pread(fd, _ROOM, 0).decode("ascii")).items()
            if interface in self._taps[router]
        }


def read_sent(text: str) -> dict[str, Count]:
    """What each interface has sent, from the text of /proc/net/dev."""
    found = {}
    for line in text.splitlines():
        name, colon, rest = line.partition(":")
        words = rest.split()
        if colon and len(words) > _TX_PACKETS:
            found[name.strip()] = Count(int(words[_TX_PACKETS]), int(words[_TX_BYTES]))
    return found


def _open(opened: ExitStack) -> int:
    fd = os.open("/proc/thread-self/net/dev", os.O_RDONLY | os.O_CLOEXEC)
    opened.callback(os.close, fd)
    return fd
