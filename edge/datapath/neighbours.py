"""Follows the kernel's routes, links and neighbours, and says by which next hop each backend is reached.

A thread does it: netlink requests wait for the kernel's RTNL lock, which others hold for milliseconds, and the event
loop must not. The kernel does the routing (policy rules, longest prefix); the choice among ECMP ways is
`edge.datapath.next_hop`.
"""

import asyncio
import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Self

from edge.datapath import netlink, rtnetlink
from edge.datapath.model import NextHop
from edge.datapath.netlink import Hop, IpAddress, Message
from edge.datapath.netlink_socket import Kernel
from edge.datapath.next_hop import Choice, Facts, Finding, Station, choose

NextHops = Mapping[IpAddress, NextHop | None]

_TICK = 0.25  # seconds between looks at the links in use: the kernel tells of a lost carrier up to a second late
_ASK_AGAIN = 1.0  # seconds between requests to resolve the same station
_CONFIRM_AGAIN = 5.0  # seconds between requests to confirm a stale one: XDP traffic does not do it
_SETTLE = 0.01  # seconds in which further route changes are taken together
_ROUTING = {
    netlink.RTM_NEWROUTE,
    netlink.RTM_DELROUTE,
    netlink.RTM_NEWRULE,
    netlink.RTM_DELRULE,
    netlink.RTM_NEWNEXTHOP,
    netlink.RTM_DELNEXTHOP,
}


class Neighbours:
    """Calls `on_change` in the event loop with the next hop of every followed address, first and whenever one changes.

    Use `async with`; needs CAP_NET_ADMIN to make the kernel resolve. Works in the network namespace of the thread that
    enters it. A failure of the thread goes to the loop's exception handler and `failure`; then nothing is followed.
    """

    def __init__(self, on_change: Callable[[NextHops], None]) -> None:
        self.failure: Exception | None = None
        self._on_change = on_change
        self._wanted: frozenset[IpAddress] = frozenset()
        self._silent: frozenset[IpAddress] = frozenset()
        self._only: Mapping[IpAddress, str] = MappingProxyType({})
        self._findings: Mapping[IpAddress, Finding] = MappingProxyType({})
        self._thread = threading.Thread(target=self._run, name="neighbours", daemon=True)
        self._stopping = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._kernel = Kernel()
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

    def follow(self, addresses: Iterable[IpAddress]) -> None:
        """Set the backends to follow, in place of the former ones."""
        self._wanted = frozenset(addresses)
        self._wake()

    def avoid(self, gateways: Iterable[IpAddress]) -> None:
        """Set the routers that are silent, in place of the former ones: ways by them are taken when nothing else is."""
        silent = frozenset(gateways)
        if silent != self._silent:
            self._silent = silent
            self._wake()

    @property
    def only(self) -> Mapping[IpAddress, str]:
        """The interface that all for a followed address should leave by, of those that have a silent way."""
        return self._only

    @property
    def findings(self) -> Mapping[IpAddress, Finding]:
        """Why each followed address has or lacks a next hop, as of the last change."""
        return self._findings

    def finding(self, address: IpAddress) -> Finding:
        """Say why an address has or lacks a next hop, as of the last change."""
        return self._findings.get(address, Finding.UNRESOLVED)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            self._wake_send.send(b"x")

    def _run(self) -> None:
        try:
            wanted, silent = lambda: self._wanted, lambda: self._silent
            follower = _Follower(self._kernel, self._wake_receive, wanted, silent, self._publish)
            follower.run(lambda: self._stopping)
        except Exception as error:  # the loop must learn of it: a dead follower would leave old MACs in force
            self._tell(self._fail, error)

    def _publish(self, choices: Mapping[IpAddress, Choice], only: Mapping[IpAddress, str]) -> None:
        self._tell(self._deliver, dict(choices), only)

    def _deliver(self, choices: Mapping[IpAddress, Choice], only: Mapping[IpAddress, str]) -> None:
        self._only = MappingProxyType(dict(only))
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
        kernel: Kernel,
        wake: socket.socket,
        wanted: Callable[[], frozenset[IpAddress]],
        silent: Callable[[], frozenset[IpAddress]],
        publish: Callable[[Mapping[IpAddress, Choice], Mapping[IpAddress, str]], None],
    ) -> None:
        self._kernel, self._wake, self._publish = kernel, wake, publish
        self._wanted, self._silent = wanted, silent
        self._facts = Facts({}, {})
        self._routes: dict[IpAddress, tuple[Hop, ...]] = {}
        self._asked: dict[Station, float] = {}
        self._told: dict[IpAddress, tuple[NextHop | None, Finding, int]] | None = None
        self._routes_old = True
        self._looked = float("-inf")

    def run(self, stopping: Callable[[], bool]) -> None:
        """Follow until `stopping`. Raises OSError or NetlinkError when the kernel cannot be followed any more."""
        self._read_all()
        while not stopping():
            self._look_at_links(time.monotonic())
            self._turn(time.monotonic())
            ready, _, _ = select.select([self._kernel.events, self._wake], [], [], _TICK)
            if self._wake in ready:
                self._wake.recv(1024)
            if self._kernel.events in ready:
                self._read_events()

    def _read_all(self) -> None:
        self._facts = Facts({}, {})
        for kind in (netlink.RTM_GETLINK, netlink.RTM_GETNEIGH):
            for message in self._kernel.dump(kind):
                self._learn(message)
        self._routes_old = True

    def _look_at_links(self, now: float) -> None:
        if now - self._looked < _TICK:
            return
        self._looked = now
        links = self._facts.links
        used = {hop.ifindex for hops in self._routes.values() for hop in hops} & links.keys()
        for ifindex in used | ({links[index].parent for index in used} & links.keys()):
            message = self._kernel.link(ifindex)
            if message is not None and rtnetlink.read_link(message.payload) != links[ifindex]:
                self._learn(message)

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
        if message.type in (netlink.RTM_NEWLINK, netlink.RTM_DELLINK):
            self._facts.learn_link(rtnetlink.read_link(message.payload), gone=message.type == netlink.RTM_DELLINK)
            self._routes_old = True
        elif message.type in (netlink.RTM_NEWNEIGH, netlink.RTM_DELNEIGH):
            fact = rtnetlink.read_neighbour(message.payload)
            gone = message.type == netlink.RTM_DELNEIGH
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
        silent = self._silent()
        choices = {address: choose(address, self._routes[address], self._facts, silent) for address in wanted}
        told = {address: (choice.next_hop, choice.finding, choice.only) for address, choice in choices.items()}
        if told != self._told:
            self._told = told
            only = {address: self._facts.links[each.only].name for address, each in choices.items() if each.only}
            self._publish(choices, only)
        for station in {station for choice in choices.values() for station in choice.ask}:
            self._ask(station, now)

    def _ask(self, station: Station, now: float) -> None:
        known = self._facts.neighbours.get(station)
        pause = _CONFIRM_AGAIN if known is not None and known.stale else _ASK_AGAIN
        if now - self._asked.get(station, -_CONFIRM_AGAIN) >= pause:
            self._asked[station] = now
            self._kernel.use(station)
