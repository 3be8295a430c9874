"""Where each router's kernel must send a VIP, given the edges that announce it. Pure: plan in, gateways out."""

from collections.abc import Collection, Mapping
from ipaddress import ip_network

from bgp.route import Prefix
from lab.addressing import Interface, LabPlan, NodePlan, Role
from lab.observe.fib import Expected, Snapshot, in_order


def routers(plan: LabPlan) -> tuple[str, ...]:
    """Every router, transit included; clients learn routes too and are not counted."""
    return tuple(node.name for node in plan.having(Role.ROUTER))


def vip_prefixes(plan: LabPlan) -> tuple[Prefix, ...]:
    """What is announced: a /32 or a /128 for each VIP."""
    return tuple(ip_network(vip) for vip in plan.vips)


def expected(plan: LabPlan, announcing: Collection[str]) -> Expected:
    """Router -> prefix -> gateways: a site router uses its own site's edges, and transit where there are none.

    Transit uses one path, that of the lowest router id, so that all of an area's clients move to one site at a time.
    """
    ways = {node.name: _ways(plan, node, announcing) for node in plan.having(Role.ROUTER)}
    return {
        name: {
            prefix: tuple(str(way.peer_address if prefix.version == 4 else way.peer_address6) for way in found)
            for prefix in vip_prefixes(plan)
        }
        for name, found in ways.items()
    }


def _ways(plan: LabPlan, router: NodePlan, announcing: Collection[str]) -> list[Interface]:
    """The interfaces that a VIP's packets leave by, alike in both families."""
    serving = {plan.nodes[name].site for name in announcing}
    own, transit, routers_by_number = [], [], []
    for interface, peer in plan.neighbours(router):
        if peer.role is Role.EDGE and peer.name in announcing:
            own.append(interface)
        elif peer.role is Role.ROUTER and not peer.site and serving - {router.site}:
            transit.append(interface)
        elif peer.role is Role.ROUTER and not router.site and peer.site in serving:
            routers_by_number.append((peer.number, interface))
    if not router.site:
        return [min(routers_by_number, key=lambda found: found[0])[1]] if routers_by_number else []
    return own or transit


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
