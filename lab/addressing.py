"""Who stands where in the lab and under which address: a `Topology` and its labels become a frozen `LabPlan`.

Node n (in the file's order, from 1) has router id and loopback 10.255.0.n, a client the address 198.51.100.n; link k
(from 0) is 10.0.k.0/31 with .0 at its first endpoint. In IPv6 the same decimal digits stand in fd00:ff::n,
2001:db8:c::n and fd00:0:0:k::/127. Labels: `fairhop.role` (one of `Role`), `fairhop.site` (a router without one is
transit, or with `fairhop.tier: backbone` the operator's own way between sites; a client without one hangs on such a
router), `fairhop.asn` (routers, clients and edges), what runs there if not the default (`fairhop.router`,
`fairhop.target`, `fairhop.receiver`), `fairhop.read-back` (routers that tell edges what they hold), `fairhop.bfd`
(routers and edges: milliseconds between packets x how many may be missed), and on every node alike
`fairhop.underlay` (4 or 6; with 6 links have no IPv4 addresses) and one
`fairhop.service.NAME: VIP [VIP6] PROTOCOL/PORT... gre|ipip [quic]` per service.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from edge.datapath.model import Encap, Protocol

LINKS = IPv4Network("10.0.0.0/16")
LOOPBACKS = IPv4Network("10.255.0.0/24")
CLIENTS = IPv4Network("198.51.100.0/24")
LINKS6 = IPv6Network("fd00::/48")
LOOPBACKS6 = IPv6Network("fd00:ff::/112")
CLIENTS6 = IPv6Network("2001:db8:c::/112")
Vip = IPv4Address | IPv6Address
MAX_NODES = 254
MAX_LINKS = 256


class Role(StrEnum):
    """What a node does; the value is its `fairhop.role` label."""

    ROUTER = "router"
    CLIENT = "client"
    EDGE = "edge"
    BACKEND = "backend"
    PROXY = "proxy"
    STORE = "store"


HOSTS = (Role.BACKEND, Role.PROXY, Role.STORE)
"""Roles without BGP: one link, to a router of their site, which is their default route."""

KINDS = {
    "router": (Role.ROUTER, ("frr", "bird", "gobgp")),
    "target": (Role.EDGE, ("fairhop", "haproxy", "nft")),
    "receiver": (Role.BACKEND, ("fairhop", "stock")),
    "read-back": (Role.ROUTER, ("none", "bmp")),
}
"""Label (without `fairhop.`) to the role that may have it and its values, the default first."""


@dataclass(frozen=True, slots=True)
class Bfd:
    """What a node offers in BFD: `interval` milliseconds between packets, and `multiplier` of them that may miss."""

    interval: int
    multiplier: int


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a link: its addresses (a /31, a /127) and the interface, addresses and node at the other end.

    The IPv4 ones are numbers that nobody uses where the lab's underlay is IPv6.
    """

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
    """One node. `asn` is 0 for those of `HOSTS`, `site` is empty for transit and backbone; `number` counts from 1.

    `router`, `target`, `receiver` and `read_back` are the values of those labels, the default on nodes of other roles.
    """

    name: str
    number: int
    role: Role
    site: str
    asn: int
    interfaces: tuple[Interface, ...]
    backbone: bool = False
    bfd: Bfd | None = None
    router: str = "frr"
    target: str = "fairhop"
    receiver: str = "fairhop"
    read_back: str = "none"

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
        return LOOPBACKS6[same_digits(self.number)]

    @property
    def client_address6(self) -> IPv6Address:
        """The IPv6 address that a client announces and uses."""
        return CLIENTS6[same_digits(self.number)]

    @property
    def address(self) -> IPv4Address:
        """The IPv4 address of the first interface; tunnels end at `LabPlan.outer`, which may be an IPv6 one."""
        return self.interfaces[0].address.ip

    @property
    def address6(self) -> IPv6Address:
        """The IPv6 address of the first interface."""
        return self.interfaces[0].address6.ip


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """One VIP, perhaps an IPv6 one too, (protocol, port) pairs, and how packets travel to the pool of the same name.

    `quic`: its UDP ports are routed by connection id.
    """

    name: str
    vip: IPv4Address
    vip6: IPv6Address | None
    ports: tuple[tuple[Protocol, int], ...]
    encap: Encap
    quic: bool = False

    @property
    def vips(self) -> tuple[Vip, ...]:
        """The VIPs that the service has."""
        return (self.vip,) if self.vip6 is None else (self.vip, self.vip6)


@dataclass(frozen=True, slots=True)
class LabPlan:
    """The whole lab. `nodes` keeps the file's order; `underlay` is the IP version of sessions and tunnels, 4 or 6."""

    name: str
    nodes: Mapping[str, NodePlan]
    services: tuple[ServicePlan, ...]
    underlay: int = 4

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

    def receivers(self, site: str) -> tuple[NodePlan, ...]:
        """What a site's edges send to: its proxies if it has any, else its backends."""
        return self.having(Role.PROXY, site) or self.having(Role.BACKEND, site)

    def takes_tunnels(self, node: NodePlan) -> bool:
        """Whether edges send tunnels to the node; otherwise it is asked at its own address, and has no VIP."""
        targets = {edge.target for edge in self.having(Role.EDGE, node.site)}
        return node in self.receivers(node.site) and targets <= {"fairhop"}

    def neighbours(self, node: NodePlan) -> Iterator[tuple[Interface, NodePlan]]:
        """Each interface of `node` with the node at the other end."""
        for interface in node.interfaces:
            yield interface, self.nodes[interface.peer]

    def own(self, interface: Interface) -> Vip:
        """The address at this end of a link that BGP sessions and tunnels use."""
        return interface.address.ip if self.underlay == 4 else interface.address6.ip

    def far(self, interface: Interface) -> Vip:
        """The same at the other end."""
        return interface.peer_address if self.underlay == 4 else interface.peer_address6

    def outer(self, node: NodePlan) -> Vip:
        """What an edge sends tunnels from and a backend receives them at: an address of the first interface."""
        return self.own(node.interfaces[0])

    def speak_bfd(self, node: NodePlan, peer: NodePlan) -> bool:
        """Whether BFD runs between the two: a router and an edge that both have it."""
        return {node.role, peer.role} == {Role.ROUTER, Role.EDGE} and None not in (node.bfd, peer.bfd)

    def is_read_back(self, router: NodePlan, edge: NodePlan) -> bool:
        """Whether the router tells the edge what it holds, by BMP (RFC 7854)."""
        return edge.role is Role.EDGE and edge.target == "fairhop" and router.read_back == "bmp"


def same_digits(number: int) -> int:
    """The number that reads in hexadecimal as `number` does in decimal: addresses of both families look alike."""
    return int(str(number), 16)
