"""Every attribute as FRR received it from the real ExaBGP, in both families, and what it does to an ECMP set."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bgp.route import BLACKHOLE, GRACEFUL_SHUTDOWN, NO_EXPORT
from tests.bgp.conftest import EdgeDaemon, announcer_user
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.net import Leaf, star
from tests.bgp.routers.router import Router, eventually, running

pytestmark = pytest.mark.kernel

VIP, VIP6 = "203.0.113.10/32", "2001:db8:1::10/128"
BOTH = (VIP, VIP6)
ASN, ROUTER_ASN = 65110, 65101


def frr_conf(*lines: str) -> str:
    """A router of two edges: one autonomous system, ECMP."""
    text = ["no zebra nexthop kernel enable", "zebra work-queue 0", f"router bgp {ROUTER_ASN}"]
    text += ["bgp router-id 10.77.0.1", "no bgp ebgp-requires-policy", *lines]
    for n in (1, 2):
        peer = f"neighbor 10.77.{n}.1"
        text += [f"{peer} remote-as {ASN}", f"{peer} timers connect 1", f"{peer} advertisement-interval 0"]
    for family in ("ipv4", "ipv6"):
        text += [f"address-family {family} unicast", *(f"neighbor 10.77.{n}.1 activate" for n in (1, 2))]
        text += ["exit-address-family"]
    return "\n".join(text) + "\n"


def peer_of(leaf: Leaf, **more: object) -> dict[str, object]:
    own = {"local_address": str(leaf.address), "local_address6": str(leaf.address6)}
    return {"name": "r1", "address": str(leaf.router), "asn": ROUTER_ASN, **own, **more}


@contextlib.contextmanager
def node(router: Router, leaf: Leaf, prefixes: tuple[str, ...] = BOTH, **settings: object) -> Iterator[EdgeDaemon]:
    """A daemon that only announces, in the leaf's namespace; ended at the end."""
    settings = {"asn": ASN, "hold_time": 9, "peers": [peer_of(leaf)], "prefixes": list(prefixes), **settings}
    settings.setdefault("router_id", str(leaf.address))
    daemon = EdgeDaemon(router.directory / leaf.name, announcer_user(), leaf.netns, dict(settings)).start()
    try:
        yield daemon
    finally:
        daemon.signal(18)
        with contextlib.suppress(BrokenPipeError):
            daemon.order(stop=True)
        daemon.wait()


@pytest.fixture(scope="module")
def bench() -> Iterator[tuple[Frr, EdgeDaemon, EdgeDaemon]]:
    """Two nodes at one FRR."""
    with star("fh-attr", ["e1", "e2"]) as net, running(Frr, net, frr_conf()) as router:
        assert isinstance(router, Frr)
        with node(router, net.leaves["e1"]) as one, node(router, net.leaves["e2"]) as two:
            for each in (one, two):
                each.order(declare={prefix: {} for prefix in BOTH})
            eventually(lambda: ways(router) == 2, 20, "no ECMP set of two")
            yield router, one, two


def ways(router: Router) -> int:
    """Next hops of the VIPs in the kernel, equal for both families; -1 while they differ."""
    learned = router.learned()
    sizes = {len(learned.get(prefix, {})) for prefix in BOTH}
    return sizes.pop() if len(sizes) == 1 else -1


def path(router: Frr, prefix: str, peer: str = "10.77.1.1") -> dict[str, Any]:
    return next((p for p in router.paths(prefix) if p["peer"]["peerId"] == peer), {})


