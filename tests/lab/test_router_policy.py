"""The rendered routers as they run: FRR in the lab's own nodes, and edges that behave or do not.

The edges and backends of the shipped topology are replaced by idle nodes; a test speaks BGP in an edge's place. What a
router believes is asked from its kernel.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from lab.addressing import LabPlan, Role
from lab.job import convergence
from lab.netns.runtime import NetnsRuntime
from lab.observe.routes import RouteWatch
from lab.topology.model import Healthcheck, Topology
from tests.lab.bgp_speaker import GRACEFUL_SHUTDOWN, Speaker
from tests.lab.two_site import two_site, two_site_plan

pytestmark = pytest.mark.lab

WEB, ECHO = "203.0.113.10/32", "203.0.113.11/32"
WEB6, ECHO6 = "2001:db8:1::10/128", "2001:db8:1::11/128"
ALL = (WEB, ECHO, WEB6, ECHO6)
SPEAKING = [node.name for node in two_site_plan().nodes.values() if node.role in (Role.ROUTER, Role.CLIENT)]
ADDRESSES_ONLY = (
    "until [ $(ls -d /sys/class/net/eth* | wc -l) -ge $CLAB_INTFS ]; do sleep 0.02; done 2>/dev/null; "
    "ip -force -batch /etc/fairhop/net.batch && touch /run/up && exec sleep infinity"
)
UP = Healthcheck(("CMD", "test", "-e", "/run/up"))
Sessions = dict[tuple[str, str], Speaker]


def idle_edges(topology: Topology) -> Topology:
    """The shipped lab under another name, with edges and backends that only have addresses."""
    quiet = {
        name: node if name in SPEAKING else replace(node, command=("sh", "-c", ADDRESSES_ONLY), healthcheck=UP)
        for name, node in topology.nodes.items()
    }
    return replace(topology, name="policy", prefix="fh-ren", nodes=quiet)


class Lab:
    """The running routers, and what their kernels do with the VIPs."""

    def __init__(self, runtime: NetnsRuntime, watch: RouteWatch, plan: LabPlan) -> None:
        self.runtime, self.watch, self.plan = runtime, watch, plan
        self._names = convergence.gateway_names(plan)

    def towards(self, node: str, prefix: str = WEB) -> set[str]:
        """The nodes that `node` sends the prefix to."""
        hops = self.watch.snapshot()[node].get(ip_network(prefix), ())
        return {self.node_at(hop.gateway) for hop in hops}

    def node_at(self, address: str) -> str:
        """The node that has a link address."""
        return self._names[address]

    def routes(self, node: str) -> str:
        """All that a node's kernel learned by BGP, as text."""
        families = (["ip", family, "route", "show", "proto", "bgp"] for family in ("-4", "-6"))
        return "".join(self.runtime.exec(node, argv).stdout for argv in families)

    def paths(self, node: str, prefix: str = WEB) -> str:
        """The paths to a prefix that a node's policy let in, as FRR shows them."""
        family = "ipv6" if ":" in prefix else "ipv4"
        return self.runtime.exec(node, ["vtysh", "-c", f"show bgp {family} unicast {prefix}"]).stdout

    def becomes(self, within: float, *prefixes: str, **wanted: set[str]) -> float:
        """Seconds until each node (with _ for -) sends the prefixes (WEB) to the wanted ones; fails after `within`."""
        began = time.monotonic()
        return eventually(
            lambda: all(
                self.towards(name.replace("_", "-"), prefix) == hops
                for name, hops in wanted.items()
                for prefix in prefixes or (WEB,)
            ),
            within,
            lambda: str({name: self.towards(name.replace("_", "-")) for name in wanted}),
            began,
        )

    def connect(self, edge: str, router: str, *, restarts: bool = False) -> Speaker:
        """A session in the place of an edge, tried again while the router still takes leave of the one before."""
        node = self.plan.nodes[edge]
        interface = next(i for i in node.interfaces if i.peer == router)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            own, own6, peer = interface.address.ip, interface.address6.ip, interface.peer_address
            speaker = Speaker(self.runtime.netns(edge), own, own6, peer, node.asn, restarts=restarts)
            if speaker.established(1.0) and not speaker.closed.wait(0.2):
                return speaker
            speaker.close()
        pytest.fail(f"{router} takes no session from {edge}")

    def last_change(self, since: float) -> float:
        change = self.watch.last_change(since)
        return change.time - since if change else 0.0


