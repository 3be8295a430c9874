"""Addresses a lab: a `Topology` and its labels become a `LabPlan`, or all that is wrong with them is told.

The numbering is told in `lab.addressing`.
"""

import re
from collections.abc import Iterator
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
from lab.addressing import (
    CLIENTS,
    CLIENTS6,
    HOSTS,
    KINDS,
    LINKS,
    LINKS6,
    LOOPBACKS,
    LOOPBACKS6,
    MAX_LINKS,
    MAX_NODES,
    Bfd,
    Interface,
    LabPlan,
    NodePlan,
    Role,
    ServicePlan,
    Vip,
    same_digits,
)
from lab.topology.model import Endpoint, Node, Topology

_SERVICE_LABEL = "fairhop.service."
_PORT = re.compile(r"(tcp|udp)/([1-9][0-9]{0,4})")
_BFD = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]?)")
_FASTEST_BFD = 10  # milliseconds, FRR's least
_TIERS = ("transit", "backbone")
_UNDERLAYS = ("4", "6")


class PlanError(Exception):
    """The topology cannot be addressed; `problems` has every reason, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


def plan(topology: Topology) -> LabPlan:
    """Address the lab. Raises `PlanError` with all that is wrong with its labels and links."""
    problems = [*_size_problems(topology)]
    underlay = _underlay(topology, problems)
    services = _services(topology, problems)
    ends = dict(_interfaces(topology)) if not problems else {}
    nodes = {
        name: node
        for number, (name, described) in enumerate(topology.nodes.items(), 1)
        if (node := _node(number, described, [ends[end] for end in topology.endpoints(name) if ends], problems))
    }
    lab = LabPlan(topology.name, nodes, services, underlay)
    if not problems:
        problems += [*_asn_problems(lab), *_link_problems(lab), *_vip_problems(lab), *_target_problems(lab)]
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
        network6 = IPv6Network((int(LINKS6.network_address) + (same_digits(number) << 64), 127))
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


def _node(number: int, node: Node, interfaces: list[Interface], problems: list[str]) -> NodePlan | None:
    role, site, asn = (node.labels.get(f"fairhop.{key}", "") for key in ("role", "site", "asn"))
    if role not in [*Role]:
        problems.append(f"node {node.name}: label fairhop.role is '{role}': expected one of {', '.join(Role)}")
        return None
    if not site and role not in (Role.ROUTER, Role.CLIENT):
        problems.append(f"node {node.name}: a {role} needs the label fairhop.site")
    backbone, bfd = _backbone(node, problems), _bfd(node, problems)
    kinds = {key.replace("-", "_"): _kind(key, node, problems) for key in KINDS}
    if role in HOSTS:
        asn = asn or "0"
    elif not asn.isdecimal() or not 1 <= int(asn) <= 4294967294:
        problems.append(f"node {node.name}: label fairhop.asn is '{asn}': expected a number from 1 to 4294967294")
        return None
    return NodePlan(node.name, number, Role(role), site, int(asn), tuple(interfaces), backbone, bfd, **kinds)


def _kind(key: str, node: Node, problems: list[str]) -> str:
    """What a label such as `fairhop.router` says; it is refused on nodes that it means nothing for."""
    role, values = KINDS[key]
    label = f"fairhop.{key}"
    found = node.labels.get(label, values[0])
    if found not in values:
        problems.append(f"node {node.name}: label {label} is '{found}': expected one of {', '.join(values)}")
    elif label in node.labels and node.labels.get("fairhop.role") != role:
        problems.append(f"node {node.name}: label {label} is for nodes of role {role}")
    return found


def _backbone(node: Node, problems: list[str]) -> bool:
    tier = node.labels.get("fairhop.tier")
    if tier is None:
        return False
    if tier not in _TIERS:
        problems.append(f"node {node.name}: label fairhop.tier is '{tier}': expected one of {', '.join(_TIERS)}")
    elif node.labels.get("fairhop.role") != Role.ROUTER or node.labels.get("fairhop.site"):
        problems.append(f"node {node.name}: label fairhop.tier is for routers without a site")
    return tier == "backbone"


def _bfd(node: Node, problems: list[str]) -> Bfd | None:
    text = node.labels.get("fairhop.bfd")
    if text is None:
        return None
    match = _BFD.fullmatch(text)
    if not match or int(match[1]) < _FASTEST_BFD or int(match[2]) < 2:
        problems.append(
            f"node {node.name}: label fairhop.bfd is '{text}': expected milliseconds from {_FASTEST_BFD} and how many "
            "packets may miss from 2, such as 60x3"
        )
        return None
    if node.labels.get("fairhop.role") not in (Role.ROUTER, Role.EDGE):
        problems.append(f"node {node.name}: label fairhop.bfd is for routers and edges")
    return Bfd(int(match[1]), int(match[2]))


def _underlay(topology: Topology, problems: list[str]) -> int:
    """The IP version that all nodes agree on."""
    said = {node.name: node.labels.get("fairhop.underlay", "4") for node in topology.nodes.values()}
    first = next(iter(said.values()), "4")
    for name, text in said.items():
        if text not in _UNDERLAYS:
            problems.append(f"node {name}: label fairhop.underlay is '{text}': expected one of {', '.join(_UNDERLAYS)}")
        elif text != first:
            problems.append(f"node {name}: its fairhop.underlay label differs: expected the same on every node")
    return 6 if first == "6" else 4


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
    words = text.split()
    quic = words[-1:] == ["quic"]
    words = words[:-1] if quic else words
    vip, *ports, encap = words if len(words) > 2 else ("", "", "")
    vip6 = ports.pop(0) if ":" in ports[0] else None
    pairs = [_PORT.fullmatch(port) for port in ports]
    try:
        return ServicePlan(
            name,
            IPv4Address(vip),
            None if vip6 is None else IPv6Address(vip6),
            tuple((Protocol[match[1].upper()], _port_number(match[2])) for match in pairs if match),
            Encap[encap.upper() if pairs and all(pairs) else ""],
            quic,
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
        if node.role not in HOSTS:
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
        if node.role in HOSTS and len(node.interfaces) > 1:
            yield f"node {node.name} has {len(node.interfaces)} links: expected one, a {node.role} has one router"
        for _, other in lab.neighbours(node):
            if node.role is not Role.ROUTER and (other.role is not Role.ROUTER or other.site != node.site):
                wanted_peer = f"of its own site, {node.site}" if node.site else "without a site, as it has none"
                yield f"node {node.name} is linked to {other.name}: expected a router {wanted_peer}"


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
        if service.quic and [protocol for protocol, _ in service.ports] != [Protocol.UDP]:
            yield f"service {service.name} is quic: expected one UDP port, and no other"


def _target_problems(lab: LabPlan) -> Iterator[str]:
    for node in lab.nodes.values():
        others = [value for value in (node.router, node.target, node.receiver) if value not in ("frr", "fairhop")]
        made = others[0] if others else ""
        if made and lab.underlay == 6:
            yield f"node {node.name}: {made} is rendered for fairhop.underlay 4 only"
        if made == "gobgp" and node.bfd:
            yield f"node {node.name}: {made} has no BFD here: expected no label fairhop.bfd"
        if made and node.read_back == "bmp":
            yield f"node {node.name}: {made} is not read back here: expected no label fairhop.read-back"
    for site in sorted({node.site for node in lab.having(Role.EDGE)}):
        targets = sorted({node.target for node in lab.having(Role.EDGE, site)})
        if len(targets) > 1:
            yield f"the edges of site {site} are {' and '.join(targets)}: expected one target for a site"
    for edge in lab.having(Role.EDGE):
        datagrams = [service.name for service in lab.services if Protocol.UDP in dict(service.ports)]
        if edge.target == "haproxy" and datagrams:
            yield f"node {edge.name}: HAProxy carries no UDP: expected TCP ports only in service {datagrams[0]}"
        if edge.target != "fairhop" and any(service.quic for service in lab.services):
            yield f"node {edge.name}: only target fairhop routes by connection id: expected no service with quic"