SAID: list[tuple[dict[str, object], Callable[[dict[str, Any]], object], object]] = [
    ({"med": 4294967295}, lambda p: p.get("metric"), 4294967295),
    ({"as_path": [ASN, ASN, ASN]}, lambda p: p["aspath"]["string"], f"{ASN} {ASN} {ASN}"),
    ({"as_path": [ASN, 4200000001]}, lambda p: p["aspath"]["string"], f"{ASN} 4200000001"),
    ({"communities": ["65110:1", "65110:2"]}, lambda p: p["community"]["string"], "65110:1 65110:2"),
    ({"communities": [GRACEFUL_SHUTDOWN]}, lambda p: p["community"]["list"], ["gracefulShutdown"]),
    ({"communities": [BLACKHOLE, NO_EXPORT]}, lambda p: p["community"]["list"], ["blackhole", "noExport"]),
    (
        {"large_communities": ["65110:4294967295:7", "4200000001:1:2"]},
        lambda p: p["largeCommunity"]["string"],
        "65110:4294967295:7 4200000001:1:2",
    ),
    (
        {"extended_communities": ["target:65110:7", "origin:65110:4294967295"]},
        lambda p: sorted(p["extendedCommunity"]["string"].split()),
        ["RT:65110:7", "SoO:65110:4294967295"],
    ),
    (
        {"extended_communities": ["bandwidth:65110:1250000"]},
        lambda p: p["extendedCommunity"]["string"],
        "LB:65110:1250000 (10.000 Mbps)",
    ),
    (
        {"med": 7, "communities": ["1:2"], "large_communities": ["1:2:3"], "extended_communities": ["target:1:2"]},
        lambda p: (p["metric"], p["community"]["string"], p["largeCommunity"]["string"]),
        (7, "1:2", "1:2:3"),
    ),
]


@pytest.mark.parametrize(("said", "read", "expected"), SAID, ids=lambda v: str(v)[:40] if isinstance(v, dict) else "")
def test_each_attribute_arrives_in_both_families_and_is_taken_back(
    bench: tuple[Frr, EdgeDaemon, EdgeDaemon],
    said: dict[str, object],
    read: Callable[[dict[str, Any]], object],
    expected: object,
) -> None:
    router, one, _ = bench
    one.order(declare=dict.fromkeys(BOTH, said))

    def seen() -> list[object]:
        with contextlib.suppress(KeyError):
            return [read(path(router, prefix)) for prefix in BOTH]
        return []

    eventually(lambda: seen() == [expected] * 2, 5, lambda: f"FRR has {[path(router, p) for p in BOTH]}")
    one.order(declare={})
    eventually(lambda: not any(path(router, p) for p in BOTH), 5, "the withdrawal did not arrive")
    one.order(declare={prefix: {} for prefix in BOTH})
    eventually(lambda: ways(router) == 2, 5, "the plain announcement did not come back")


@pytest.mark.parametrize(
    "said",
    [{"med": 100}, {"as_path": [ASN, ASN]}, {"communities": [GRACEFUL_SHUTDOWN]}],
    ids=["med", "prepend", "gshut"],
)
def test_what_takes_a_node_out_of_an_ecmp_set_and_lets_it_back(
    bench: tuple[Frr, EdgeDaemon, EdgeDaemon], said: dict[str, object]
) -> None:
    router, one, two = bench
    sessions = [router.session(f"10.77.{n}.1") for n in (1, 2)]
    one.order(declare=dict.fromkeys(BOTH, said))
    eventually(lambda: ways(router) == 1, 5, "the node is still in the ECMP set")
    assert set(router.learned()[VIP]) == {"10.77.2.1"}
    two.order(declare=dict.fromkeys(BOTH, said))
    eventually(lambda: ways(router) == 2, 5, "two nodes that say the same are no ECMP set")
    for each in (one, two):
        each.order(declare={prefix: {} for prefix in BOTH})
    eventually(lambda: ways(router) == 2, 5, "the ECMP set did not come back")
    assert [router.session(f"10.77.{n}.1") for n in (1, 2)] == sessions == ["Established"] * 2


def test_link_bandwidth_gives_weights(bench: tuple[Frr, EdgeDaemon, EdgeDaemon]) -> None:
    router, one, two = bench
    one.order(declare={prefix: {"extended_communities": ["bandwidth:65110:1000000"]} for prefix in BOTH})
    two.order(declare={prefix: {"extended_communities": ["bandwidth:65110:3000000"]} for prefix in BOTH})
    eventually(
        lambda: router.learned().get(VIP) == {"10.77.1.1": 25, "10.77.2.1": 75}, 5, lambda: str(router.learned())
    )
    for each in (one, two):
        each.order(declare={prefix: {} for prefix in BOTH})
    eventually(lambda: router.learned().get(VIP) == {"10.77.1.1": 1, "10.77.2.1": 1}, 5, lambda: str(router.learned()))
