"""frr.conf of the lab's routers and clients: eBGP everywhere, and a written policy on every session (RFC 8212).

How a site's router chooses for a VIP, most wanted first:
  1. the site's own edges, ECMP over all that are announced plainly
  2. the other site, through transit; never a path that began at the site's own edges
  3. the site's own edges under GRACEFUL_SHUTDOWN (RFC 8326: FRR gives them local preference 0)
  4. the site's other router (local preference 0 too, and a longer path)
So a drain makes before it breaks, and no two routers point at each other while it spreads: 4 is last because the
neighbour's stale plain path would otherwise beat 3. Transit has one best path and no ECMP: were it to balance a VIP
over both sites, half of what a drained site sends it would come straight back.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lab.addressing import CLIENTS, LINKS, LOOPBACKS, Interface, LabPlan, NodePlan, Role

MAX_PATHS = 16
SPARE_PREFIXES = 8  # an edge that announces more than this beyond the VIPs loses its session for a minute

# Kernel next-hop groups lose an ECMP member for good at an interface flap (8.4.4), hence none. `zebra work-queue 0`
# saves 10 ms a change. bgpd holds all sessions back while a route-map update is pending, 5 s unless told otherwise.
# The profile is the one that keeps RFC 8212 on.
_HEAD = """\
! {name}: rendered from {lab}.clab.yml by `fairhop lab render`; edit that file, not this one.
frr version 8.4.4
frr defaults traditional
hostname {name}
log file /var/log/frr/frr.log informational
no zebra nexthop kernel enable
zebra work-queue 0
bgp route-map delay-timer 1
"""

_BGP = """\
router bgp {asn}
 bgp router-id {router_id}
 bgp log-neighbor-changes
 bgp graceful-restart-disable
 bgp bestpath {bestpath}
 coalesce-time 50
"""

_GROUP = """\
 neighbor {group} peer-group
 neighbor {group} timers 1 3
 neighbor {group} timers connect 1
 neighbor {group} advertisement-interval 0
"""

_PEER = """\
 neighbor {address} remote-as {asn}
 neighbor {address} peer-group {group}
 neighbor {address} description {name}
"""

# Only an edge's own VIPs, only as its own, from itself; of its communities only GRACEFUL_SHUTDOWN goes further.
_FROM_EDGE = """\
bgp as-path access-list EDGE seq 5 permit ^{asn}(_{asn})*$
bgp as-path access-list FROM-OWN-EDGES seq 5 permit _{asn}$
bgp community-list expanded FOREIGN seq 5 deny graceful-shutdown
bgp community-list expanded FOREIGN seq 10 permit .*
route-map FROM-EDGE permit 10
 match as-path EDGE
 match ip address prefix-list VIPS
 set ip next-hop peer-address
 set comm-list FOREIGN delete
exit
route-map FROM-CORE deny 10
 match as-path FROM-OWN-EDGES
exit
"""

_FROM_CORE = """\
route-map FROM-CORE permit 20
 match ip address prefix-list ROUTED
exit
"""

_FROM_SIBLING = """\
route-map FROM-SIBLING permit 10
 match ip address prefix-list VIPS
 set local-preference 0
exit
route-map FROM-SIBLING permit 20
 match ip address prefix-list ROUTED
exit
"""

_FROM_CLIENT = """\
bgp as-path access-list CLIENT-{name} seq 5 permit ^{asn}$
ip prefix-list CLIENT-{name} seq 5 permit {address}/32
route-map FROM-CLIENT-{name} permit 10
 match as-path CLIENT-{name}
 match ip address prefix-list CLIENT-{name}
exit
"""

_CONNECTED = """\
route-map CONNECTED permit 10
 match ip address prefix-list UNDERLAY
exit
"""

_TO_ALL = """\
route-map ROUTED permit 10
 match ip address prefix-list ROUTED
exit
route-map NOTHING deny 10
exit
"""

# A client speaks from the address it announces, whatever link the packet leaves by.
_CLIENT = """\
ip prefix-list OWN seq 5 permit {address}/32
route-map OWN permit 10
 match ip address prefix-list OWN
exit
route-map SOURCE permit 10
 set src {address}
