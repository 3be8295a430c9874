"""frr.conf of the lab's routers and clients: eBGP everywhere, and a written policy on every session (RFC 8212).

How a site's router chooses for a VIP, most wanted first:
  1. the site's own edges, ECMP over all that are announced plainly
  2. the other site, through transit; never a path that began at the site's own edges
  3. the site's own edges under GRACEFUL_SHUTDOWN (RFC 8326: FRR gives them local preference 0)
  4. the site's other router (local preference 0 too, and a longer path)
So a drain makes before it breaks, and no two routers point at each other while it spreads: 4 is last because the
neighbour's stale plain path would otherwise beat 3. Transit has one best path and no ECMP: were it to balance a VIP
over both sites, half of what a drained site sends it would come straight back.
The sessions run over IPv4 and carry both families. Each family has prefix lists and route maps of its own, as FRR
matches the two by different words; those of IPv6 end in 6.
"""

from collections.abc import Iterable, Iterator

from lab.addressing import HOSTS, Interface, LabPlan, NodePlan, Role
from lab.render.frr_policy import NOTHING, TO_ALL, Session, client_policies, for_both, prefix_lists, router_policies

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


def frr_conf(lab: LabPlan, node: NodePlan) -> str:
    """The whole frr.conf of a router or a client; `vtysh -b` reads it into zebra and bgpd."""
    sessions = [session for session in (_session(node, *pair) for pair in lab.neighbours(node)) if session]
    policies = client_policies(node) if node.role is Role.CLIENT else router_policies(sessions)
    sections = [
        _HEAD.format(name=node.name, lab=lab.name),
        prefix_lists(lab),
        *policies,
        *for_both(TO_ALL),
        NOTHING,
        _bgp(lab, node, sessions),
    ]
    return "!\n".join(sections)


def _session(node: NodePlan, interface: Interface, peer: NodePlan) -> Session | None:
    """How `node` treats the neighbour on one of its interfaces; None for a host, which speaks no BGP."""
    match (node.role, peer.role):
        case (Role.CLIENT, _):
            return Session("ROUTER", interface, peer, "ROUTED", "OWN")
        case (_, role) if role in HOSTS:
            return None
        case (_, Role.EDGE):
            return Session("EDGE", interface, peer, "FROM-EDGE", "NOTHING")
        case (_, Role.CLIENT):
            return Session("CLIENT", interface, peer, f"FROM-CLIENT-{peer.name}", "ROUTED")
    group = "SIBLING" if node.site and node.site == peer.site else "CORE"
    return Session(group, interface, peer, f"FROM-{group}", "ROUTED")


def _bgp(lab: LabPlan, node: NodePlan, sessions: Iterable[Session]) -> str:
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
    for own, six, vips in ((node.client_address, "", lab.vips4), (node.client_address6, "6", lab.vips6)):
        lines.append(f" !\n address-family ipv{own.version} unicast\n")
        connected = f"redistribute connected route-map CONNECTED{six}"
        origin = f"network {own}/{own.max_prefixlen}" if node.role is Role.CLIENT else connected
        lines.append(f"  {origin}\n  maximum-paths {1 if transit else MAX_PATHS}\n")
        lines += [f"  {line}\n" for one in sessions for line in _session_policy(one, six, len(vips))]
        lines.append(" exit-address-family\n")
    return "".join(lines) + "exit\n"


def _groups(sessions: Iterable[Session]) -> dict[str, None]:
    return dict.fromkeys(session.group for session in sessions)


def _session_policy(session: Session, six: str, vips: int) -> Iterator[str]:
    peer = f"neighbor {session.interface.peer_address}"
    inbound, outbound = f"{session.inbound}{six}", f"{session.outbound}{six}"
    if session.peer.role is Role.EDGE:
        inbound, outbound = f"{inbound}-{session.peer.name}" if six else inbound, session.outbound
    if six:
        yield f"{peer} activate"  # FRR does so by itself for IPv4
    yield f"{peer} route-map {inbound} in"
    yield f"{peer} route-map {outbound} out"
    if session.peer.role is Role.EDGE:
        # `force` (with the kept input) counts what the policy refuses too: an edge that announces the world is cut off
        # at its next announcement that passes; without it, never.
        yield f"{peer} soft-reconfiguration inbound"
        yield f"{peer} maximum-prefix {vips + SPARE_PREFIXES} 80 restart 1 force"
