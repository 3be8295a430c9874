"""Which edges announce which services as a scenario goes on, and where the routers must then send each VIP. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Self

from bgp.route import Prefix
from lab.addressing import LabPlan, Role
from lab.job import convergence
from lab.observe.fib import Expected, Snapshot, in_order
from lab.scenario.evidence import Hops, Table
from lab.scenario.model import Announcing


@dataclass(frozen=True, slots=True)
class Standing:
    """What is announced: service -> edges; and `lost`, the "ROUTER:IFACE" ends that no packet leaves by."""

    services: Mapping[str, frozenset[str]]
    lost: frozenset[str] = frozenset()

    @classmethod
    def of(cls, plan: LabPlan) -> Self:
        """Every edge announces every service, as after a deployment."""
        edges = frozenset(edge.name for edge in plan.having(Role.EDGE))
        return cls({service.name: edges for service in plan.services})

    def after(self, plan: LabPlan, announcing: Announcing | str | None) -> Self:
        """What stands once a step has been done."""
        if announcing == "all":
            return self.of(plan)
        if not isinstance(announcing, Announcing):
            return self
        edges = frozenset(edge.name for edge in plan.having(Role.EDGE))
        without = announcing.without or ()
        left = frozenset(announcing.only) if announcing.only is not None else edges - {*without}
        services = {name: left if announcing.vip in ("", name) else old for name, old in self.services.items()}
        return replace(self, services=services, lost=frozenset(name for name in without if ":" in name))

    def expected(self, plan: LabPlan) -> Expected:
        """Router -> prefix -> gateways. A router that has lost its only way is left out: it may find a longer one."""
        gateways: dict[str, dict[Prefix, tuple[str, ...]]] = {name: {} for name in convergence.routers(plan)}
        lost = self._lost_gateways(plan)
        for service in plan.services:
            by_router = convergence.expected(plan, self.services[service.name])
            for router, prefixes in by_router.items():
                for prefix in (ip_network(vip) for vip in service.vips):
                    ways = tuple(prefixes[prefix])
                    left = tuple(way for way in ways if way not in lost.get(router, ()))
                    if left or not ways:
                        gateways[router][prefix] = left
        return gateways

    def _lost_gateways(self, plan: LabPlan) -> dict[str, set[str]]:
        """The gateways that a router loses with its end of a link, or with the other end."""
        found: dict[str, set[str]] = {}
        for node in plan.nodes.values():
            for interface in node.interfaces:
                ends = {f"{node.name}:{interface.name}", f"{interface.peer}:{interface.peer_interface}"}
                if ends & self.lost:
                    addresses = {str(interface.peer_address), str(interface.peer_address6)}
                    found.setdefault(node.name, set()).update(addresses)
        return found


def target_of(plan: LabPlan, edge: str) -> str:
    """What serves the VIPs at an edge."""
    return str(getattr(plan.nodes[edge], "target", "fairhop"))


def targets(plan: LabPlan) -> list[str]:
    """What serves the VIPs in a lab, without repetition; none where it has no edge."""
    return sorted({target_of(plan, edge.name) for edge in plan.having(Role.EDGE)})


def fairhop_edges(plan: LabPlan) -> tuple[str, ...]:
    """The edges that run fairhop, in the order of the topology."""
    return tuple(edge.name for edge in plan.having(Role.EDGE) if target_of(plan, edge.name) == "fairhop")


def by_name(plan: LabPlan, snapshot: Snapshot) -> Table:
    """The routers' kernels with the names of nodes for gateways."""
    names = convergence.gateway_names(plan)
    return {
        router: {
            str(prefix): hops_of([hop.gateway for hop in hops], names)
            for prefix, hops in sorted(rows.items(), key=lambda row: in_order(row[0]))
        }
        for router, rows in snapshot.items()
    }


def hops_of(gateways: list[str], names: Mapping[str, str]) -> Hops:
    """The nodes behind some gateways; an address that no node of the lab has stays as it is."""
    return tuple(sorted(names.get(gateway, gateway or "connected") for gateway in gateways))
