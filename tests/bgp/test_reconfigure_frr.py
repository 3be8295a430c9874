"""New peers, prefixes, attributes and settings while ExaBGP runs: who is unchanged keeps his session (FRR)."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.bgp.conftest import EdgeDaemon
from tests.bgp.fib_watch import FibWatch, watching
from tests.bgp.routers.frr import Frr
from tests.bgp.routers.net import Leaf, star
from tests.bgp.routers.router import eventually, running
from tests.bgp.test_attributes_frr import ASN, VIP, node, path, peer_of
from tests.bgp.test_peers_frr import V4, V6, conf, over6

pytestmark = pytest.mark.kernel

NEW = "203.0.113.12/32"
Bench = tuple[Frr, EdgeDaemon, FibWatch, Leaf]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A router that the node can reach over IPv4 and over IPv6; the node has the IPv4 session alone."""
    neighbors = {
        V4: (f"remote-as {ASN}", "passive"),
        V6: (f"remote-as {ASN}", "passive", "capability extended-nexthop"),
    }
    with star("fh-re", ["e1"]) as net, running(Frr, net, conf(neighbors)) as router:
        assert isinstance(router, Frr)
        leaf = net.leaves["e1"]
        with node(router, leaf, prefixes=(VIP,)) as daemon, watching(net.netns, VIP, NEW) as watch:
            daemon.order(declare={VIP: {}})
            eventually(router.learned, 20, "nothing was announced")
            eventually(lambda: daemon.state()["converged"], 5, "not converged")
            yield router, daemon, watch, leaf


def reconfigure(daemon: EdgeDaemon, declare: dict[str, Any], **settings: object) -> None:
    daemon.settings |= settings
    daemon.order(reconfigure=daemon.config)
    daemon.order(declare=declare)


def sessions(router: Frr, peer: str) -> int:
    """Sessions so far: one more says that the old one ended. (FRR's time of establishment wavers by a second.)"""
    return int(router.ask(f"show bgp neighbors {peer} json")[peer]["connectionsEstablished"])


def test_a_new_peer_is_told_everything_and_the_old_one_keeps_its_session(bench: Bench) -> None:
    router, daemon, watch, leaf = bench
    before, seen = sessions(router, V4), len(watch.changes)
    reconfigure(daemon, {VIP: {"med": 3}}, peers=[peer_of(leaf), over6(leaf)])
    eventually(
        lambda: path(router, VIP, V6).get("metric") == 3, 10, lambda: f"{router.paths(VIP)} {daemon.events[-5:]}"
    )
    eventually(lambda: path(router, VIP, V4).get("metric") == 3, 5, "the old peer was not told the new attributes")
    eventually(lambda: daemon.state()["converged"], 10, "not converged")
    reconfigure(daemon, {VIP: {"med": 3}}, peers=[peer_of(leaf)])
    eventually(lambda: not path(router, VIP, V6), 10, "the removed peer still has the route")
    eventually(lambda: daemon.state()["peers"] == {"r1": True}, 5, "the removed peer is still shown")
    assert sessions(router, V4) == before
    assert (VIP, False) not in watch.since(seen), "the VIP was gone for a moment"
    reconfigure(daemon, {VIP: {"med": 4}}, peers=[peer_of(leaf), over6(leaf)])
    eventually(lambda: path(router, VIP, V6).get("metric") == 4, 10, "a peer that came back was not told")


def test_prefixes_come_and_go_without_touching_another(bench: Bench) -> None:
    router, daemon, watch, _ = bench
    before, seen = sessions(router, V4), len(watch.changes)
    reconfigure(daemon, {VIP: {}, NEW: {}}, prefixes=[VIP, NEW])
    eventually(lambda: NEW in router.learned(), 5, "the new VIP was not announced")
    reconfigure(daemon, {VIP: {}}, prefixes=[VIP])
    eventually(lambda: NEW not in router.learned(), 5, "the removed VIP was not withdrawn")
    assert (watch.since(seen), sessions(router, V4)) == ([(NEW, True), (NEW, False)], before)


def test_a_peer_of_another_setting_gets_a_new_session_and_everything_again(bench: Bench) -> None:
    router, daemon, _, leaf = bench
    reconfigure(daemon, {VIP: {}}, peers=[peer_of(leaf), over6(leaf)])
    eventually(lambda: path(router, VIP, V6), 10, "the new peer was not told")
    six, four = sessions(router, V6), sessions(router, V4)
    reconfigure(daemon, {VIP: {}}, peers=[peer_of(leaf), over6(leaf, local_address4=V4)])
    eventually(lambda: sessions(router, V6) > six, 10, "the changed peer has no new session")
    eventually(lambda: [hop["ip"] for hop in path(router, VIP, V6).get("nexthops", [])] == [V4], 10, "not told")
    assert sessions(router, V4) == four


def test_what_exabgp_cannot_follow_is_refused_and_changes_nothing(bench: Bench) -> None:
    router, daemon, watch, leaf = bench
    before, seen = sessions(router, V4), len(watch.changes)
    for settings in ({"asn": 65111}, {"graceful_restart": 30}, {"peers": [peer_of(leaf, md5_file="/nonexistent")]}):
        daemon.order(reconfigure={**daemon.config, **settings})
    eventually(lambda: len([e for e in daemon.events if "refused" in e]) == 3, 5, "not refused")
    refused = [event["refused"] for event in daemon.events if "refused" in event]
    assert refused == [
        "cannot change while ExaBGP runs: asn",
        "cannot change while ExaBGP runs: graceful_restart",
        "peer r1: md5_file /nonexistent cannot be read: No such file or directory",
    ]
    assert (watch.since(seen), sessions(router, V4)) == ([], before)
