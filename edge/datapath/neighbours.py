"""Follows the kernel's routes, links and neighbours, and says by which next hop each backend is reached.

A thread does it: netlink requests wait for the kernel's RTNL lock, which others hold for milliseconds, and the event
loop must not. The kernel does the routing (policy rules, longest prefix); the choice among ECMP ways is
`edge.datapath.next_hop`.
"""

import asyncio
import contextlib
import errno as codes
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address
from types import MappingProxyType
from typing import Self

from edge.datapath import rtnetlink
from edge.datapath.model import NextHop
from edge.datapath.next_hop import Choice, Facts, Finding, Station, choose
from edge.datapath.rtnetlink import Hop, Message

NextHops = Mapping[IPv4Address, NextHop | None]

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_RECEIVE_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 22
_TICK = 0.5  # seconds between turns when nothing happens
_ASK_AGAIN = 1.0  # seconds between requests to resolve the same station
_CONFIRM_AGAIN = 5.0  # seconds between requests to confirm a stale one: XDP traffic does not do it
_SETTLE = 0.01  # seconds in which further route changes are taken together
_ROUTING = {
    rtnetlink.RTM_NEWROUTE,
    rtnetlink.RTM_DELROUTE,
    rtnetlink.RTM_NEWRULE,
    rtnetlink.RTM_DELRULE,
    rtnetlink.RTM_NEWNEXTHOP,
    rtnetlink.RTM_DELNEXTHOP,
}


class Neighbours:
    """Calls `on_change` in the event loop with the next hop of every followed address, first and whenever one changes.

    Use `async with`; needs CAP_NET_ADMIN to make the kernel resolve. Works in the network namespace of the thread that
    enters it. A failure of the thread goes to the loop's exception handler and `failure`; then nothing is followed.
    """

    def __init__(self, on_change: Callable[[NextHops], None]) -> None:
        self.failure: Exception | None = None
        self._on_change = on_change
        self._wanted: frozenset[IPv4Address] = frozenset()
        self._findings: Mapping[IPv4Address, Finding] = MappingProxyType({})
        self._thread = threading.Thread(target=self._run, name="neighbours", daemon=True)
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._kernel = _Kernel()
        self._wake_receive, self._wake_send = socket.socketpair()
        self._wake_send.setblocking(False)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        self._wake()
        await asyncio.to_thread(self._thread.join)
        self._kernel.close()
        self._wake_receive.close()
        self._wake_send.close()

    def follow(self, addresses: Iterable[IPv4Address]) -> None:
        """Set the backends to follow, in place of the former ones."""
        self._wanted = frozenset(addresses)
        self._wake()

    def finding(self, address: IPv4Address) -> Finding:
        """Say why an address has or lacks a next hop, as of the last change."""
        return self._findings.get(address, Finding.UNRESOLVED)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            self._wake_send.send(b"x")

    def _run(self) -> None:
        try:
            _Follower(self._kernel, self._wake_receive, lambda: self._wanted, self._publish).run(lambda: self._stopping)
        except Exception as error:  # the loop must learn of it: a dead follower would leave old MACs in force
            self._tell(self._fail, error)

    def _publish(self, choices: Mapping[IPv4Address, Choice]) -> None:
        self._tell(self._deliver, dict(choices))

    def _deliver(self, choices: Mapping[IPv4Address, Choice]) -> None:
        self._findings = MappingProxyType({address: choice.finding for address, choice in choices.items()})
        self._on_change(MappingProxyType({address: choice.next_hop for address, choice in choices.items()}))

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self._loop.call_exception_handler({"message": "following of neighbours ended", "exception": error})

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


