"""Following IPv6 next hops in a network namespace: what `test_neighbours` does for IPv4."""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from edge.datapath import xdp
from edge.datapath.model import LOCAL_DELIVERY, IpAddress, NextHop
from edge.datapath.neighbours import Neighbours
from edge.datapath.next_hop import Finding
from tests.datapath import kernel
from tests.datapath.kernel import Namespace
from tests.datapath.test_neighbours import FAST, Watch, follow_in

pytestmark = pytest.mark.kernel
BACKENDS = [IPv6Address(f"fd00:9::{number}") for number in range(1, 9)]


class Site6:
    """Namespace `edge` with e1 to router 1 and e2 to router 2; the edge is fd00:N::1/64, the router fd00:N::2."""

    def __init__(self, edge: Namespace, *routers: Namespace) -> None:
        self.edge, self.routers = edge, routers
        for namespace in (edge, *routers):
            with namespace.inside():
                # Without a link-local address, which takes a second or two to be found unique, nobody is asked.
                for name in ("disable_ipv6", "accept_dad"):
                    Path(f"/proc/sys/net/ipv6/conf/default/{name}").write_text("0")
        for number, router in enumerate(self.routers, start=1):
            kernel.veth(self.edge, f"e{number}", router, "r0")
            self.edge.ip("address", "add", f"fd00:{number}::1/64", "dev", f"e{number}", "nodad")
            router.ip("address", "add", f"fd00:{number}::2/64", "dev", "r0", "nodad")

    def ecmp(self, *numbers: int) -> None:
        ways = [word for n in numbers for word in ("nexthop", "via", f"fd00:{n}::2", "dev", f"e{n}")]
        self.edge.ip("-6", "route", "replace", "default", *ways)

    def expected(self, number: int) -> NextHop:
        with self.edge.inside():
            index, near = xdp.interface_index(f"e{number}"), xdp.mac_address(f"e{number}")
        with self.routers[number - 1].inside():
            return NextHop(index, near, xdp.mac_address("r0"))

    def all_via(self, *numbers: int) -> Callable[[Mapping[IpAddress, NextHop | None]], bool]:
        allowed: set[NextHop | None] = {self.expected(number) for number in numbers}
        return lambda now: set(now) == set(BACKENDS) and set(now.values()) == (allowed or {None})


@pytest.fixture
def site() -> Iterator[Site6]:
    made: list[Namespace] = []
    try:
        for _ in range(3):
            made.append(Namespace())
        yield Site6(*made)
    finally:
        for namespace in made:
            namespace.delete()


def test_ecmp_spreads_and_follows_either_link(site: Site6) -> None:
    site.ecmp(1, 2)

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(site.all_via(1, 2), 2 * FAST)
        site.routers[0].ip("link", "set", "r0", "down")
        await watch.until(site.all_via(2), FAST)

    follow_in(site.edge, steps)


def test_routes_that_change_are_followed(site: Site6) -> None:
    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(site.all_via(), FAST)
        assert neighbours.finding(BACKENDS[0]) is Finding.NO_ROUTE
        site.ecmp(1)
        await watch.until(site.all_via(1), FAST)
        site.ecmp(2)
        await watch.until(site.all_via(2), FAST)
        site.edge.ip("route", "add", f"{BACKENDS[0]}/128", "via", "fd00:1::2")
        await watch.until(lambda now: now[BACKENDS[0]] == site.expected(1), FAST)
        site.edge.ip("route", "replace", "blackhole", f"{BACKENDS[0]}/128")
        await watch.until(lambda now: now[BACKENDS[0]] is None, FAST)
        site.edge.ip("-6", "route", "delete", "default")
        await watch.until(site.all_via(), FAST)

    follow_in(site.edge, steps)


def test_a_router_that_changes_its_mac_is_followed(site: Site6) -> None:
    site.ecmp(1)
    with site.routers[0].inside():
        Path("/proc/sys/net/ipv6/conf/r0/ndisc_notify").write_text("1")

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(site.all_via(1), FAST)
        site.routers[0].ip("link", "set", "r0", "address", "02:00:00:00:00:77")
        assert site.expected(1).destination_mac == bytes.fromhex("020000000077")
        await watch.until(site.all_via(1), FAST)

    follow_in(site.edge, steps)


def test_a_rule_and_a_nexthop_object_are_followed(site: Site6) -> None:
    site.edge.ip("nexthop", "add", "id", "7", "via", "fd00:1::2", "dev", "e1")
    site.edge.ip("-6", "route", "add", "default", "nhid", "7")
    site.edge.ip("-6", "route", "add", "default", "via", "fd00:2::2", "table", "100")

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow(BACKENDS)
        await watch.until(site.all_via(1), FAST)
        site.edge.ip("nexthop", "replace", "id", "7", "via", "fd00:2::2", "dev", "e2")
        await watch.until(site.all_via(2), FAST)
        site.edge.ip("nexthop", "replace", "id", "7", "via", "fd00:1::2", "dev", "e1")
        await watch.until(site.all_via(1), FAST)
        site.edge.ip("-6", "rule", "add", "to", "fd00:9::/64", "lookup", "100")
        await watch.until(site.all_via(2), FAST)

    follow_in(site.edge, steps)


def test_both_families_and_this_host_are_followed_together(site: Site6) -> None:
    site.ecmp(1)
    site.edge.ip("address", "add", "10.0.1.1/31", "dev", "e1")
    site.routers[0].ip("address", "add", "10.0.1.0/31", "dev", "r0")
    v4, own = IPv4Address("10.0.1.0"), IPv6Address("fd00:77::1")

    async def steps(neighbours: Neighbours, watch: Watch) -> None:
        neighbours.follow([v4, BACKENDS[0], own])
        there = site.expected(1)
        await watch.until(lambda now: now == {v4: there, BACKENDS[0]: there, own: there}, FAST)
        site.edge.ip("address", "add", f"{own}/128", "dev", "lo")
        await watch.until(lambda now: now[own] == LOCAL_DELIVERY, FAST)
        assert neighbours.finding(own) is Finding.LOCAL

    follow_in(site.edge, steps)
