"""Where each router must send a VIP, for every set of edges that announce."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest

from lab import routing
from lab.addressing import LabPlan, Role
from lab.job.convergence import expected, table
from lab.observe.fib import Hop
from lab.routing import Kind
from tests.lab import labs
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


def ways(name: str, without: str = "") -> dict[str, str]:
    """Router -> the nodes that it sends a VIP to, with every edge announcing but those of the named sites or nodes."""
    plan = labs.plan(name)
    out = without.split()
    announcing = {edge.name for edge in plan.having(Role.EDGE) if not {edge.name, edge.site} & {*out}}
    found = expected(plan, announcing)
    names = {str(plan.own(i)): node.name for node in plan.nodes.values() for i in node.interfaces}
    shown = {router: " ".join(sorted(names[hop] for hop in prefixes[VIP])) for router, prefixes in found.items()}
    six = {str(i.address6.ip): node.name for node in plan.nodes.values() for i in node.interfaces}
    assert shown == {router: " ".join(sorted(six[hop] for hop in hops[VIP6])) for router, hops in found.items()}
    return shown


@pytest.mark.parametrize("name", ["one-site", "ipv6-only"])
def test_one_site(name: str) -> None:
    assert ways(name) == {"transit": "a-r1", "a-r1": "a-e1 a-e2", "a-r2": "a-e1 a-e2"}
    assert ways(name, "a-e1") == {"transit": "a-r1", "a-r1": "a-e2", "a-r2": "a-e2"}
    assert ways(name, "a") == {"transit": "", "a-r1": "", "a-r2": ""}


def test_over_ipv6_links_an_ipv4_vip_has_ipv6_gateways() -> None:
    found = expected(labs.plan("ipv6-only"), {"a-e1"})["a-r1"]
    assert found[VIP] == found[VIP6] == ("fd00:0:0:3::1",)


SITE_OF_THREE = "{0}-e1 {0}-e2"
SERVING = {f"{site}-r{number}": SITE_OF_THREE.format(site) for site in "abc" for number in (1, 2)}


@pytest.mark.parametrize(
    ("drained", "changed"),
    [
        ("", {"t1": "a-r1", "t2": "a-r2", "bb1": "a-r1", "bb2": "c-r1"}),
        (
            "a-e2",
            {"t1": "a-r1", "t2": "a-r2", "bb1": "a-r1", "bb2": "c-r1", **dict.fromkeys(("a-r1", "a-r2"), "a-e1")},
        ),
        ("a", {"t1": "b-r1", "t2": "b-r2", "bb1": "b-r1", "bb2": "c-r1", "a-r1": "bb1", "a-r2": "bb1"}),
        ("b", {"t1": "a-r1", "t2": "a-r2", "bb1": "a-r1", "bb2": "c-r1", "b-r1": "bb1", "b-r2": "bb1"}),
        ("c", {"t1": "a-r1", "t2": "a-r2", "bb1": "a-r1", "bb2": "bb1", "c-r1": "bb2", "c-r2": "bb2"}),
        (
            "a b",
            {"t1": "c-r1", "t2": "c-r2", "bb1": "bb2", "bb2": "c-r1"}
            | dict.fromkeys(("a-r1", "a-r2", "b-r1", "b-r2"), "bb1"),
        ),
        ("a b c", dict.fromkeys((*SERVING, "t1", "t2", "bb1", "bb2"), "")),
    ],
)
def test_three_sites_send_to_the_nearest_by_the_backbone(drained: str, changed: dict[str, str]) -> None:
    assert ways("three-site", drained) == SERVING | changed


def without_links(plan: LabPlan, one: str, other: str) -> LabPlan:
    """The lab with the links between two nodes down."""
    cut = {
        name: replace(plan.nodes[name], interfaces=tuple(i for i in plan.nodes[name].interfaces if i.peer != peer))
        for name, peer in ((one, other), (other, one))
    }
    return replace(plan, nodes={**plan.nodes, **cut})


def test_a_site_cut_off_the_backbone_goes_by_transit_and_not_by_its_other_router() -> None:
    plan = labs.plan("three-site")
    found = routing.ways(without_links(plan, "a-r1", "bb1"), {"b-e1", "c-e1"})
    assert [way.peer for way in found["a-r1"]] == ["t1"]
    assert [way.peer for way in found["a-r2"]] == ["bb1"]


FABRIC = {
    "transit": "s1",
    **dict.fromkeys(("s1", "s2"), "l1 l2 l3 l4"),
    **dict.fromkeys(("l1", "l2"), "a-e1 a-e2 a-e3 a-e4"),
    **dict.fromkeys(("l3", "l4"), "a-e5 a-e6 a-e7 a-e8"),
}


@pytest.mark.parametrize(
    ("drained", "changed"),
    [
        ("", {}),
        ("a-e1", dict.fromkeys(("l1", "l2"), "a-e2 a-e3 a-e4")),
        ("a-e1 a-e2 a-e3 a-e4", {"s1": "l3 l4", "s2": "l3 l4", "l1": "s1 s2", "l2": "s1 s2"}),
        ("a", dict.fromkeys(FABRIC, "")),
    ],
)
def test_a_fabric_uses_all_eight_edges_in_two_tiers(drained: str, changed: dict[str, str]) -> None:
    assert ways("spine-leaf", drained) == FABRIC | changed


def test_neighbours_in_a_site_are_above_below_or_beside() -> None:
    fabric, pair = labs.plan("spine-leaf"), labs.plan("one-site")
    assert routing.kind(fabric, fabric.nodes["s1"], fabric.nodes["l1"]) is Kind.BELOW
    assert routing.kind(fabric, fabric.nodes["l1"], fabric.nodes["s1"]) is Kind.ABOVE
    assert routing.kind(pair, pair.nodes["a-r1"], pair.nodes["a-r2"]) is Kind.SIBLING
    assert routing.kind(pair, pair.nodes["a-r1"], pair.nodes["transit"]) is Kind.CORE
    three = labs.plan("three-site")
    assert routing.kind(three, three.nodes["a-r1"], three.nodes["t1"]) is Kind.TRANSIT
    assert routing.kind(three, three.nodes["a-r1"], three.nodes["bb1"]) is Kind.CORE
    assert routing.kind(three, three.nodes["t1"], three.nodes["a-r1"]) is Kind.CORE


@pytest.mark.parametrize("name", labs.NAMES)
def test_no_set_of_announcing_edges_makes_a_loop(name: str) -> None:
    """From every router every choice at every hop ends at an edge that announces; each edge alone, and each missing."""
    plan = labs.plan(name)
    edges = {edge.name for edge in plan.having(Role.EDGE)}
    for announcing in (*({edge} for edge in edges), *(edges - {edge} for edge in edges)):
        found = routing.ways(plan, announcing)
        for router in found:
            reached, hops = {router}, 0
            while reached - edges:
                reached = {way.peer for node in reached - edges for way in found[node]} | reached & edges
                hops += 1
                assert hops <= len(found), f"{router} with {announcing}: still at {reached - edges}"
            assert reached <= announcing
            assert reached
