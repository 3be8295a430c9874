"""Where each router's kernel must send a VIP, given the edges that announce it. Pure: plan in, gateways out."""

from collections.abc import Collection, Mapping
from ipaddress import IPv4Network

from lab.addressing import LabPlan, NodePlan, Role
from lab.observe.fib import Expected, Snapshot


def routers(plan: LabPlan) -> tuple[str, ...]:
    """Every router, transit included; clients learn routes too and are not counted."""
    return tuple(node.name for node in plan.having(Role.ROUTER))


def vip_prefixes(plan: LabPlan) -> tuple[IPv4Network, ...]:
    """What is announced: a /32 for each VIP."""
    return tuple(IPv4Network(vip) for vip in plan.vips)


def expected(plan: LabPlan, announcing: Collection[str]) -> Expected:
    """Router -> prefix -> gateways: a site router uses its own site's edges, and transit where there are none.

    Transit uses one path, that of the lowest router id, so that all of an area's clients move to one site at a time.
    """
    gateways = {node.name: _gateways(plan, node, announcing) for node in plan.having(Role.ROUTER)}
    return {name: dict.fromkeys(vip_prefixes(plan), hops) for name, hops in gateways.items()}


def _gateways(plan: LabPlan, router: NodePlan, announcing: Collection[str]) -> tuple[str, ...]:
    serving = {plan.nodes[name].site for name in announcing}
    own, transit, routers_by_number = [], [], []
    for interface, peer in plan.neighbours(router):
        address = str(interface.peer_address)
        if peer.role is Role.EDGE and peer.name in announcing:
            own.append(address)
        elif peer.role is Role.ROUTER and not peer.site and serving - {router.site}:
            transit.append(address)
        elif peer.role is Role.ROUTER and not router.site and peer.site in serving:
            routers_by_number.append((peer.number, address))
    if not router.site:
        return tuple(address for _, address in sorted(routers_by_number)[:1])
    return tuple(own or transit)


def gateway_names(plan: LabPlan) -> Mapping[str, str]:
    """The node that has each link address, to show next hops by name."""
    return {str(interface.address.ip): node.name for node in plan.nodes.values() for interface in node.interfaces}


def table(plan: LabPlan, snapshot: Snapshot) -> list[tuple[str, str, str]]:
    """(router, prefix, next hops with the names of their nodes) for people, in the order of the description."""
    names = gateway_names(plan)
    rows = []
    for router in routers(plan):
        for prefix, hops in sorted(snapshot.get(router, {}).items()):
            shown = [f"{hop.gateway} dev {hop.device} ({names.get(hop.gateway, '?')})" for hop in hops]
            rows.append((router, str(prefix), ", ".join(shown)))
    return rows