exit
ip protocol bgp route-map SOURCE
"""


@dataclass(frozen=True, slots=True)
class _Session:
    group: str
    interface: Interface
    peer: NodePlan
    inbound: str
    outbound: str


def frr_conf(lab: LabPlan, node: NodePlan) -> str:
    """The whole frr.conf of a router or a client; `vtysh -b` reads it into zebra and bgpd."""
    sessions = [session for session in (_session(node, *pair) for pair in lab.neighbours(node)) if session]
    policies = _client_policies(node) if node.role is Role.CLIENT else _router_policies(sessions)
    sections = [
        _HEAD.format(name=node.name, lab=lab.name),
        _prefix_lists(lab),
        *policies,
        _TO_ALL,
        _bgp(lab, node, sessions),
    ]
    return "!\n".join(sections)


def _session(node: NodePlan, interface: Interface, peer: NodePlan) -> _Session | None:
    """How `node` treats the neighbour on one of its interfaces; None for a backend, which speaks no BGP."""
    match (node.role, peer.role):
        case (Role.CLIENT, _):
            return _Session("ROUTER", interface, peer, "ROUTED", "OWN")
        case (_, Role.BACKEND):
            return None
        case (_, Role.EDGE):
            return _Session("EDGE", interface, peer, "FROM-EDGE", "NOTHING")
        case (_, Role.CLIENT):
            return _Session("CLIENT", interface, peer, f"FROM-CLIENT-{peer.name}", "ROUTED")
    group = "SIBLING" if node.site and node.site == peer.site else "CORE"
    return _Session(group, interface, peer, f"FROM-{group}", "ROUTED")


def _bgp(lab: LabPlan, node: NodePlan, sessions: Iterable[_Session]) -> str:
    """The `router bgp` block. A transit router (no site) chooses one path, the same one each time."""
    transit = node.role is Role.ROUTER and not node.site
    bestpath = "compare-routerid" if transit else "as-path multipath-relax"
    lines = [_BGP.format(asn=node.asn, router_id=node.router_id, bestpath=bestpath)]
    lines += [_GROUP.format(group=group) for group in _groups(sessions)]
    for one in sessions:
        address = one.interface.peer_address
        lines.append(_PEER.format(address=address, asn=one.peer.asn, group=one.group, name=one.peer.name))
        if one.peer.role is Role.EDGE or node.number < one.peer.number:  # one side calls: no collisions at the start
            lines.append(f" neighbor {address} passive\n")
    lines.append(" !\n address-family ipv4 unicast\n")
    origin = (
        f"network {node.client_address}/32"
        if node.role is Role.CLIENT
        else "redistribute connected route-map CONNECTED"
    )
    lines.append(f"  {origin}\n  maximum-paths {1 if transit else MAX_PATHS}\n")
    lines += [f"  {line}\n" for one in sessions for line in _session_policy(lab, one)]
    return "".join(lines) + " exit-address-family\nexit\n"


def _groups(sessions: Iterable[_Session]) -> dict[str, None]:
    return dict.fromkeys(session.group for session in sessions)


def _session_policy(lab: LabPlan, session: _Session) -> Iterator[str]:
    peer = f"neighbor {session.interface.peer_address}"
    yield f"{peer} route-map {session.inbound} in"
    yield f"{peer} route-map {session.outbound} out"
    if session.peer.role is Role.EDGE:
        # `force` (with the kept input) counts what the policy refuses too: an edge that announces the world is cut off
        # at its next announcement that passes; without it, never.
        yield f"{peer} soft-reconfiguration inbound"
        yield f"{peer} maximum-prefix {len(lab.vips) + SPARE_PREFIXES} 80 restart 1 force"


def _prefix_lists(lab: LabPlan) -> str:
    underlay = [f"{LINKS} ge 31 le 31", f"{LOOPBACKS} ge 32"]
    vips = [f"{vip}/32" for vip in lab.vips]
    lists = {"VIPS": vips, "UNDERLAY": underlay, "ROUTED": [*vips, *underlay, f"{CLIENTS} ge 32"]}
    return "".join(
        f"ip prefix-list {name} seq {5 * number} permit {entry}\n"
        for name, entries in lists.items()
        for number, entry in enumerate(entries, 1)
    )


def _router_policies(sessions: Iterable[_Session]) -> Iterator[str]:
    peers = [session.peer for session in sessions]
    groups = _groups(sessions)
    for asn in dict.fromkeys(peer.asn for peer in peers if peer.role is Role.EDGE):
        yield _FROM_EDGE.format(asn=asn)
    if "CORE" in groups:
        yield _FROM_CORE
    if "SIBLING" in groups:
        yield _FROM_SIBLING
    for name, client in {peer.name: peer for peer in peers if peer.role is Role.CLIENT}.items():
        yield _FROM_CLIENT.format(name=name, asn=client.asn, address=client.client_address)
    yield _CONNECTED


def _client_policies(node: NodePlan) -> Iterator[str]:
    yield _CLIENT.format(address=node.client_address)