class _Follower:
    """The thread's state: facts, the routes of the wanted addresses, and what was asked of the kernel when."""

    def __init__(
        self,
        kernel: "_Kernel",
        wake: socket.socket,
        wanted: Callable[[], frozenset[IPv4Address]],
        publish: Callable[[Mapping[IPv4Address, Choice]], None],
    ) -> None:
        self._kernel, self._wake, self._wanted, self._publish = kernel, wake, wanted, publish
        self._facts = Facts({}, {})
        self._routes: dict[IPv4Address, tuple[Hop, ...]] = {}
        self._asked: dict[Station, float] = {}
        self._told: dict[IPv4Address, tuple[NextHop | None, Finding]] | None = None
        self._routes_old = True

    def run(self, stopping: Callable[[], bool]) -> None:
        """Follow until `stopping`. Raises OSError or NetlinkError when the kernel cannot be followed any more."""
        self._read_all()
        while not stopping():
            self._turn(time.monotonic())
            ready, _, _ = select.select([self._kernel.events, self._wake], [], [], _TICK)
            if self._wake in ready:
                self._wake.recv(1024)
            if self._kernel.events in ready:
                self._read_events()

    def _read_all(self) -> None:
        self._facts = Facts({}, {})
        for kind in (rtnetlink.RTM_GETLINK, rtnetlink.RTM_GETNEIGH):
            for message in self._kernel.dump(kind):
                self._learn(message)
        self._routes_old = True

    def _read_events(self) -> None:
        received = self._kernel.receive_events()
        if received is None:  # some were lost: what we know may be wrong
            self._read_all()
            return
        for message in received:
            self._learn(message)
        if self._routes_old:
            time.sleep(_SETTLE)

    def _learn(self, message: Message) -> None:
        if message.type in (rtnetlink.RTM_NEWLINK, rtnetlink.RTM_DELLINK):
            self._facts.learn_link(rtnetlink.read_link(message.payload), gone=message.type == rtnetlink.RTM_DELLINK)
            self._routes_old = True
        elif message.type in (rtnetlink.RTM_NEWNEIGH, rtnetlink.RTM_DELNEIGH):
            fact = rtnetlink.read_neighbour(message.payload)
            gone = message.type == rtnetlink.RTM_DELNEIGH
            if fact is not None:
                self._facts.learn_neighbour(fact, gone=gone)
            if fact is not None and gone:  # flushed, as when the link's MAC changes: ask at once
                self._asked.pop((fact.ifindex, fact.address), None)
        elif message.type in _ROUTING:
            self._routes_old = True

    def _turn(self, now: float) -> None:
        wanted = self._wanted()
        if self._routes_old:
            self._routes, self._routes_old = {}, False
        for address in wanted - self._routes.keys():
            self._routes[address] = self._kernel.lookup(address)
        choices = {address: choose(address, self._routes[address], self._facts) for address in sorted(wanted)}
        told = {address: (choice.next_hop, choice.finding) for address, choice in choices.items()}
        if told != self._told:
            self._told = told
            self._publish(choices)
        for station in {station for choice in choices.values() for station in choice.ask}:
            self._ask(station, now)

    def _ask(self, station: Station, now: float) -> None:
        known = self._facts.neighbours.get(station)
        pause = _CONFIRM_AGAIN if known is not None and known.stale else _ASK_AGAIN
        if now - self._asked.get(station, -_CONFIRM_AGAIN) >= pause:
            self._asked[station] = now
            self._kernel.use(station)


class _Kernel:
    """Two netlink sockets: one hears of changes, the other asks and gets its answer before it goes on."""

    def __init__(self) -> None:
        self.events = _netlink_socket()
        self._requests = _netlink_socket()
        self._sequence = 0
        for group in rtnetlink.GROUPS.values():
            self.events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        self.events.setblocking(False)
        self._requests.settimeout(5.0)

    def close(self) -> None:
        """Close both sockets."""
        self.events.close()
        self._requests.close()

    def receive_events(self) -> list[Message] | None:
        """Return all messages that wait; None when the kernel had to drop some."""
        found: list[Message] = []
        while True:
            try:
                found += rtnetlink.messages(self.events.recv(_RECEIVE_BYTES))
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno == codes.ENOBUFS:
                    return None
                raise

    def dump(self, kind: int) -> list[Message]:
        """Return everything of a kind."""
        self._requests.send(rtnetlink.dump_request(kind, self._next()))
        found: list[Message] = []
        while True:
            for message in self._answers():
                if message.type == rtnetlink.NLMSG_DONE:
                    return found
                if message.type == rtnetlink.NLMSG_ERROR:
                    raise OSError(rtnetlink.error_code(message.payload), f"netlink dump {kind} refused")
                found.append(message)

    def lookup(self, destination: IPv4Address) -> tuple[Hop, ...]:
        """Return the ways of the route that the kernel matches; none when there is no route."""
        hops = self._ways(destination, whole=True)
        if any(hop.ifindex == 0 for hop in hops):  # net.ipv4.nexthop_compat_mode=0
            return self._ways(destination, whole=False)
        return hops

    def _ways(self, destination: IPv4Address, *, whole: bool) -> tuple[Hop, ...]:
        self._requests.send(rtnetlink.route_request(destination, self._next(), whole=whole))
        while True:
            for message in self._answers():
                if message.type == rtnetlink.NLMSG_ERROR:
                    return ()
                return rtnetlink.read_hops(message.payload)

    def use(self, station: Station) -> None:
        """Make the kernel resolve or confirm a neighbour. A refusal (the link just went) is told by a link event."""
        self._requests.send(rtnetlink.use_request(*station, self._next()))
        while not self._answers():
            pass

    def _answers(self) -> list[Message]:
        """Receive once; messages of earlier requests that were not read to the end are left out."""
        received = rtnetlink.messages(self._requests.recv(_RECEIVE_BYTES))
        return [message for message in received if message.sequence == self._sequence]

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


def _netlink_socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    made.bind((0, 0))
    return made
