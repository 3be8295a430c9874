"""The policies of a frr.conf: prefix lists and route maps of both families; `lab.render.frr` says who uses which."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from lab.addressing import Interface, LabPlan, NodePlan, Role, Vip
from lab.render.peers import Range, client_prefix, routed, underlay, vips
from lab.routing import PREFERENCES, USUAL, Kind, Preference, edge_asn

_OWN_EDGES = """\
bgp as-path access-list FROM-OWN-EDGES seq 5 permit _{asn}$
"""

_EDGE_LISTS = """\
bgp as-path access-list EDGE seq 5 permit ^{asn}(_{asn})*$
bgp community-list expanded FOREIGN seq 5 deny graceful-shutdown
bgp community-list expanded FOREIGN seq 10 permit .*
"""

_NOT_OWN = """\
route-map FROM-{kind}{six} deny 10
 match as-path FROM-OWN-EDGES
exit
"""

_OWN_LAST = """\
route-map FROM-{kind}{six} permit 10
 match as-path FROM-OWN-EDGES
 match {ip} address prefix-list VIPS{six}
 set local-preference {preference}
{next_hop}exit
"""

# Only an edge's own VIPs, only as its own, from itself; of its communities only GRACEFUL_SHUTDOWN goes further.
_FROM_EDGE = """\
route-map FROM-EDGE{of} permit 10
 match as-path EDGE
 match {ip} address prefix-list VIPS{six}
{next_hop} set comm-list FOREIGN delete
exit
"""

_VIPS = """\
route-map FROM-{kind}{six} permit {seq}
 match {ip} address prefix-list VIPS{six}
 set local-preference {preference}
{next_hop}exit
"""

_REST = """\
route-map FROM-{kind}{six} permit {seq}
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

# How the templates differ by family. A route with an IPv6 next hop may have a global and a link-local one, and FRR
# would send to the second, which names no node.
_GLOBAL = " set ipv6 next-hop prefer-global\n"
_FAMILIES: dict[int, tuple[dict[str, str], dict[str, str]]] = {
    4: ({"ip": "ip", "six": "", "next_hop": ""}, {"ip": "ipv6", "six": "6", "next_hop": _GLOBAL}),
    6: ({"ip": "ip", "six": "", "next_hop": _GLOBAL}, {"ip": "ipv6", "six": "6", "next_hop": _GLOBAL}),
}
_ITSELF = {4: " set ip next-hop peer-address\n", 6: f" set ipv6 next-hop peer-address\n{_GLOBAL}"}


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
    lines = []
    for version, words in zip((4, 6), _FAMILIES[lab.underlay], strict=True):
        lists = {"VIPS": vips(lab, version), "UNDERLAY": underlay(version), "ROUTED": routed(lab, version)}
        lines += [
            f"{words['ip']} prefix-list {name}{words['six']} seq {5 * number} permit {_entry(each)}\n"
            for name, ranges in lists.items()
            for number, each in enumerate(ranges, 1)
        ]
    return "".join(lines)


def _entry(prefixes: Range) -> str:
    """A range as a prefix list has it; without `le` a longer prefix would do too."""
    network = ip_network(prefixes.network)
    if network.prefixlen == prefixes.length:
        return prefixes.network
    most = "" if prefixes.length == network.max_prefixlen else f" le {prefixes.length}"
    return f"{prefixes.network} ge {prefixes.length}{most}"


def router_policies(lab: LabPlan, node: NodePlan, sessions: Sequence[Session]) -> Iterator[str]:
    """The sections of a router: what it lets in from each kind of neighbour."""
    peers = [session.peer for session in sessions]
    asn = edge_asn(lab, node.site)
    edges = [session for session in sessions if session.peer.role is Role.EDGE]
    if edges:
        yield _EDGE_LISTS.format(asn=asn)
    if asn:
        yield _OWN_EDGES.format(asn=asn)
    yield from _from_edges(lab, edges)
    present = {session.group for session in sessions}
    for kind, preference in PREFERENCES.items():
        if kind in present and kind is not Kind.EDGE:
            for family in _FAMILIES[lab.underlay]:
                yield "".join(_from_routers(kind, preference, family, has_own=asn is not None))
    for name, client in {peer.name: peer for peer in peers if peer.role is Role.CLIENT}.items():
        yield _CLIENT_PATH.format(name=name, asn=client.asn)
        for version, family in zip((4, 6), _FAMILIES[lab.underlay], strict=True):
            yield _FROM_CLIENT.format(name=name, prefix=client_prefix(client, version), **family)
    yield from for_both(_CONNECTED, lab.underlay)


def _from_edges(lab: LabPlan, edges: Sequence[Session]) -> Iterator[str]:
    if edges:
        yield _FROM_EDGE.format(ip="ip", six="", of="", next_hop=_ITSELF[lab.underlay])
    if edges and lab.underlay == 6:
        yield _FROM_EDGE.format(ip="ipv6", six="6", of="6", next_hop=_ITSELF[6])
        return
    for edge in edges:  # on an IPv4 session there is no IPv6 `peer-address`: the edge's own address has to be named
        hop = f" set ipv6 next-hop global {edge.interface.peer_address6}\n{_GLOBAL}"
        yield _FROM_EDGE.format(ip="ipv6", six="6", of=f"6-{edge.peer.name}", next_hop=hop)


def _from_routers(kind: Kind, wanted: Preference, family: dict[str, str], *, has_own: bool) -> Iterator[str]:
    """One route map: paths from the site's own edges, other VIPs, the rest."""
    words = {"kind": kind, **family}
    if has_own and wanted.own is None:
        yield _NOT_OWN.format(**words)
    elif has_own and wanted.own is not None and wanted.own != wanted.other:
        yield _OWN_LAST.format(preference=wanted.own, **words)
    if wanted.other != USUAL:
        yield _VIPS.format(seq=20, preference=wanted.other, **words)
    yield _REST.format(seq=30, **words)


def client_policies(lab: LabPlan, node: NodePlan) -> Iterator[str]:
    """The sections of a client: what it announces, and the source of what it sends."""
    addresses: tuple[Vip, Vip] = node.client_address, node.client_address6
    for version, address, family in zip((4, 6), addresses, _FAMILIES[lab.underlay], strict=True):
        yield _CLIENT.format(address=address, prefix=client_prefix(node, version), **family)


def for_both(template: str, links: int) -> Iterator[str]:
    """A template filled in for IPv4 and for IPv6; `links`: the IP version of the links."""
    return (template.format(**family) for family in _FAMILIES[links])
