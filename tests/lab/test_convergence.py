"""Where each router must send a VIP, for every set of edges that announce."""

from ipaddress import IPv4Network, IPv6Network

from lab.job.convergence import expected, table
from lab.observe.fib import Hop
from tests.lab.two_site import two_site_plan

VIP = IPv4Network("203.0.113.10/32")
VIP6 = IPv6Network("2001:db8:1::10/128")
EDGES = {"a-e1", "a-e2", "b-e1", "b-e2"}


def gateways(announcing: set[str]) -> dict[str, set[str]]:
    """Router -> the nodes that it sends the VIP to."""
    plan = two_site_plan()
    names = {str(i.address.ip): node.name for node in plan.nodes.values() for i in node.interfaces}
    return {router: {names[hop] for hop in prefixes[VIP]} for router, prefixes in expected(plan, announcing).items()}


def test_an_ipv6_vip_goes_to_the_same_nodes() -> None:
    plan = two_site_plan()
    for announcing in (EDGES, EDGES - {"a-e1"}, {"b-e1", "b-e2"}, set[str]()):
        nodes = {str(i.address6.ip): node.name for node in plan.nodes.values() for i in node.interfaces}
        found = expected(plan, announcing)
        assert {router: {nodes[hop] for hop in prefixes[VIP6]} for router, prefixes in found.items()} == gateways(
            announcing
        )


def test_every_site_router_uses_both_edges_of_its_site() -> None:
    found = gateways(EDGES)
    assert found["a-r1"] == found["a-r2"] == {"a-e1", "a-e2"}
    assert found["b-r1"] == found["b-r2"] == {"b-e1", "b-e2"}
    assert found["transit"] == {"a-r1"}


def test_a_drained_edge_leaves_the_other_and_transit_as_it_was() -> None:
    found = gateways(EDGES - {"a-e1"})
    assert found["a-r1"] == found["a-r2"] == {"a-e2"}
    assert found["transit"] == {"a-r1"}


def test_a_drained_site_goes_over_transit_to_the_other() -> None:
    found = gateways({"b-e1", "b-e2"})
    assert found["a-r1"] == found["a-r2"] == {"transit"}
    assert found["transit"] == {"b-r1"}


def test_with_nobody_announcing_nobody_has_a_route() -> None:
    assert set(map(frozenset, gateways(set()).values())) == {frozenset()}


def test_next_hops_are_shown_with_the_names_of_their_nodes() -> None:
    plan = two_site_plan()
    address = next(i.address.ip for i in plan.nodes["a-e1"].interfaces if i.peer == "a-r1")
    hops6 = (Hop("fd00:0:0:5::1", "eth3"),)
    rows = table(plan, {"a-r1": {VIP6: hops6, VIP: (Hop(str(address), "eth3"),)}})
    assert rows == [
        ("a-r1", "203.0.113.10/32", f"{address} dev eth3 (a-e1)"),
        ("a-r1", "2001:db8:1::10/128", "fd00:0:0:5::1 dev eth3 (a-e1)"),
    ]
