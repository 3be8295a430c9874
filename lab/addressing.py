"""Who stands where in the lab and under which address: a `Topology` and its labels become a frozen `LabPlan`.

Node n (in the file's order, from 1) has router id and loopback 10.255.0.n, a client the address 198.51.100.n; link k
(from 0) is 10.0.k.0/31 with .0 at its first endpoint. In IPv6 the same decimal digits stand in fd00:ff::n,
2001:db8:c::n and fd00:0:0:k::/127. Labels: `fairhop.role` (router, client, edge or backend), `fairhop.site` (a router
without one is transit), `fairhop.asn` (all but backends), and on every node alike one
`fairhop.service.NAME: VIP [VIP6] PROTOCOL/PORT... gre|ipip` per service.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from edge.datapath.model import Encap, Protocol
from lab.topology.model import Endpoint, Node, Topology

LINKS = IPv4Network("10.0.0.0/16")
LOOPBACKS = IPv4Network("10.255.0.0/24")
CLIENTS = IPv4Network("198.51.100.0/24")
LINKS6 = IPv6Network("fd00::/48")
LOOPBACKS6 = IPv6Network("fd00:ff::/112")
CLIENTS6 = IPv6Network("2001:db8:c::/112")
Vip = IPv4Address | IPv6Address
MAX_NODES = 254
MAX_LINKS = 256

_SERVICE_LABEL = "fairhop.service."
_PORT = re.compile(r"(tcp|udp)/([1-9][0-9]{0,4})")


class PlanError(Exception):
    """The topology cannot be addressed; `problems` has every reason, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class Role(StrEnum):
    """What a node does; the value is its `fairhop.role` label."""

    ROUTER = "router"
    CLIENT = "client"
    EDGE = "edge"
    BACKEND = "backend"


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a link: its addresses (a /31, a /127) and the interface, addresses and node at the other end."""

    name: str
    address: IPv4Interface
    address6: IPv6Interface
    peer: str
    peer_interface: str
    peer_address: IPv4Address
    peer_address6: IPv6Address
    mtu: int


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One node. `asn` is 0 for a backend, `site` is empty for transit; `number` counts nodes from 1."""

    name: str
    number: int
    role: Role
    site: str
    asn: int
    interfaces: tuple[Interface, ...]

    @property
    def router_id(self) -> IPv4Address:
        """BGP's identifier; also the loopback address of a router."""
        return LOOPBACKS[self.number]

    @property
    def client_address(self) -> IPv4Address:
        """The address that a client announces and uses."""
        return CLIENTS[self.number]

    @property
    def loopback6(self) -> IPv6Address:
        """The IPv6 loopback address of a router."""
        return LOOPBACKS6[_same_digits(self.number)]

    @property
    def client_address6(self) -> IPv6Address:
        """The IPv6 address that a client announces and uses."""
        return CLIENTS6[_same_digits(self.number)]

    @property
    def address(self) -> IPv4Address:
        """The address of the first interface: what an edge sends tunnels from and a backend receives them at."""
        return self.interfaces[0].address.ip


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One VIP, perhaps an IPv6 one too, (protocol, port) pairs, and how packets travel to the pool of the same name."""

    name: str
    vip: IPv4Address
    vip6: IPv6Address | None
    ports: tuple[tuple[Protocol, int], ...]
    encap: Encap

    @property
    def vips(self) -> tuple[Vip, ...]:
        """The VIPs that the service has."""
        return (self.vip,) if self.vip6 is None else (self.vip, self.vip6)


@dataclass(frozen=True, slots=True)
class LabPlan:
    """The whole lab. `nodes` keeps the file's order."""

    name: str
    nodes: Mapping[str, NodePlan]
    services: tuple[ServicePlan, ...]

    @property
    def vips(self) -> tuple[Vip, ...]:
        """Every VIP: the IPv4 ones ascending, then the IPv6 ones."""
        return (*self.vips4, *self.vips6)

    @property
    def vips4(self) -> tuple[IPv4Address, ...]:
        """Every IPv4 VIP, ascending."""
        return tuple(sorted(service.vip for service in self.services))

    @property
    def vips6(self) -> tuple[IPv6Address, ...]:
        """Every IPv6 VIP, ascending."""
        return tuple(sorted(service.vip6 for service in self.services if service.vip6))

    def having(self, role: Role, site: str | None = None) -> tuple[NodePlan, ...]:
        """The nodes of a role, of one site unless `site` is None."""
        return tuple(node for node in self.nodes.values() if node.role is role and site in (None, node.site))

    def neighbours(self, node: NodePlan) -> Iterator[tuple[Interface, NodePlan]]:
        """Each interface of `node` with the node at the other end."""
        for interface in node.interfaces:
            yield interface, self.nodes[interface.peer]