def eventually(what: Callable[[], bool], within: float, found: Callable[[], str], began: float) -> float:
    while not what():
        assert time.monotonic() - began < within, f"not within {within} s; found {found()}"
        time.sleep(0.01)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    if not Path("/usr/lib/frr/bgpd").exists():
        pytest.skip("needs FRR: /usr/lib/frr/bgpd is missing (apt install frr)")
    with NetnsRuntime(idle_edges(two_site())) as runtime:
        runtime.deploy(lambda _: None)
        prefixes = [ip_network(prefix) for prefix in ALL]
        with RouteWatch({name: runtime.netns(name) for name in SPEAKING}, prefixes) as watch:
            yield Lab(runtime, watch, two_site_plan())


@pytest.fixture(scope="module")
def sessions(lab: Lab) -> Iterator[Sessions]:
    """What stands in the place of each edge towards each of its routers; closed at the end."""
    found: Sessions = {}
    try:
        yield found
    finally:
        for session in found.values():
            session.close()


@pytest.fixture
def edges(lab: Lab, sessions: Sessions) -> Sessions:
    """All four edges announce the VIPs, and nothing else, to both of their routers; every router has settled."""
    for edge in lab.plan.having(Role.EDGE):
        for interface in edge.interfaces:
            key = (edge.name, interface.peer)
            if key in sessions and sessions[key].closed.is_set():
                sessions.pop(key).close()
            if key not in sessions:
                sessions[key] = lab.connect(*key)
            sessions[key].withdraw(*(sessions[key].announced - set(ALL)))
            sessions[key].announce(*ALL)
    both_a, both_b = {"a-e1", "a-e2"}, {"b-e1", "b-e2"}
    lab.becomes(30, *ALL, a_r1=both_a, a_r2=both_a, b_r1=both_b, b_r2=both_b, transit={"a-r1"})
    lab.becomes(30, *ALL, client_a={"a-r1", "a-r2"}, client_b={"b-r1", "b-r2"})
    return sessions


def of_edge(sessions: Sessions, edge: str) -> list[Speaker]:
    return [session for (name, _), session in sessions.items() if name == edge]


def test_both_vips_balance_over_both_edges_and_an_edge_is_told_nothing(lab: Lab, edges: Sessions) -> None:
    for site in "ab":
        for router in (f"{site}-r1", f"{site}-r2"):
            for prefix in (ECHO, WEB6, ECHO6):
                assert lab.towards(router, prefix) == {f"{site}-e1", f"{site}-e2"}
    assert [session.prefixes_learned() for session in edges.values()] == [0] * 8


def test_a_site_never_takes_its_own_vip_back_from_transit(lab: Lab, edges: Sessions) -> None:
    for prefix in (WEB, WEB6):
        assert lab.towards("transit", prefix) == {"a-r1"}
        assert "from 10.0.1.0" not in lab.paths("a-r2", prefix), "transit tells it the path through a-r1"
        assert "from 10.0.2.0" in lab.paths("b-r1", prefix), "the other site keeps that one as its way out"


