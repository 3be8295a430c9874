"""What the kernel of one router does with the VIPs, message by message.

`lab.observe.routes.RouteWatch` folds whole tables and knows links and next hop objects; with hundreds of VIPs it falls
behind the kernel. This watch takes the route messages alone, at some microseconds each, so that the times stay true:
the routers here install no next hop objects, and no link goes down.
"""

import errno
import math
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from bgp.route import Prefix
from edge.datapath import netlink
from lab.observe.inside import inside
from lab.observe.rtnetlink import read_route
from lab.runtime import LabError

_SO_RCVBUFFORCE, _BUFFER, _DATAGRAM = 33, 16 << 20, 1 << 17
_TABLE_MAIN = 254

Table = Mapping[Prefix, tuple[str, ...]]
Change = tuple[float, Prefix, tuple[str, ...]]


@dataclass(slots=True)
class Armed:
    """Something waited for: `at` is when it came about, None until then."""

    predicate: Callable[[Table], bool]
    at: float | None = None


class Watch:
    """A table and its changes; what fills them calls `_put`. Times are CLOCK_MONOTONIC, when the news was read."""

    def __init__(self, prefixes: Collection[Prefix]) -> None:
        self._prefixes = frozenset(prefixes)
        self._changed = threading.Condition()
        self._table: dict[Prefix, tuple[str, ...]] = {}
        self._changes: list[Change] = []
        self._armed: list[Armed] = []
        self._error: Exception | None = None

    def table(self) -> dict[Prefix, tuple[str, ...]]:
        """The gateways of each prefix that has a route, sorted."""
        with self._changed:
            return dict(self._table)

    def changes(self, since: float = -math.inf, until: float = math.inf) -> list[Change]:
        """What changed in that time, in order."""
        with self._changed:
            return [change for change in self._changes if since <= change[0] <= until]

    def arm(self, predicate: Callable[[Table], bool]) -> Armed:
        """Note when `predicate` first holds from now on: called before the event, no short moment is missed."""
        with self._changed:
            armed = Armed(predicate, time.monotonic() if predicate(self._table) else None)
            self._armed.append(armed)
            return armed

    def wait(self, armed: Armed, timeout: float, what: str) -> float:
        """When it came about. Raises `LabError` after `timeout` seconds, and when the watch has failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or armed.at is not None, timeout)
            self._armed = [one for one in self._armed if one is not armed]
            if self._error is not None:
                raise LabError(f"the route watch failed: {self._error}") from self._error
            if armed.at is None:
                shown = ", ".join(f"{prefix} via {hops}" for prefix, hops in list(self._table.items())[:3]) or "nothing"
                raise LabError(f"{what}: not within {timeout:g} s; the router has {len(self._table)} routes: {shown}")
            return armed.at

    def until(self, predicate: Callable[[Table], bool], timeout: float, what: str) -> float:
        """Arm and wait at once."""
        return self.wait(self.arm(predicate), timeout, what)

    def _put(self, now: float, prefix: Prefix, hops: tuple[str, ...]) -> None:
        """Note one change, with the condition held."""
        if prefix not in self._prefixes or self._table.get(prefix, ()) == hops:
            return
        if hops:
            self._table[prefix] = hops
        else:
            self._table.pop(prefix, None)
        self._changes.append((now, prefix, hops))

    def _look(self, now: float) -> None:
        """Tell who waits, with the condition held."""
        for armed in self._armed:
            if armed.at is None and armed.predicate(self._table):
                armed.at = now
        self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def close(self) -> None:
        """End the reader."""
        raise NotImplementedError


class KernelWatch(Watch):
    """Open it before the router installs anything: what is there already is not read."""

    def __init__(self, netns: Path, prefixes: Collection[Prefix]) -> None:
        super().__init__(prefixes)
        self._sock: socket.socket = inside(netns, _open)
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, name="kernel watch", daemon=True)
        self._reader.start()

    def close(self) -> None:
        """End the reader; idempotent."""
        if not self._closed.is_set():
            self._closed.set()
            self._reader.join()
            self._sock.close()

    def _read(self) -> None:
        self._sock.settimeout(0.2)
        while not self._closed.is_set():
            try:
                data = self._sock.recv(_DATAGRAM)
            except TimeoutError:
                continue
            except OSError as error:
                self._fail(LabError("messages were lost" if error.errno == errno.ENOBUFS else str(error)))
                return
            now = time.monotonic()
            with self._changed:
                for message in netlink.messages(data):
                    self._take(now, message)
                self._look(now)

    def _take(self, now: float, message: netlink.Message) -> None:
        if message.type not in (netlink.RTM_NEWROUTE, netlink.RTM_DELROUTE):
            return
        route = read_route(message.payload)
        if route is None or route.table != _TABLE_MAIN:
            return
        gone = message.type == netlink.RTM_DELROUTE
        self._put(now, route.prefix, () if gone else tuple(sorted(str(hop.gateway) for hop in route.paths)))


def _open() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    sock = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.bind((0, 0))
    sock.setsockopt(netlink.SOL_NETLINK, netlink.ADD_MEMBERSHIP, netlink.GROUP_IPV4_ROUTE)
    return sock
