"""Addresses and roles: properties over small labs of any shape, and every way in which a description is refused."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.datapath.model import Encap, Protocol
from lab.addressing import Bfd, Role, ServicePlan
from lab.planning import PlanError, plan
from lab.render.lab_files import render
from lab.topology.model import Endpoint, Link, Node, Topology
from tests.lab.two_site import two_site, two_site_plan

SERVICE = {"fairhop.service.web": "203.0.113.10 2001:db8:1::10 tcp/80 gre"}


def node(name: str, **labels: object) -> Node:
    texts = {f"fairhop.{key}": str(value) for key, value in labels.items()}
    return Node(name, "linux", "", "image", name, (), labels={**SERVICE, **texts})


def lab_of(nodes: list[Node], pairs: list[tuple[str, str]]) -> Topology:
    """A lab in which each node's interfaces are numbered in the order of its links."""
    used = dict.fromkeys((one.name for one in nodes), 0)

    def end(name: str) -> Endpoint:
        used[name] += 1
        return Endpoint(name, f"eth{used[name]}")

    links = tuple(Link(end(first), end(second), 1500) for first, second in pairs)
    return Topology("some", {one.name: one for one in nodes}, links)


@st.composite
def labs(draw: st.DrawFn) -> Topology:
    """One transit router, up to three sites with up to three routers, edges, backends and two clients each."""
    nodes, pairs = [node("transit", role="router", asn=65000)], []
    for number in range(draw(st.integers(1, 3))):
        site = "abc"[number]
        base = 65100 + 100 * number
        routers = [f"{site}-r{index}" for index in range(draw(st.integers(1, 3)))]
        nodes += [node(name, role="router", site=site, asn=base + index) for index, name in enumerate(routers)]
        pairs += [("transit", name) for name in routers]
        pairs += [(one, two) for index, one in enumerate(routers) for two in routers[index + 1 :]]
        for index in range(draw(st.integers(0, 3))):
            nodes.append(node(f"{site}-e{index}", role="edge", site=site, asn=base + 50))
            pairs += [(name, f"{site}-e{index}") for name in routers]
        for index in range(draw(st.integers(0, 3))):
            nodes.append(node(f"{site}-b{index}", role="backend", site=site))
            pairs.append((draw(st.sampled_from(routers)), f"{site}-b{index}"))
        for index in range(draw(st.integers(0, 2))):
            nodes.append(node(f"{site}-c{index}", role="client", site=site, asn=base + 60 + index))
            pairs += [(f"{site}-c{index}", name) for name in routers]
    return lab_of(draw(st.permutations(nodes)), draw(st.permutations(pairs)))


@settings(deadline=None)
@given(labs())
def test_no_address_stands_twice_and_both_ends_of_a_link_agree(topology: Topology) -> None:
    lab = plan(topology)
    ends = {(one.name, i.name): (one, i) for one in lab.nodes.values() for i in one.interfaces}
    assert len(ends) == 2 * len(topology.links)
    for (name, own), (_, interface) in ends.items():
        _, other = ends[interface.peer, interface.peer_interface]
        assert (other.peer, other.peer_interface) == (name, own)
        assert interface.peer_address == other.address.ip != interface.address.ip
        assert interface.address.network == other.address.network
        assert interface.address.network.prefixlen == 31
        assert interface.peer_address6 == other.address6.ip != interface.address6.ip
        assert interface.address6.network == other.address6.network
        assert interface.address6.network.prefixlen == 127
    nodes = lab.nodes.values()
    taken = [*lab.vips, *(a for _, i in ends.values() for a in (i.address.ip, i.address6.ip))]
    taken += [a for one in nodes for a in (one.router_id, one.loopback6, one.client_address, one.client_address6)]
    assert len(set(taken)) == len(taken)


def digits(address: object) -> list[str]:
    """The last two parts of an address as they are written; an empty one of IPv6 is 0."""
    parts = str(address).replace("::", ":").split(":") if ":" in str(address) else str(address).split(".")
    return [part or "0" for part in parts[-2:]]