def test_every_speaker_reaches_every_backend_and_client(lab: Lab, edges: Sessions) -> None:
    ends = [*lab.plan.having(Role.BACKEND), *lab.plan.having(Role.EDGE)]
    for name in SPEAKING:
        addresses: list[object] = [a for end in ends for a in (end.address, end.interfaces[0].address6.ip)]
        addresses += [a for c in lab.plan.having(Role.CLIENT) for a in (c.client_address, c.client_address6)]
        batch = "".join(f"route get {address}\\n" for address in addresses)
        found = lab.runtime.exec(name, ["sh", "-c", f"printf '{batch}' | ip -batch -"])
        assert found.returncode == 0, f"{name}: {found.stderr}"
    client = lab.plan.nodes["client-a"]
    for source, vip in ((client.client_address, "203.0.113.10"), (client.client_address6, "2001:db8:1::10")):
        assert f"src {source}" in lab.runtime.exec("client-a", ["ip", "route", "get", vip]).stdout


def test_a_drained_edge_leaves_the_set_before_it_withdraws(lab: Lab, edges: Sessions) -> None:
    began = time.monotonic()
    for session in of_edge(edges, "a-e1"):
        session.announce(*ALL, communities=[GRACEFUL_SHUTDOWN])
    lab.becomes(5, *ALL, a_r1={"a-e2"}, a_r2={"a-e2"})
    assert lab.last_change(began) < 3
    withdrawn = time.monotonic()
    for session in of_edge(edges, "a-e1"):
        session.withdraw(*ALL)
    time.sleep(0.3)
    assert lab.watch.events(withdrawn) == [], "the withdrawal itself moves nothing"


def test_a_drained_site_hands_over_before_it_lets_go(lab: Lab, edges: Sessions) -> None:
    began = time.monotonic()
    for session in (*of_edge(edges, "a-e1"), *of_edge(edges, "a-e2")):
        session.announce(*ALL, communities=[GRACEFUL_SHUTDOWN])
    lab.becomes(5, *ALL, a_r1={"transit"}, a_r2={"transit"}, transit={"b-r1"}, client_a={"a-r1", "a-r2"})
    assert lab.last_change(began) < 3
    events = lab.watch.events(began)
    assert all(event.hops for event in events), "no router was ever without a route"
    inside_site = [e for e in events if {lab.node_at(hop.gateway) for hop in e.hops} & {"a-r1", "a-r2"}]
    assert {event.router for event in inside_site} <= {"client-a"}, "nor did one send to its neighbour meanwhile"
    site_b = {event.router for event in events} & {"b-r1", "b-r2"}
    assert not site_b, "the serving site has nothing to change"


def test_the_other_site_drains_and_returns_alike(lab: Lab, edges: Sessions) -> None:
    sessions = [*of_edge(edges, "b-e1"), *of_edge(edges, "b-e2")]
    began = time.monotonic()
    for session in sessions:
        session.announce(*ALL, communities=[GRACEFUL_SHUTDOWN])
    lab.becomes(5, *ALL, b_r1={"transit"}, b_r2={"transit"}, transit={"a-r1"})
    for session in sessions:
        session.announce(*ALL)
    lab.becomes(5, *ALL, b_r1={"b-e1", "b-e2"}, b_r2={"b-e1", "b-e2"})
    assert all(event.hops for event in lab.watch.events(began))


def test_a_closed_session_is_gone_at_once_even_if_its_speaker_promised_to_restart(lab: Lab, edges: Sessions) -> None:
    edges["a-e1", "a-r1"].close()
    lab.becomes(5, a_r1={"a-e2"})
    with lab.connect("a-e1", "a-r1", restarts=True) as session:
        session.announce(*ALL)
        lab.becomes(5, a_r1={"a-e1", "a-e2"})
    lab.becomes(5, a_r1={"a-e2"})


@pytest.mark.parametrize(
    "prefix",
    [
        *("0.0.0.0/0", "203.0.113.0/24", "203.0.113.12/32", "10.0.21.0/31", "10.255.0.1/32", "198.51.100.11/32"),
        *("::/0", "2001:db8:1::/64", "2001:db8:1::12/128", "fd00:0:0:21::/127", "fd00:ff::1/128", "2001:db8:c::11/128"),
    ],
)
def test_an_edge_can_bring_in_no_prefix_but_its_vips(lab: Lab, edges: Sessions, prefix: str) -> None:
    before = lab.routes("a-r1"), lab.routes("transit")
    edges["a-e1", "a-r1"].announce(prefix)
    time.sleep(0.3)
    assert (lab.routes("a-r1"), lab.routes("transit")) == before


