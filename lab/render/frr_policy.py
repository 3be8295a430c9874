"""The policies of a frr.conf: prefix lists and route maps of both families; `lab.render.frr` says who uses which."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.addressing import (
    CLIENTS,
    CLIENTS6,
    LINKS,
    LINKS6,
    LOOPBACKS,
    LOOPBACKS6,
    Interface,
    LabPlan,
    NodePlan,
    Role,
    Vip,
)

_EDGE_LISTS = """\
bgp as-path access-list EDGE seq 5 permit ^{asn}(_{asn})*$
bgp as-path access-list FROM-OWN-EDGES seq 5 permit _{asn}$
bgp community-list expanded FOREIGN seq 5 deny graceful-shutdown
bgp community-list expanded FOREIGN seq 10 permit .*
"""

_NOT_FROM_CORE = """\
route-map FROM-CORE{six} deny 10
 match as-path FROM-OWN-EDGES
exit
"""

# Only an edge's own VIPs, only as its own, from itself; of its communities only GRACEFUL_SHUTDOWN goes further.
_FROM_EDGE = """\
route-map FROM-EDGE{of} permit 10
 match as-path EDGE
 match {ip} address prefix-list VIPS{six}
{next_hop} set comm-list FOREIGN delete
exit
"""

_FROM_CORE = """\
route-map FROM-CORE{six} permit 20
 match {ip} address prefix-list ROUTED{six}
{next_hop}exit
"""

_FROM_SIBLING = """\
route-map FROM-SIBLING{six} permit 10
 match {ip} address prefix-list VIPS{six}
 set local-preference 0
{next_hop}exit
route-map FROM-SIBLING{six} permit 20
 match {ip} address prefix-list ROUTED{six}
{next_hop}exit
"""

_CLIENT_PATH = """\
bgp as-path access-list CLIENT-{name} seq 5 permit ^{asn}$
"""

_FROM_CLIENT = """\
{ip} prefix-list CLIENT-{name}{six} seq 5 permit {prefix}
route-map FROM-CLIENT-{name}{six} permit 10
 match as-path CLIENT-{name}
 match {ip} address prefix-list CLIENT-{name}{six}
{next_hop}exit
"""

_CONNECTED = """\
route-map CONNECTED{six} permit 10
 match {ip} address prefix-list UNDERLAY{six}
exit
"""

TO_ALL = """\
route-map ROUTED{six} permit 10
 match {ip} address prefix-list ROUTED{six}
{next_hop}exit
"""

NOTHING = """\
route-map NOTHING deny 10
exit
"""

# A client speaks from the address it announces, whatever link the packet leaves by.
_CLIENT = """\
{ip} prefix-list OWN{six} seq 5 permit {prefix}
route-map OWN{six} permit 10
 match {ip} address prefix-list OWN{six}
exit
route-map SOURCE{six} permit 10
 set src {address}
exit
{ip} protocol bgp route-map SOURCE{six}
"""

# How the templates differ by family. On an IPv4 session FRR gives an IPv6 route a global and a link-local next hop,
# and would send to the second, which names no node.
_FAMILIES: tuple[dict[str, str], ...] = (
    {"ip": "ip", "six": "", "next_hop": ""},
    {"ip": "ipv6", "six": "6", "next_hop": " set ipv6 next-hop prefer-global\n"},
)


@dataclass(frozen=True, slots=True)
class Session:
    """`inbound` and `outbound` are the route maps of IPv4."""

    group: str
    interface: Interface
    peer: NodePlan
    inbound: str
    outbound: str


def prefix_lists(lab: LabPlan) -> str:
    """What may be routed at all, by kind."""
    four = [f"{LINKS} ge 31 le 31", f"{LOOPBACKS} ge 32"], [f"{vip}/32" for vip in lab.vips4], f"{CLIENTS} ge 32"
    six = [f"{LINKS6} ge 127 le 127", f"{LOOPBACKS6} ge 128"], [f"{v}/128" for v in lab.vips6], f"{CLIENTS6} ge 128"
    lines = []
    for (underlay, vips, clients), words in zip((four, six), _FAMILIES, strict=True):
        lists = {"VIPS": vips, "UNDERLAY": underlay, "ROUTED": [*vips, *underlay, clients]}
        lines += [
            f"{words['ip']} prefix-list {name}{words['six']} seq {5 * number} permit {entry}\n"
            for name, entries in lists.items()
            for number, entry in enumerate(entries, 1)
        ]
    return "".join(lines)


def router_policies(sessions: Sequence[Session]) -> Iterator[str]:
    """The sections of a router: what it lets in from each kind of neighbour."""
    peers = [session.peer for session in sessions]
    groups = {session.group for session in sessions}
    for asn in dict.fromkeys(peer.asn for peer in peers if peer.role is Role.EDGE):
        yield _EDGE_LISTS.format(asn=asn)
        yield from for_both(_NOT_FROM_CORE)
        yield _FROM_EDGE.format(ip="ip", six="", of="", next_hop=" set ip next-hop peer-address\n")
    for edge in (session for session in sessions if session.peer.role is Role.EDGE):
        # On an IPv4 session there is no IPv6 `peer-address`: the edge's own address has to be named.
        hop = f" set ipv6 next-hop global {edge.interface.peer_address6}\n set ipv6 next-hop prefer-global\n"
        yield _FROM_EDGE.format(ip="ipv6", six="6", of=f"6-{edge.peer.name}", next_hop=hop)
    if "CORE" in groups:
        yield from for_both(_FROM_CORE)
    if "SIBLING" in groups:
        yield from for_both(_FROM_SIBLING)
    for name, client in {peer.name: peer for peer in peers if peer.role is Role.CLIENT}.items():
        yield _CLIENT_PATH.format(name=name, asn=client.asn)
        for family, address in _own_addresses(client):
            yield _FROM_CLIENT.format(name=name, prefix=f"{address}/{address.max_prefixlen}", **family)
    yield from for_both(_CONNECTED)


def client_policies(node: NodePlan) -> Iterator[str]:
    """The sections of a client: what it announces, and the source of what it sends."""
    for family, address in _own_addresses(node):
        yield _CLIENT.format(address=address, prefix=f"{address}/{address.max_prefixlen}", **family)


def _own_addresses(client: NodePlan) -> list[tuple[dict[str, str], Vip]]:
    four, six = _FAMILIES
    return [(four, client.client_address), (six, client.client_address6)]


def for_both(template: str) -> Iterator[str]:
    """A template filled in for IPv4 and for IPv6."""
    return (template.format(**family) for family in _FAMILIES)