def plan(topology: Topology) -> LabPlan:
    """Address the lab. Raises `PlanError` with all that is wrong with its labels and links."""
    problems = [*_size_problems(topology)]
    services = _services(topology, problems)
    ends = dict(_interfaces(topology)) if not problems else {}
    nodes = {
        name: node
        for number, (name, described) in enumerate(topology.nodes.items(), 1)
        if (node := _node(number, described, [ends[end] for end in topology.endpoints(name) if ends], problems))
    }
    lab = LabPlan(topology.name, nodes, services)
    if not problems:
        problems += [*_asn_problems(lab), *_link_problems(lab), *_vip_problems(lab)]
    if problems:
        raise PlanError(problems)
    return lab


def _size_problems(topology: Topology) -> Iterator[str]:
    if len(topology.nodes) > MAX_NODES:
        yield f"{topology.name} has {len(topology.nodes)} nodes: expected at most {MAX_NODES}, one address each"
    if len(topology.links) > MAX_LINKS:
        yield f"{topology.name} has {len(topology.links)} links: expected at most {MAX_LINKS}, one /31 each"


def _interfaces(topology: Topology) -> Iterator[tuple[Endpoint, Interface]]:
    for number, link in enumerate(topology.links):
        network = IPv4Network((int(LINKS.network_address) + 256 * number, 31))
        network6 = IPv6Network((int(LINKS6.network_address) + (_same_digits(number) << 64), 127))
        for mine, end, other in ((0, link.a, link.b), (1, link.b, link.a)):
            yield (
                end,
                Interface(
                    name=end.interface,
                    address=IPv4Interface((network[mine], 31)),
                    address6=IPv6Interface((network6[mine], 127)),
                    peer=other.node,
                    peer_interface=other.interface,
                    peer_address=network[1 - mine],
                    peer_address6=network6[1 - mine],
                    mtu=link.mtu,
                ),
            )


def _same_digits(number: int) -> int:
    """The number that reads in hexadecimal as `number` does in decimal: addresses of both families look alike."""
    return int(str(number), 16)


def _node(number: int, node: Node, interfaces: list[Interface], problems: list[str]) -> NodePlan | None:
    role, site, asn = (node.labels.get(f"fairhop.{key}", "") for key in ("role", "site", "asn"))
    if role not in [*Role]:
        problems.append(f"node {node.name}: label fairhop.role is '{role}': expected one of {', '.join(Role)}")
        return None
    if not site and role != Role.ROUTER:
        problems.append(f"node {node.name}: a {role} needs the label fairhop.site")
    if role == Role.BACKEND:
        asn = asn or "0"
    elif not asn.isdecimal() or not 1 <= int(asn) <= 4294967294:
        problems.append(f"node {node.name}: label fairhop.asn is '{asn}': expected a number from 1 to 4294967294")
        return None
    return NodePlan(node.name, number, Role(role), site, int(asn), tuple(interfaces))