@pytest.mark.parametrize("path", [[65110, 65000], [65210], [65110, 64512, 65110]])
def test_an_edge_can_bring_in_no_path_but_its_own(lab: Lab, edges: Sessions, path: list[int]) -> None:
    edges["a-e1", "a-r1"].announce(WEB, WEB6, path=path)
    lab.becomes(5, WEB, WEB6, a_r1={"a-e2"})
    assert "from 10.0.5.1" not in lab.paths("a-r1") + lab.paths("a-r1", WEB6)


@pytest.mark.parametrize(("prefix", "next_hop"), [(WEB, "10.0.9.1"), (WEB6, "fd00:0:0:9::1"), (WEB6, "fe80::1")])
def test_an_edge_can_name_no_next_hop_but_itself(lab: Lab, edges: Sessions, prefix: str, next_hop: str) -> None:
    edges["a-e1", "a-r1"].announce(prefix, next_hop=next_hop)
    time.sleep(0.3)
    assert lab.towards("a-r1", prefix) == {"a-e1", "a-e2"}


def test_of_an_edges_communities_only_graceful_shutdown_goes_further(lab: Lab, edges: Sessions) -> None:
    sent = [GRACEFUL_SHUTDOWN, (65535, 666), (65000, 1), (65535, 65281)]
    for session in (*of_edge(edges, "a-e1"), *of_edge(edges, "a-e2")):
        session.announce(WEB, WEB6, communities=sent)
    lab.becomes(5, WEB, WEB6, a_r1={"transit"}, a_r2={"transit"})
    for prefix in (WEB, WEB6):
        assert {line.strip() for line in lab.paths("a-r1", prefix).splitlines() if "Community:" in line} == {
            "Community: graceful-shutdown"
        }


@pytest.mark.parametrize(("world", "vip"), [("192.0.2.{:d}/32", WEB), ("2001:db8:bad::{:x}/128", WEB6)])
def test_an_edge_that_announces_the_world_is_cut_off_alone(lab: Lab, edges: Sessions, world: str, vip: str) -> None:
    flooding = edges["b-e1", "b-r1"]
    flooding.announce(*[world.format(number) for number in range(100)])
    flooding.announce(vip)
    assert flooding.closed.wait(5)
    assert flooding.notifications() == [(6, 1)]
    lab.becomes(5, WEB, WEB6, b_r1={"b-e2"}, b_r2={"b-e1", "b-e2"})
    lab.runtime.exec("b-r1", ["vtysh", "-c", "clear bgp ipv4 unicast 10.0.15.1"])


@pytest.mark.parametrize(
    ("family", "own", "links"),
    [("ipv4", "OWN", ("10.0.12.0/31", "10.0.13.0/31")), ("ipv6", "OWN6", ("fd00:0:0:12::/127", "fd00:0:0:13::/127"))],
)
def test_a_client_can_announce_its_own_address_alone(
    lab: Lab, edges: Sessions, family: str, own: str, links: tuple[str, str]
) -> None:
    say = f"configure terminal|route-map {own} permit 20|exit|router bgp 65301|address-family {family} unicast"
    lines = [word for line in say.split("|") for word in ("-c", line)]
    before = lab.routes("a-r1")
    for verb in ("network", "no network"):
        done = lab.runtime.exec("client-a", ["vtysh", *lines, *(w for link in links for w in ("-c", f"{verb} {link}"))])
        assert done.returncode == 0, done.stderr
        time.sleep(0.5)
        assert lab.routes("a-r1") == before
