"""What routers' kernels do with some prefixes, folded from rtnetlink messages. Messages in, events out; no I/O.

The kernel tells of a route that is added, replaced or deleted. It tells nothing of a next hop that dies with its
interface, so a change of a link or of a next hop object is a reason to read the whole table again, and the events are
then what differs from before. Of an IPv6 route with several next hops it may also tell that one of them is deleted.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bgp.route import Prefix
from edge.datapath import netlink
from edge.datapath.netlink import Message, NetlinkError
from edge.datapath.rtnetlink import read_link
from lab.observe.rtnetlink import Route, read_route, route_dump

_TABLE_MAIN = 254


@dataclass(frozen=True, slots=True, order=True)
class Hop:
    """One next hop: the gateway's address, "" for a connected route, and the interface's name."""

    gateway: str
    device: str

    def __str__(self) -> str:
        return f"{self.gateway or 'connected'}@{self.device}"


Hops = tuple[Hop, ...]
Table = Mapping[Prefix, Hops]
Snapshot = Mapping[str, Table]
Expected = Mapping[str, Mapping[Prefix, Collection[str]]]


@dataclass(frozen=True, slots=True)
class RouteEvent:
    """The next hops in use for a prefix changed in a router's kernel; () is none.

    `time`: CLOCK_MONOTONIC in seconds, when the message was read; the change itself is earlier by the reader's delay.
    """

    time: float
    router: str
    prefix: Prefix
    hops: Hops


_Routes = dict[tuple[Prefix, int], Hops]


class Fib:
    """One router's main table, as far as it concerns `prefixes`, sorted next hops only where packets take them."""

    def __init__(self, router: str, prefixes: Collection[Prefix], links: Mapping[int, str], port: int) -> None:
        """`links`: interface names by index. `port`: the netlink port of the reader, to know answers from news."""
        self.router = router
        self.synchronised = False
        self._prefixes, self._links, self._port = frozenset(prefixes), dict(links), port
        self._routes: _Routes = {}
        self._reading: _Routes | None = None
        self._stale_since: float | None = None  # not read since
        self._reading_since: float | None = None  # being read because of something at that time
        self._sequence = 0

    @property
    def is_current(self) -> bool:
        """Whether the whole table has been read since the last reason to read it."""
        return self.synchronised and self._stale_since is None and self._reading is None

    def moved(self, links: Mapping[int, str], port: int, now: float) -> "Fib":
        """The router goes on in another namespace, to be read from the start: what differs there from here has changed.

        `links` and `port` as in the constructor.
        """
        other = Fib(self.router, self._prefixes, links, port)
        other.synchronised, other._routes = self.synchronised, dict(self._routes)
        other.lost(now)
        return other

    def table(self) -> dict[Prefix, Hops]:
        """The next hops in use for each prefix that has any."""
        return _in_use(self._routes)

    def lost(self, now: float) -> None:
        """What was folded so far may be wrong: messages were lost, or something changed that no message tells."""
        if self._stale_since is None:
            self._stale_since = now

    def request(self) -> bytes | None:
        """The request that must be sent now, if any: to read the whole table (again)."""
        if self._reading is not None or (self.synchronised and self._stale_since is None):
            return None
        self._reading = {}
        self._reading_since, self._stale_since = self._stale_since, None
        self._sequence += 1
        return route_dump(self._sequence)

    def fold(self, data: bytes, now: float) -> list[RouteEvent]:
        """Take one datagram that was read at `now`; the changes it tells of. Raises NetlinkError.

        The first table read is where changes start from, and is none itself.
        """
        before = self.table() if self.synchronised else None
        time = now
        for message in netlink.messages(data):
            if message.type in (netlink.RTM_NEWROUTE, netlink.RTM_DELROUTE):
                self._route(message, now)
            elif message.type in (netlink.RTM_NEWLINK, netlink.RTM_DELLINK):
                link = read_link(message.payload)
                self._links[link.ifindex] = link.name or self._links.get(link.ifindex, "")
                self.lost(now)
            elif message.type in (netlink.RTM_NEWNEXTHOP, netlink.RTM_DELNEXTHOP):
                self.lost(now)
            elif message.type == netlink.NLMSG_DONE and message.port == self._port:
                time = self._done(message, now)
            elif message.type == netlink.NLMSG_ERROR and (code := netlink.error_code(message.payload)):
                raise NetlinkError(f"{self.router}: the kernel refused to tell its routes (errno {code})")
        return [] if before is None else self._events(before, time)

    def _route(self, message: Message, now: float) -> None:
        route = read_route(message.payload)
        if route is None or route.table != _TABLE_MAIN or route.prefix not in self._prefixes:
            return
        key, hops = (route.prefix, route.metric), self._hops(route)
        # An answer describes the table being read; news concern both it and the one in use, in the order they came.
        tables = [] if self._reading is None else [self._reading]
        if message.port != self._port:
            tables.append(self._routes)
        for table in tables:
            if message.type == netlink.RTM_NEWROUTE:
                table[key] = hops
            elif route.prefix.version == 4 or table.get(key) == hops:
                table.pop(key, None)
            else:
                self.lost(now)

    def _done(self, message: Message, now: float) -> float:
        """The whole table is read; the time of the change that was the reason to read it."""
        if self._reading is None:
            raise NetlinkError(f"{self.router}: the end of a table that was not asked for")
        since = self._reading_since if self._reading_since is not None else now
        self._routes, self._reading = self._reading, None
        self.synchronised = True
        if message.flags & netlink.DUMP_INTERRUPTED:
            self._stale_since = since
        return since

    def _hops(self, route: Route) -> Hops:
        return tuple(sorted(self._hop(path) for path in route.paths if not path.dead))

    def _hop(self, path: netlink.Hop) -> Hop:
        return Hop(str(path.gateway or ""), self._links.get(path.ifindex, f"#{path.ifindex}"))

    def _events(self, before: Table, time: float) -> list[RouteEvent]:
        after = self.table()
        changed = [prefix for prefix in {*before, *after} if before.get(prefix, ()) != after.get(prefix, ())]
        changed.sort(key=in_order)
        return [RouteEvent(time, self.router, prefix, after.get(prefix, ())) for prefix in changed]


def in_order(prefix: Prefix) -> tuple[int, Prefix]:
    """What prefixes of both families are sorted by."""
    return prefix.version, prefix


def _in_use(routes: _Routes) -> dict[Prefix, Hops]:
    """For each prefix the next hops of the route with the lowest metric, where it has any."""
    highest_first = sorted(routes, key=lambda key: key[1], reverse=True)
    best = {prefix: routes[prefix, metric] for prefix, metric in highest_first}
    return {prefix: hops for prefix, hops in best.items() if hops}


def differences(snapshot: Snapshot, expected: Expected) -> list[str]:
    """One sentence for each router and prefix whose gateways are not exactly the expected ones (in any order)."""
    wrong = []
    for router, prefixes in expected.items():
        for prefix, gateways in prefixes.items():
            hops = snapshot.get(router, {}).get(prefix, ())
            if sorted(hop.gateway for hop in hops) != sorted(gateways):
                have = " ".join(map(str, hops)) or "no next hop"
                wrong.append(f"{router}: {prefix} has {have}, expected {' '.join(sorted(gateways)) or 'none'}")
    return wrong
