"""Where each router's kernel must send a VIP, given the edges that announce it. Pure: plan in, gateways out."""

from collections.abc import Collection, Mapping
from ipaddress import ip_network

from bgp.route import Prefix
from lab import routing
from lab.addressing import Interface, LabPlan, Role
from lab.observe.fib import Expected, Snapshot, in_order


def routers(plan: LabPlan) -> tuple[str, ...]:
    """Every router, transit included; clients learn routes too and are not counted."""
    return tuple(node.name for node in plan.having(Role.ROUTER))


def vip_prefixes(plan: LabPlan) -> tuple[Prefix, ...]:
    """What is announced: a /32 or a /128 for each VIP."""
    return tuple(ip_network(vip) for vip in plan.vips)


def expected(plan: LabPlan, announcing: Collection[str]) -> Expected:
    """Router -> prefix -> gateways, with these edges announcing every VIP: what the routers' policy comes to.

    The two families differ in their addresses alone.
    """
    ways = routing.ways(plan, announcing)
    return {
        name: {prefix: tuple(_gateway(plan, way, prefix) for way in found) for prefix in vip_prefixes(plan)}
        for name, found in ways.items()
    }


def _gateway(plan: LabPlan, way: Interface, prefix: Prefix) -> str:
    return str(plan.far(way) if prefix.version == 4 else way.peer_address6)


def gateway_names(plan: LabPlan) -> Mapping[str, str]:
    """The node that has each link address, to show next hops by name."""
    return {
        str(address.ip): node.name
        for node in plan.nodes.values()
        for interface in node.interfaces
        for address in (interface.address, interface.address6)
    }


def table(plan: LabPlan, snapshot: Snapshot) -> list[tuple[str, str, str]]:
    """(router, prefix, next hops with the names of their nodes) for people, in the order of the description."""
    names = gateway_names(plan)
    rows = []
    for router in routers(plan):
        hops_of = snapshot.get(router, {})
        for prefix in sorted(hops_of, key=in_order):
            shown = [f"{hop.gateway} dev {hop.device} ({names.get(hop.gateway, '?')})" for hop in hops_of[prefix]]
            rows.append((router, str(prefix), ", ".join(shown)))
    return rows
