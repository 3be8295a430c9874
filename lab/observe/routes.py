"""Watches the kernel's routes of all routers at once, through netlink sockets opened in their namespaces."""

import errno
import math
import select
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bgp.route import Prefix
from edge.datapath import netlink
from edge.datapath.netlink import NetlinkError
from lab.observe.fib import Expected, Fib, RouteEvent, Snapshot, differences
from lab.observe.inside import inside
from lab.observe.sockets import Observer
from lab.runtime import LabError

_GROUP_IPV6_ROUTE = 11
_GROUPS = (netlink.GROUP_LINK, netlink.GROUP_IPV4_ROUTE, _GROUP_IPV6_ROUTE, netlink.GROUP_NEXTHOP)
_SO_RCVBUFFORCE = 33
_BUFFER = 4 << 20
_DATAGRAM = 1 << 17  # more than the kernel puts into one
_SYNCHRONISED_WITHIN = 5.0  # seconds
_ENDED, _MOVED = b"x", b"m"  # what the reader is woken for


@dataclass(frozen=True, slots=True)
class _Router:
    sock: socket.socket
    fib: Fib


class RouteWatch(Observer):
    """What each router's kernel does with `prefixes`, from now until `close`; one thread reads for all of them.

    `netns`: router name -> its network namespace (`Runtime.netns`). Close it: an open watch keeps namespaces alive.
    Raises LabError, also from any later method once the reader has failed.
    """

    def __init__(self, netns: Mapping[str, Path], prefixes: Collection[Prefix]) -> None:
        self._changed = threading.Condition()
        self._moved: list[_Router] = []  # those that the reader is to go on with, instead of their namesakes
        self._events: list[RouteEvent] = []
        self._error: Exception | None = None
        self._closed = False
        with ExitStack() as opened:
            self._waker, self._woken = (opened.enter_context(end) for end in socket.socketpair())
            self._routers: dict[int, _Router] = {}
            for name, path in netns.items():
                sock, links = inside(path, partial(_open, name, opened))
                self._routers[sock.fileno()] = _Router(sock, Fib(name, prefixes, links, sock.getsockname()[0]))
            self._resources = opened.pop_all()
        self._reader = threading.Thread(target=self._read, name="route watch")
        self._reader.start()
        try:
            self._wait(lambda: all(router.fib.synchronised for router in self._routers.values()), _SYNCHRONISED_WITHIN)
        except BaseException:
            self.close()
            raise

    def follow(self, name: str, netns: Path) -> None:
        """Go on with a router in another namespace, where it has been started anew; returns once that one is read.

        What differs there is told as a change of now: until now nobody listened there. Raises LabError.
        """
        with self._changed:
            self._check()
            former = next(router.fib for router in self._routers.values() if router.fib.router == name)
        sock, links = inside(netns, partial(_open, name, self._resources))
        with self._changed:
            fib = former.moved(links, sock.getsockname()[0], time.monotonic())
            self._moved.append(_Router(sock, fib))
        self._waker.send(_MOVED)
        self._wait(lambda: not self._moved and fib.is_current, _SYNCHRONISED_WITHIN)

    def snapshot(self) -> Snapshot:
        """Router -> prefix -> next hops in use, just now."""
        with self._changed:
            self._check()
            return self._snapshot()

    def events(self, since: float = -math.inf, until: float = math.inf) -> list[RouteEvent]:
        """The changes read in `since <= time <= until`, in order of time."""
        with self._changed:
            self._check()
            return sorted((e for e in self._events if since <= e.time <= until), key=lambda event: event.time)

    def last_change(self, since: float, until: float = math.inf) -> RouteEvent | None:
        """The latest change read in that time, None when nothing changed."""
        events = self.events(since, until)
        return events[-1] if events else None

    def wait_until(self, predicate: Callable[[Snapshot], bool], timeout: float) -> float:
        """Wait until a snapshot satisfies `predicate`, LabError after `timeout` seconds.

        Returns the time of the change that made it so; that of the call when it was so already.
        """
        called = time.monotonic()
        with self._changed:
            known = len(self._events)
            self._wait(lambda: predicate(self._snapshot()), timeout)
            return max((event.time for event in self._events[known:]), default=called)

    def wait_for(self, expected: Expected, timeout: float) -> float:
        """Wait until the gateways of the routers and prefixes in `expected` are exactly those; as `wait_until`."""
        try:
            return self.wait_until(lambda snapshot: not differences(snapshot, expected), timeout)
        except LabError as error:
            wrong = "; ".join(differences(self.snapshot(), expected))
            raise LabError(f"the routers did not converge within {timeout:g} s: {wrong}") from error

    def wait_quiet(self, quiet: float, timeout: float) -> None:
        """Wait until nothing has changed for `quiet` seconds, LabError after `timeout` seconds."""
        start = time.monotonic()
        while (now := time.monotonic()) - start < timeout:
            last = self.last_change(start)
            rest = (last.time if last else start) + quiet - now
            if rest <= 0:
                return
            time.sleep(min(rest, timeout))
        raise LabError(f"the routes did not stay unchanged for {quiet:g} s within {timeout:g} s")

    def close(self) -> None:
        """End the reader and close every socket; idempotent."""
        if not self._closed:
            self._closed = True
            self._waker.send(_ENDED)
            self._reader.join()
            super().close()

    def _snapshot(self) -> Snapshot:
        return {router.fib.router: router.fib.table() for router in self._routers.values()}

    def _check(self) -> None:
        if self._error is not None:
            raise LabError(f"the route watch failed: {self._error}") from self._error
        if self._closed:
            raise LabError("the route watch is closed")

    def _wait(self, happened: Callable[[], bool], timeout: float) -> None:
        with self._changed:
            met = self._changed.wait_for(lambda: self._error is not None or happened(), timeout)
            self._check()
        if not met:
            raise LabError(f"the routes did not come to what was waited for within {timeout:g} s")

    def _read(self) -> None:
        """The reader's thread: it alone touches the sockets."""
        poll = select.poll()
        for descriptor in (self._woken.fileno(), *self._routers):
            poll.register(descriptor, select.POLLIN)
        try:
            for router in self._routers.values():
                _ask(router)
            while True:
                ready = [descriptor for descriptor, _ in poll.poll()]
                if self._woken.fileno() in ready:
                    if self._woken.recv(1) == _ENDED:
                        return
                    self._go_on_elsewhere(poll)
                    continue
                for descriptor in ready:
                    self._take(self._routers[descriptor])
        except (OSError, NetlinkError) as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _go_on_elsewhere(self, poll: select.poll) -> None:
        """Read the routers that have moved where they are now."""
        with self._changed:
            for router in self._moved:
                former = next(fd for fd, each in self._routers.items() if each.fib.router == router.fib.router)
                poll.unregister(former)
                self._routers.pop(former).sock.close()
                self._routers[router.sock.fileno()] = router
                poll.register(router.sock.fileno(), select.POLLIN)
                _ask(router)
            self._moved.clear()

    def _take(self, router: _Router) -> None:
        """Read one datagram of one router and fold it."""
        events: list[RouteEvent] = []
        try:
            data = router.sock.recv(_DATAGRAM)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            data = b""
        now = time.monotonic()
        with self._changed:
            if data:
                events = router.fib.fold(data, now)
            else:
                router.fib.lost(now)  # the kernel dropped messages for want of room
            self._events += events
            self._changed.notify_all()
        _ask(router)


def _ask(router: _Router) -> None:
    request = router.fib.request()
    if request is not None:
        router.sock.send(request)


def _open(name: str, opened: ExitStack) -> tuple[socket.socket, dict[int, str]]:
    """A socket that hears of routes, links and next hops in the namespace that this is called in; and its links."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    sock = opened.enter_context(socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE))
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        sock.bind((0, 0))
        for group in _GROUPS:
            sock.setsockopt(netlink.SOL_NETLINK, netlink.ADD_MEMBERSHIP, group)
        return sock, dict(socket.if_nameindex())
    except OSError as error:
        raise LabError(f"{name}: cannot watch its routes: {error.strerror}") from error