@settings(deadline=None)
@given(labs())
def test_both_families_show_the_same_digits(topology: Topology) -> None:
    lab = plan(topology)
    for one in lab.nodes.values():
        assert digits(one.router_id)[1] == digits(one.loopback6)[1]
        assert digits(one.client_address)[1] == digits(one.client_address6)[1]
        for interface in one.interfaces:
            if digits(interface.address.ip)[0] != "0":  # link 0 is fd00::, with no digits to compare
                assert digits(interface.address.ip) == digits(interface.address6.ip)


@settings(deadline=None, max_examples=50)
@given(labs())
def test_every_node_of_any_lab_gets_its_files(topology: Topology) -> None:
    lab = plan(topology)
    files = render(lab)
    wanted = {
        Role.ROUTER: {"net.batch", "xdp-pass", "frr.conf"},
        Role.CLIENT: {"net.batch", "frr.conf"},
        Role.EDGE: {"net.batch", "fairhop.yaml"},
        Role.BACKEND: {"net.batch", "backend.yaml", "nginx.conf"},
    }
    for one in lab.nodes.values():
        prefix = f"{lab.name}/{one.name}/"
        assert {path.removeprefix(prefix) for path in files if path.startswith(prefix)} == wanted[one.role]
    assert render(plan(topology)) == files, "the same description gives the same bytes"


def test_the_shipped_lab_is_numbered_by_its_order() -> None:
    lab = two_site_plan()
    edge, client = lab.nodes["a-e1"], lab.nodes["client-b"]
    assert (edge.number, str(edge.router_id), edge.asn, str(edge.address)) == (6, "10.255.0.6", 65110, "10.0.5.1")
    assert [(i.name, i.peer, str(i.peer_address), str(i.peer_address6)) for i in edge.interfaces] == [
        ("eth1", "a-r1", "10.0.5.0", "fd00:0:0:5::"),
        ("eth2", "a-r2", "10.0.6.0", "fd00:0:0:6::"),
    ]
    assert (str(client.client_address), client.asn, client.site) == ("198.51.100.17", 65302, "b")
    assert (str(client.client_address6), str(edge.loopback6)) == ("2001:db8:c::17", "fd00:ff::6")
    web, echo = ((IPv4Address(f"203.0.113.{n}"), IPv6Address(f"2001:db8:1::{n}")) for n in (10, 11))
    assert lab.services == (
        ServicePlan("web", *web, ((Protocol.TCP, 80),), Encap.GRE),
        ServicePlan("echo", *echo, ((Protocol.TCP, 7000), (Protocol.UDP, 7000)), Encap.IPIP),
    )


def test_a_service_may_have_a_vip_in_each_family() -> None:
    lab = plan(all_say("203.0.113.10 2001:db8:1::10 tcp/80 udp/443 gre")(two_site()))
    vip, vip6 = IPv4Address("203.0.113.10"), IPv6Address("2001:db8:1::10")
    ports = ((Protocol.TCP, 80), (Protocol.UDP, 443))
    assert lab.services == (ServicePlan("web", vip, vip6, ports, Encap.GRE),)
    assert (lab.vips, lab.vips4, lab.vips6) == ((vip, vip6), (vip,), (vip6,))


def relabelled(name: str, **labels: str | None) -> Callable[[Topology], Topology]:
    """A change of one node's labels; None removes one."""

    def change(topology: Topology) -> Topology:
        new = {f"fairhop.{key.replace('__', '.')}": text for key, text in labels.items()}
        mixed = {**topology.nodes[name].labels, **new}
        kept = {key: text for key, text in mixed.items() if text is not None}
        return replace(topology, nodes={**topology.nodes, name: replace(topology.nodes[name], labels=kept)})

    return change


def relinked(first: str, second: str) -> Callable[[Topology], Topology]:
    """One more link, on the next free interface of both."""

    def change(topology: Topology) -> Topology:
        ends = [Endpoint(name, f"eth{len(topology.endpoints(name)) + 1}") for name in (first, second)]
        return replace(topology, links=(*topology.links, Link(ends[0], ends[1])))

    return change