def _services(topology: Topology, problems: list[str]) -> tuple[ServicePlan, ...]:
    """The services that all nodes agree on."""
    agreed: dict[str, str] | None = None
    for node in topology.nodes.values():
        labels = {key: text for key, text in node.labels.items() if key.startswith(_SERVICE_LABEL)}
        agreed = labels if agreed is None else agreed
        if labels != agreed:
            problems.append(f"node {node.name}: its {_SERVICE_LABEL}* labels differ: expected the same on every node")
    found = [_service(key.removeprefix(_SERVICE_LABEL), text, problems) for key, text in (agreed or {}).items()]
    if not found:
        problems.append(f"{topology.name} serves nothing: expected a label {_SERVICE_LABEL}NAME on every node")
    return tuple(service for service in found if service)


def _service(name: str, text: str, problems: list[str]) -> ServicePlan | None:
    vip, *ports, encap = text.split() if len(text.split()) > 2 else ("", "", "")
    vip6 = ports.pop(0) if ":" in ports[0] else None
    pairs = [_PORT.fullmatch(port) for port in ports]
    try:
        return ServicePlan(
            name,
            IPv4Address(vip),
            None if vip6 is None else IPv6Address(vip6),
            tuple((Protocol[match[1].upper()], _port_number(match[2])) for match in pairs if match),
            Encap[encap.upper() if pairs and all(pairs) else ""],
        )
    except (AddressValueError, KeyError, ValueError):
        problems.append(
            f"label {_SERVICE_LABEL}{name} is '{text}': expected a VIP, perhaps one of IPv6, ports and an "
            "encapsulation, such as '203.0.113.10 2001:db8:1::10 tcp/80 gre'"
        )
        return None


def _port_number(text: str) -> int:
    if int(text) > 65535:
        raise ValueError(text)
    return int(text)


def _asn_problems(lab: LabPlan) -> Iterator[str]:
    """One ASN per router and per client, one per site for its edges: a path then names where it has been."""
    owners: dict[int, str] = {}
    for node in lab.nodes.values():
        if node.role is not Role.BACKEND:
            owner = f"the edges of site {node.site}" if node.role is Role.EDGE else f"node {node.name}"
            first = owners.setdefault(node.asn, owner)
            if first != owner:
                yield f"node {node.name}: AS {node.asn} is already that of {first}"
    for site in sorted({node.site for node in lab.having(Role.EDGE)}):
        numbers = sorted({node.asn for node in lab.having(Role.EDGE, site)})
        if len(numbers) > 1:
            yield f"the edges of site {site} have the ASNs {numbers}: expected one"


def _link_problems(lab: LabPlan) -> Iterator[str]:
    for node in lab.nodes.values():
        if not node.interfaces:
            yield f"node {node.name} has no link"
        wanted = [f"eth{number}" for number in range(1, len(node.interfaces) + 1)]
        if sorted(interface.name for interface in node.interfaces) != sorted(wanted):
            yield f"node {node.name}: its interfaces are not named {', '.join(wanted)}"
        if node.role is Role.BACKEND and len(node.interfaces) > 1:
            yield f"node {node.name} has {len(node.interfaces)} links: expected one, a backend has one router"
        for _, other in lab.neighbours(node):
            if node.role is not Role.ROUTER and (other.role is not Role.ROUTER or other.site != node.site):
                yield f"node {node.name} is linked to {other.name}: expected a router of its own site, {node.site}"


def _vip_problems(lab: LabPlan) -> Iterator[str]:
    owners: dict[Vip, str] = {}
    for service in lab.services:
        for vip in service.vips:
            first = owners.setdefault(vip, service.name)
            if first != service.name:
                yield f"service {service.name}: VIP {vip} is already that of service {first}"
            for taken in (LINKS, LOOPBACKS, CLIENTS, LINKS6, LOOPBACKS6, CLIENTS6):
                if vip in taken:
                    yield f"service {service.name}: VIP {vip} lies in {taken}, which the lab uses itself"
        if len(set(service.ports)) != len(service.ports):
            yield f"service {service.name} names a port twice"
