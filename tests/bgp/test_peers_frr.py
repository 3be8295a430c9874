"""Kinds of sessions between the real ExaBGP and FRR: IPv6, unnumbered, multihop, passive, MD5 and GTSM."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bgp.conftest import EdgeDaemon
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.net import Leaf, Star, run_in, star
from tests.bgp.routers.router import eventually, running, stays
from tests.bgp.test_attributes_frr import ASN, BOTH, ROUTER_ASN, VIP, VIP6, node, path, peer_of

pytestmark = pytest.mark.kernel

V4, V6 = "10.77.1.1", "fd77:0:0:1::1"
VIA_6 = "169.254.0.1"
"""How FRR writes an IPv6 next hop of an IPv4 route into the kernel: on link, with a neighbour entry of its own."""
SECRET = "c4n-ary$!%"


def conf(neighbors: dict[str, tuple[str, ...]], *first: str) -> str:
    """FRR's configuration with these neighbors and their lines."""
    text = ["no zebra nexthop kernel enable", "zebra work-queue 0", *first, f"router bgp {ROUTER_ASN}"]
    text += ["bgp router-id 10.77.0.1", "no bgp ebgp-requires-policy"]
    for name, lines in neighbors.items():
        text += [f"neighbor {name} {line}" for line in (*lines, "timers connect 1", "advertisement-interval 0")]
    for family in ("ipv4", "ipv6"):
        text += [f"address-family {family} unicast", *(f"neighbor {name} activate" for name in neighbors)]
        text += ["exit-address-family"]
    return "\n".join(text) + "\n"


def play(neighbors: dict[str, tuple[str, ...]], story: Callable[[Frr, Leaf, Star], None], *first: str) -> None:
    with star("fh-peer", ["e1"]) as net, running(Frr, net, conf(neighbors, *first)) as router:
        assert isinstance(router, Frr)
        story(router, net.leaves["e1"], net)


def over6(leaf: Leaf, **more: object) -> dict[str, object]:
    address = {"address": str(leaf.router6), "local_address": str(leaf.address6)}
    return {"name": "r6", "asn": ROUTER_ASN, **address, **more}


def installed(router: Frr, daemon: EdgeDaemon, **hops: str) -> None:
    """Announce both VIPs and wait until the kernel sends them to these next hops; then withdraw both."""
    daemon.order(declare={prefix: {} for prefix in BOTH})
    expected = {VIP: {hops["v4"]: 1}, VIP6: {hops["v6"]: 1}}
    eventually(lambda: router.learned() == expected, 20, lambda: f"{router.learned()}; {daemon.events[-9:]}")
    daemon.order(declare={})
    eventually(lambda: router.learned() == {}, 5, lambda: f"{router.learned()}")


def test_a_session_over_ipv6_carries_ipv4_vips_with_an_ipv6_next_hop() -> None:
    def story(router: Frr, leaf: Leaf, net: Star) -> None:
        with node(router, leaf, peers=[over6(leaf)]) as daemon:
            daemon.order(declare={prefix: {} for prefix in BOTH})
            eventually(lambda: set(router.learned()) == set(BOTH), 20, lambda: f"{router.learned()}")
            assert [hop["ip"] for hop in path(router, VIP, V6)["nexthops"]] == [V6]
            installed(router, daemon, v4=VIA_6, v6=V6)

    play({V6: (f"remote-as {ASN}", "capability extended-nexthop")}, story)


def test_a_session_over_ipv6_with_an_ipv4_next_hop_of_its_own() -> None:
    def story(router: Frr, leaf: Leaf, net: Star) -> None:
        with node(router, leaf, peers=[over6(leaf, local_address4=V4)]) as daemon:
            installed(router, daemon, v4=V4, v6=V6)

    play({V6: (f"remote-as {ASN}",)}, story)


def test_one_router_over_both_families_is_told_different_things() -> None:
    def story(router: Frr, leaf: Leaf, net: Star) -> None:
        with node(router, leaf, peers=[peer_of(leaf), over6(leaf)]) as daemon:
            other = {str(leaf.router6): {"med": 9, "communities": ["65110:6"]}}
            daemon.order(declare={prefix: {"med": 4, "overrides": other} for prefix in BOTH})

            def told() -> list[tuple[object, object]]:
                paths = [path(router, prefix, peer) for prefix in BOTH for peer in (V4, V6)]
                return [(p.get("metric"), p.get("community", {}).get("string")) for p in paths]

            eventually(lambda: told() == [(4, None), (9, "65110:6")] * 2, 20, lambda: f"{told()}")
            daemon.order(declare={VIP: {"med": 4, "overrides": other}})
            eventually(lambda: told()[2:] == [(None, None)] * 2, 5, "the withdrawal did not reach both")
            daemon.order(declare={VIP: {"med": 5}})
            eventually(lambda: told()[:2] == [(5, None)] * 2, 5, "the common attributes did not reach both")
            assert router.session(V4) == router.session(V6) == "Established"

    play({V4: (f"remote-as {ASN}",), V6: (f"remote-as {ASN}", "capability extended-nexthop")}, story)