def all_say(service: str) -> Callable[[Topology], Topology]:
    """Every node has this one service, called web."""

    def change(topology: Topology) -> Topology:
        def labels(old: Mapping[str, str]) -> dict[str, str]:
            return {key: text for key, text in old.items() if ".service." not in key} | {"fairhop.service.web": service}

        return replace(
            topology, nodes={n: replace(one, labels=labels(one.labels)) for n, one in topology.nodes.items()}
        )

    return change


def without_first_link(topology: Topology) -> Topology:
    return replace(topology, links=topology.links[1:])


BFD_SHAPE = "expected milliseconds from 10 and how many packets may miss from 2, such as 60x3"
SERVICE_SHAPE = (
    "expected a VIP, perhaps one of IPv6, ports and an encapsulation, such as '203.0.113.10 2001:db8:1::10 tcp/80 gre'"
)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            relabelled("a-b1", role="cache"),
            "node a-b1: label fairhop.role is 'cache': expected one of router, client, edge, backend, proxy, store",
        ),
        (relabelled("a-b1", site=None), "node a-b1: a backend needs the label fairhop.site"),
        (
            relabelled("client-a", site=None),
            "node client-a is linked to a-r1: expected a router without a site, as it has none",
        ),
        (
            relabelled("transit", tier="spine"),
            "node transit: label fairhop.tier is 'spine': expected one of transit, backbone",
        ),
        (relabelled("a-r1", tier="backbone"), "node a-r1: label fairhop.tier is for routers without a site"),
        (relabelled("a-e1", bfd="60"), f"node a-e1: label fairhop.bfd is '60': {BFD_SHAPE}"),
        (relabelled("a-e1", bfd="5x3"), f"node a-e1: label fairhop.bfd is '5x3': {BFD_SHAPE}"),
        (relabelled("a-e1", bfd="60x1"), f"node a-e1: label fairhop.bfd is '60x1': {BFD_SHAPE}"),
        (relabelled("a-b1", bfd="60x3"), "node a-b1: label fairhop.bfd is for routers and edges"),
        (relabelled("a-b1", underlay="5"), "node a-b1: label fairhop.underlay is '5': expected one of 4, 6"),
        (
            relabelled("a-b1", underlay="6"),
            "node a-b1: its fairhop.underlay label differs: expected the same on every node",
        ),
        (
            relabelled("a-r1", asn="65_101"),
            "node a-r1: label fairhop.asn is '65_101': expected a number from 1 to 4294967294",
        ),
        (relabelled("a-r1", asn="0"), "node a-r1: label fairhop.asn is '0': expected a number from 1 to 4294967294"),
        (relabelled("b-r2", asn="65101"), "node b-r2: AS 65101 is already that of node a-r1"),
        (relabelled("b-e1", asn="65110"), "node b-e1: AS 65110 is already that of the edges of site a"),
        (relabelled("b-e1", asn="65211"), "the edges of site b have the ASNs [65210, 65211]: expected one"),
        (
            relabelled("b-b1", service__echo=None),
            "node b-b1: its fairhop.service.* labels differ: expected the same on every node",
        ),
        (relinked("a-b1", "a-r2"), "node a-b1 has 2 links: expected one, a backend has one router"),
        (relinked("a-e1", "b-r1"), "node a-e1 is linked to b-r1: expected a router of its own site, a"),
        (relinked("a-e1", "a-e2"), "node a-e1 is linked to a-e2: expected a router of its own site, a"),
        (without_first_link, "node a-r1: its interfaces are not named eth1, eth2, eth3, eth4, eth5, eth6"),
        (all_say("203.0.113.10 gre"), f"label fairhop.service.web is '203.0.113.10 gre': {SERVICE_SHAPE}"),
        (all_say("10.0.0 tcp/80 gre"), f"label fairhop.service.web is '10.0.0 tcp/80 gre': {SERVICE_SHAPE}"),
        (
            all_say("203.0.113.10 tcp/70000 gre"),
            f"label fairhop.service.web is '203.0.113.10 tcp/70000 gre': {SERVICE_SHAPE}",
        ),
        (
            all_say("203.0.113.10 tcp/80 geneve"),
            f"label fairhop.service.web is '203.0.113.10 tcp/80 geneve': {SERVICE_SHAPE}",
        ),
        (
            all_say("203.0.113.10 2001:db8::g tcp/80 gre"),
            f"label fairhop.service.web is '203.0.113.10 2001:db8::g tcp/80 gre': {SERVICE_SHAPE}",
        ),
        (
            all_say("203.0.113.10 2001:db8:1::10 gre"),
            f"label fairhop.service.web is '203.0.113.10 2001:db8:1::10 gre': {SERVICE_SHAPE}",
        ),
        (
            all_say("203.0.113.10 2001:db8:c::1 tcp/80 gre"),
            "service web: VIP 2001:db8:c::1 lies in 2001:db8:c::/112, which the lab uses itself",
        ),
        (all_say("203.0.113.10 tcp/80 tcp/80 gre"), "service web names a port twice"),
        (
            all_say("10.0.7.7 tcp/80 gre"),
            "service web: VIP 10.0.7.7 lies in 10.0.0.0/16, which the lab uses itself",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_description_is_refused(change: Callable[[Topology], Topology], problem: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(change(two_site()))
    assert problem in caught.value.problems


def test_bfd_runs_where_both_ends_have_it() -> None:
    lab = plan(relabelled("a-r1", bfd="60x3")(relabelled("a-e1", bfd="50x4")(two_site())))
    assert (lab.nodes["a-r1"].bfd, lab.nodes["a-e1"].bfd) == (Bfd(60, 3), Bfd(50, 4))
    router, edge = lab.nodes["a-r1"], lab.nodes["a-e1"]
    assert lab.speak_bfd(router, edge)
    assert lab.speak_bfd(edge, router)
    assert not lab.speak_bfd(lab.nodes["a-r2"], edge)
    assert not lab.speak_bfd(router, lab.nodes["a-e2"])


def test_over_ipv6_links_sessions_and_tunnels_have_ipv6_addresses() -> None:
    four, six = two_site_plan(), plan(labelled_all(two_site(), underlay="6"))
    assert (four.underlay, six.underlay) == (4, 6)
    for lab, own, far in ((four, "10.0.5.1", "10.0.5.0"), (six, "fd00:0:0:5::1", "fd00:0:0:5::")):
        first = lab.nodes["a-e1"].interfaces[0]
        assert (str(lab.outer(lab.nodes["a-e1"])), str(lab.own(first)), str(lab.far(first))) == (own, own, far)


def labelled_all(topology: Topology, **labels: str) -> Topology:
    for name in topology.nodes:
        topology = relabelled(name, **labels)(topology)
    return topology


def test_all_problems_come_at_once() -> None:
    broken = relabelled("a-b1", role="cache")(relabelled("a-r1", asn="x")(two_site()))
    with pytest.raises(PlanError) as caught:
        plan(broken)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["node a-r1", "node a-b1"]


def test_a_lab_without_a_service_or_with_too_many_nodes_is_refused() -> None:
    bare = node("transit", role="router", asn=65000)
    with pytest.raises(PlanError, match="some serves nothing"):
        plan(Topology("some", {"transit": replace(bare, labels={"fairhop.role": "router", "fairhop.asn": "65000"})}))
    many = {f"r{index}": replace(bare, name=f"r{index}") for index in range(255)}
    with pytest.raises(PlanError, match="some has 255 nodes: expected at most 254, one address each"):
        plan(Topology("some", many))


def test_two_services_may_not_share_a_vip() -> None:
    def change(topology: Topology) -> Topology:
        same = {"fairhop.service.echo": "203.0.113.10 tcp/7000 ipip"}
        nodes = {n: replace(one, labels={**one.labels, **same}) for n, one in topology.nodes.items()}
        return replace(topology, nodes=nodes)

    with pytest.raises(PlanError, match=r"service echo: VIP 203\.0\.113\.10 is already that of service web"):
        plan(change(two_site()))
