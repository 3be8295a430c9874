"""Following next hops in a network namespace: two routers, ECMP, and everything that can change."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from edge.datapath import xdp
from edge.datapath.model import LOCAL_DELIVERY, IpAddress, NextHop
from edge.datapath.neighbours import Neighbours
from edge.datapath.next_hop import Finding
from tests.datapath import kernel
from tests.datapath.kernel import Namespace

pytestmark = pytest.mark.kernel
BACKENDS = [IPv4Address(f"10.9.0.{number}") for number in range(1, 9)]
ON_LINK = IPv4Address("10.0.1.0")
FAST = 1.0


class Site:
    """Namespace `edge` with e1 to router 1 and e2 to router 2; the edge is 10.0.N.1/31, the router 10.0.N.0."""

    def __init__(self) -> None:
        self.edge, *self.routers = self.all = [Namespace() for _ in range(3)]
        for number, router in enumerate(self.routers, start=1):
            kernel.veth(self.edge, f"e{number}", router, "r0")
            self.edge.ip("address", "add", f"10.0.{number}.1/31", "dev", f"e{number}")
            router.ip("address", "add", f"10.0.{number}.0/31", "dev", "r0")

    def ecmp(self, *numbers: int) -> None:
        ways = [word for n in numbers for word in ("nexthop", "via", f"10.0.{n}.0")]
        self.edge.ip("route", "replace", "default", *ways)

    def expected(self, number: int) -> NextHop:
        with self.edge.inside():
            index, near = xdp.interface_index(f"e{number}"), xdp.mac_address(f"e{number}")
        with self.routers[number - 1].inside():
            return NextHop(index, near, xdp.mac_address("r0"))


@pytest.fixture
def site() -> Iterator[Site]:
    built: list[Site] = []
    try:
        built.append(Site())
        yield built[0]
    finally:
        for namespace in built[0].all if built else []:
            namespace.delete()


class Watch:
    """The newest next hops, and how long it took until they met a condition."""

    def __init__(self) -> None:
        self.now: Mapping[IpAddress, NextHop | None] = {}
        self._news = asyncio.Event()

    def changed(self, next_hops: Mapping[IpAddress, NextHop | None]) -> None:
        self.now = next_hops
        self._news.set()

    async def until(self, condition: Callable[[Mapping[IpAddress, NextHop | None]], bool], limit: float) -> float:
        started = time.monotonic()
        while not condition(self.now):
            self._news.clear()
            remaining = limit - (time.monotonic() - started)
            try:
                await asyncio.wait_for(self._news.wait(), max(remaining, 0.001))
            except TimeoutError:
                pytest.fail(f"not within {limit} s: {dict(self.now)}")
        return time.monotonic() - started


def follow(site: Site, steps: Callable[[Neighbours, Watch], Awaitable[None]]) -> None:
    follow_in(site.edge, steps)


def follow_in(edge: Namespace, steps: Callable[[Neighbours, Watch], Awaitable[None]]) -> None:
    async def main() -> None:
        watch = Watch()
        async with Neighbours(watch.changed) as neighbours:
            await steps(neighbours, watch)
        assert neighbours.failure is None

    with edge.inside():
        asyncio.run(main())


def all_via(*allowed: NextHop | None) -> Callable[[Mapping[IpAddress, NextHop | None]], bool]:
    """Every way in `allowed` is used and no other."""
    return lambda now: set(now) == set(BACKENDS) and set(now.values()) == set(allowed)


def test_ecmp_follows_carrier_of_either_link(site: Site) -> None:
    site.ecmp(1, 2)
    first, second = site.expected(1), site.expected(2)

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(all_via(first, second), 2 * FAST)
        settled = dict(watch.now)
        site.routers[0].ip("link", "set", "r0", "down")
        await watch.until(all_via(second), FAST)
        site.routers[0].ip("link", "set", "r0", "up")
        await watch.until(lambda now: dict(now) == settled, FAST)
        assert {neighbours.finding(backend) for backend in BACKENDS} == {Finding.RESOLVED}

    follow(site, steps)


def test_a_router_that_is_to_be_avoided_is_left_out_at_once_while_there_is_another(site: Site) -> None:
    site.ecmp(1, 2)
    first, second = site.expected(1), site.expected(2)

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(all_via(first, second), 2 * FAST)
        assert neighbours.only == {}
        neighbours.avoid([IPv4Address("10.0.1.0")])
        assert await watch.until(all_via(second), FAST) < 0.2, "nobody waits for a look at the links"
        assert neighbours.only == dict.fromkeys(BACKENDS, "e2")
        neighbours.avoid([IPv4Address("10.0.1.0"), IPv4Address("10.0.2.0")])
        await watch.until(all_via(first, second), FAST)
        assert neighbours.only == {}
        neighbours.avoid([IPv4Address("10.0.2.0")])
        await watch.until(all_via(first), FAST)
        neighbours.avoid([])
        await watch.until(all_via(first, second), FAST)

    follow(site, steps)


def test_a_lost_carrier_is_noticed_before_the_kernel_tells_of_it(site: Site) -> None:
    site.ecmp(1, 2)
    first, second = site.expected(1), site.expected(2)
    other = Namespace()
    other.ip("link", "add", "dev", "x0", "type", "veth", "peer", "name", "x1")
    other.ip("link", "set", "dev", "x0", "up")

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        for _ in range(3):
            await watch.until(all_via(first, second), 2 * FAST)
            for way in ("up", "down"):  # after this the kernel waits for up to a second with news of any carrier
                other.ip("link", "set", "dev", "x1", way)
            await asyncio.sleep(0.05)
            site.routers[0].ip("link", "set", "r0", "down")
            assert await watch.until(all_via(second), FAST) < 0.5
            site.routers[0].ip("link", "set", "r0", "up")

    try:
        follow(site, steps)
    finally:
        other.delete()


def test_a_router_that_changes_its_mac_is_followed(site: Site) -> None:
    site.ecmp(1)
    with site.routers[0].inside():
        Path("/proc/sys/net/ipv4/conf/r0/arp_notify").write_text("1")

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(all_via(site.expected(1)), FAST)
        site.routers[0].ip("link", "set", "r0", "address", "02:00:00:00:00:77")
        assert site.expected(1).destination_mac == bytes.fromhex("020000000077")
        await watch.until(all_via(site.expected(1)), FAST)

    follow(site, steps)


def test_an_edge_that_changes_its_own_mac_is_followed(site: Site) -> None:
    site.ecmp(1)

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(all_via(site.expected(1)), FAST)
        site.edge.ip("link", "set", "e1", "address", "02:00:00:00:00:78")
        await watch.until(all_via(site.expected(1)), FAST)
        assert all(hop and hop.source_mac == bytes.fromhex("020000000078") for hop in watch.now.values())

    follow(site, steps)


def test_routes_that_change_are_followed(site: Site) -> None:
    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(all_via(None), FAST)
        assert neighbours.finding(BACKENDS[0]) is Finding.NO_ROUTE
        site.ecmp(1)
        await watch.until(all_via(site.expected(1)), FAST)
        site.edge.ip("route", "add", f"{BACKENDS[0]}/32", "via", "10.0.2.0")
        await watch.until(lambda now: now[BACKENDS[0]] == site.expected(2), FAST)
        site.edge.ip("route", "replace", "blackhole", f"{BACKENDS[0]}/32")
        await watch.until(lambda now: now[BACKENDS[0]] is None, FAST)
        site.edge.ip("route", "delete", "default")
        await watch.until(all_via(None), FAST)

    follow(site, steps)


def test_a_nexthop_object_that_changes_is_followed(site: Site) -> None:
    with site.edge.inside():  # without this the kernel tells of the routes, too
        Path("/proc/sys/net/ipv4/nexthop_compat_mode").write_text("0")
    site.edge.ip("nexthop", "add", "id", "7", "via", "10.0.1.0", "dev", "e1")
    site.edge.ip("route", "add", "default", "nhid", "7")

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(all_via(site.expected(1)), FAST)
        site.edge.ip("nexthop", "replace", "id", "7", "via", "10.0.2.0", "dev", "e2")
        await watch.until(all_via(site.expected(2)), FAST)

    follow(site, steps)


def test_a_gateway_that_does_not_answer_is_asked_until_it_does(site: Site) -> None:
    site.ecmp(1)
    site.routers[0].ip("address", "flush", "dev", "r0")

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(all_via(None), FAST)
        assert neighbours.finding(BACKENDS[0]) is Finding.UNRESOLVED
        await asyncio.sleep(3.5)  # until the kernel has given up once
        site.routers[0].ip("address", "add", "10.0.1.0/31", "dev", "r0")
        await watch.until(all_via(site.expected(1)), 2 * FAST)

    follow(site, steps)


def test_a_backend_on_the_link_and_a_change_of_what_is_followed(site: Site) -> None:
    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow([ON_LINK])
        await watch.until(lambda now: now == {ON_LINK: site.expected(1)}, FAST)
        neighbours.follow([ON_LINK, IPv4Address("10.0.2.0")])
        both = {ON_LINK: site.expected(1), IPv4Address("10.0.2.0"): site.expected(2)}
        await watch.until(lambda now: now == both, FAST)
        neighbours.follow([])
        await watch.until(lambda now: now == {}, FAST)

    follow(site, steps)


def test_an_address_of_the_node_itself_is_delivered_here_while_it_is_its_own(site: Site) -> None:
    own = IPv4Address("10.0.1.9")

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow([own])
        await watch.until(lambda now: now == {own: None}, FAST)
        assert neighbours.finding(own) is Finding.NO_ROUTE
        site.edge.ip("address", "add", f"{own}/32", "dev", "lo")
        await watch.until(lambda now: now == {own: LOCAL_DELIVERY}, FAST)
        assert neighbours.finding(own) is Finding.LOCAL
        site.edge.ip("address", "delete", f"{own}/32", "dev", "lo")
        await watch.until(lambda now: now == {own: None}, FAST)

    follow(site, steps)


def test_a_link_deleted_and_made_anew_is_followed(site: Site) -> None:
    site.ecmp(1)

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        before = site.expected(1)
        await watch.until(all_via(before), FAST)
        site.edge.ip("link", "delete", "e1")
        await watch.until(all_via(None), FAST)
        kernel.veth(site.edge, "e1", site.routers[0], "r0")
        site.edge.ip("address", "add", "10.0.1.1/31", "dev", "e1")
        site.routers[0].ip("address", "add", "10.0.1.0/31", "dev", "r0")
        site.ecmp(1)
        await watch.until(all_via(site.expected(1)), 2 * FAST)
        assert site.expected(1).ifindex != before.ifindex

    follow(site, steps)


def test_a_failure_of_the_thread_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "broken on purpose")

    async def main() -> None:
        heard: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
        monkeypatch.setattr("edge.datapath.neighbours.choose", broken)
        async with Neighbours(lambda _: None) as neighbours:
            neighbours.follow(BACKENDS)
            while neighbours.failure is None:
                await asyncio.sleep(0.01)
            neighbours.follow([])
        assert "broken on purpose" in str(neighbours.failure)
        assert heard[0]["exception"] is neighbours.failure

    with site.edge.inside():
        asyncio.run(main())