def link_local(netns: Path, interface: str) -> str:
    text = run_in(netns, "ip", "-6", "-o", "address", "show", "dev", interface, "scope", "link")
    return text.split()[3].partition("/")[0]


def test_a_session_between_link_local_addresses() -> None:
    with star("fh-peer", ["e1"]) as net, running(Frr, net, conf({})) as router:
        assert isinstance(router, Frr)
        leaf = net.leaves["e1"]
        theirs, ours = link_local(net.netns, leaf.interface), link_local(leaf.netns, "eth0")
        for where, interface in ((leaf.netns, "eth0"), (net.netns, leaf.interface)):
            run_in(where, "ip", "address", "flush", "dev", interface, "scope", "global")
        lines = (f"remote-as {ASN}", f"interface {leaf.interface}", "capability extended-nexthop")
        router.configure(conf({ours: lines}))
        peer = {"name": "r1", "asn": ROUTER_ASN, "address": theirs, "local_address": ours, "interface": "eth0"}
        with node(router, leaf, peers=[peer], router_id="10.255.0.6") as daemon:
            installed(router, daemon, v4=VIA_6, v6=ours)


@pytest.mark.parametrize("router_hops", ["ebgp-multihop 2", "ttl-security hops 2"])
def test_multihop_between_loopbacks(router_hops: str) -> None:
    def story(router: Frr, leaf: Leaf, net: Star) -> None:
        run_in(net.netns, "ip", "address", "add", "10.255.0.1/32", "dev", "lo")
        run_in(leaf.netns, "ip", "address", "add", "10.255.0.6/32", "dev", "lo")
        run_in(leaf.netns, "ip", "address", "add", "fd00:6::1/128", "dev", "lo")
        run_in(net.netns, "ip", "route", "add", "10.255.0.6/32", "via", V4)
        run_in(net.netns, "ip", "route", "add", "fd00:6::1/128", "via", V6)
        gtsm = "ttl-security" in router_hops
        own = {"address": "10.255.0.1", "local_address": "10.255.0.6", "local_address6": "fd00:6::1"}
        peer = {"name": "r1", "asn": ROUTER_ASN, "multihop": 2, "ttl_security": gtsm, **own}
        with node(router, leaf, peers=[peer]) as daemon:
            daemon.order(declare={prefix: {} for prefix in BOTH})
            eventually(lambda: set(router.learned()) == set(BOTH), 20, lambda: f"{router.learned()}")

    play({"10.255.0.6": (f"remote-as {ASN}", router_hops, "update-source 10.255.0.1")}, story)


def test_a_passive_session_with_md5_from_a_file_over_ipv6() -> None:
    def story(router: Frr, leaf: Leaf, net: Star) -> None:
        key = router.directory / "key"
        key.write_text(SECRET + "\n")
        key.chmod(0o600)
        more = {"passive": True, "listen": 1790, "md5_file": str(key)}
        with node(router, leaf, peers=[over6(leaf, **more)]) as daemon:
            installed(router, daemon, v4=VIA_6, v6=V6)
            assert SECRET in (daemon.run_dir / "exabgp.conf").read_text()

    lines = (
        f"remote-as {ASN}",
        "port 1790",
        f"password {SECRET}",
        "capability extended-nexthop",
    )
    play({V6: lines}, story)


def test_a_passive_session_on_the_port_of_bgp_itself() -> None:
    def story(router: Frr, leaf: Leaf, net: Star) -> None:
        with node(router, leaf, peers=[peer_of(leaf, passive=True)]) as daemon:
            installed(router, daemon, v4=V4, v6=V6)

    play({V4: (f"remote-as {ASN}",)}, story)


def test_a_wrong_key_never_establishes() -> None:
    def story(router: Frr, leaf: Leaf, net: Star) -> None:
        with node(router, leaf, peers=[peer_of(leaf, md5="another")]) as daemon:
            eventually(lambda: daemon.state()["exabgp"], 5, "no ExaBGP")
            stays(lambda: router.session(V4) != "Established", 4, "established with a wrong key")

    play({V4: (f"remote-as {ASN}", f"password {SECRET}", "passive")}, story)
