"""frr.conf of the lab's routers and clients: eBGP everywhere, and a written policy on every session (RFC 8212).

How a router chooses is told in `lab.routing`. The sessions run over the lab's underlay and carry both families; over
IPv6 the IPv4 routes have IPv6 next hops (RFC 8950). Each family has prefix lists and route maps of its own, as FRR
matches the two by different words; those of IPv6 end in 6.
"""

from collections.abc import Iterable, Iterator

from bgp.bmp.config import PORT as BMP_PORT
from lab import routing
from lab.addressing import Bfd, Interface, LabPlan, NodePlan, Role
from lab.render.frr_policy import NOTHING, TO_ALL, Session, client_policies, for_both, prefix_lists, router_policies
from lab.routing import Kind

MAX_PATHS = 16
SPARE_PREFIXES = 8  # an edge that announces more than this beyond the VIPs loses its session for a minute

# Kernel next-hop groups lose an ECMP member for good at an interface flap (8.4.4), hence none; but without them an IPv4
# route with an IPv6 next hop goes to 169.254.0.1, where nobody is. `zebra work-queue 0` saves 10 ms a change.
# bgpd holds all sessions back while a route-map update is pending, 5 s unless told otherwise. The profile is the one
# that keeps RFC 8212 on.
_HEAD = """\
! {name}: rendered from {lab}.clab.yml by `fairhop lab render`; edit that file, not this one.
frr version 8.4.4
frr defaults traditional
hostname {name}
log file /var/log/frr/frr.log informational
{groups}zebra work-queue 0
bgp route-map delay-timer 1
"""

_NO_GROUPS = "no zebra nexthop kernel enable\n"

_BFD = """\
bfd
 profile EDGE
  detect-multiplier {multiplier}
  receive-interval {interval}
  transmit-interval {interval}
 exit
exit
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


# What routers received and what their policy left of it, for edges' read-back (docs/read-back.md).
_BMP = """\
 bmp targets edges
  bmp stats interval 10000
{monitors}{edges} exit
"""


def frr_conf(lab: LabPlan, node: NodePlan) -> str:
    """The whole frr.conf of a router or a client; `vtysh -b` reads it into zebra and bgpd."""
    sessions = [session for session in (_session(lab, node, *pair) for pair in lab.neighbours(node)) if session]
    policies = client_policies(lab, node) if node.role is Role.CLIENT else router_policies(lab, node, sessions)
    sections = [
        _HEAD.format(name=node.name, lab=lab.name, groups=_NO_GROUPS if lab.underlay == 4 else ""),
        *([_bfd(node.bfd)] if node.bfd and any(lab.speak_bfd(node, one.peer) for one in sessions) else []),
        prefix_lists(lab),
        *policies,
        *for_both(TO_ALL, lab.underlay),
        NOTHING,
        _bgp(lab, node, sessions),
    ]
    return "!\n".join(sections)


def _bfd(bfd: Bfd) -> str:
    return _BFD.format(interval=bfd.interval, multiplier=bfd.multiplier)


def _session(lab: LabPlan, node: NodePlan, interface: Interface, peer: NodePlan) -> Session | None:
    """How `node` treats the neighbour on one of its interfaces; None for a backend, which speaks no BGP."""
    if node.role is Role.CLIENT:
        return Session("ROUTER", interface, peer, "ROUTED", "OWN")
    match routing.kind(lab, node, peer):
        case None:
            return None
        case Kind.EDGE:
            return Session(Kind.EDGE, interface, peer, "FROM-EDGE", "NOTHING")
        case Kind.CLIENT:
            return Session(Kind.CLIENT, interface, peer, f"FROM-CLIENT-{peer.name}", "ROUTED")
        case group:
            return Session(group, interface, peer, f"FROM-{group}", "ROUTED")


def _bgp(lab: LabPlan, node: NodePlan, sessions: Iterable[Session]) -> str:
    """The `router bgp` block. A router outside sites chooses one path, the same one each time."""
    single = routing.is_single_path(node)
    bestpath = "compare-routerid" if single else "as-path multipath-relax"
    lines = [_BGP.format(asn=node.asn, router_id=node.router_id, bestpath=bestpath)]
    lines += [_GROUP.format(group=group) for group in _groups(sessions)]
    for one in sessions:
        address = lab.far(one.interface)
        lines.append(_PEER.format(address=address, asn=one.peer.asn, group=one.group, name=one.peer.name))
        if one.peer.role is Role.EDGE or node.number < one.peer.number:  # one side calls: no collisions at the start
            lines.append(f" neighbor {address} passive\n")
        if lab.speak_bfd(node, one.peer):
            lines.append(f" neighbor {address} bfd\n neighbor {address} bfd profile EDGE\n")
        if lab.underlay == 6:
            lines.append(f" neighbor {address} capability extended-nexthop\n")
    for own, six, vips in ((node.client_address, "", lab.vips4), (node.client_address6, "6", lab.vips6)):
        lines.append(f" !\n address-family ipv{own.version} unicast\n")
        connected = f"redistribute connected route-map CONNECTED{six}"
        origin = f"network {own}/{own.max_prefixlen}" if node.role is Role.CLIENT else connected
        lines.append(f"  {origin}\n  maximum-paths {1 if single else MAX_PATHS}\n")
        lines += [f"  {line}\n" for one in sessions for line in _session_policy(lab, one, six, len(vips))]
        lines.append(" exit-address-family\n")
    lines += _bmp(lab, node, sessions)
    return "".join(lines) + "exit\n"


def _bmp(lab: LabPlan, node: NodePlan, sessions: Iterable[Session]) -> Iterator[str]:
    edges = [lab.far(one.interface) for one in sessions if lab.is_read_back(node, one.peer)]
    if edges:
        told = [(version, policy) for version in (4, 6) for policy in ("pre", "post")]
        monitors = [f"  bmp monitor ipv{version} unicast {policy}-policy\n" for version, policy in told]
        connects = [f"  bmp connect {edge} port {BMP_PORT} min-retry 100 max-retry 1000\n" for edge in edges]
        yield _BMP.format(monitors="".join(monitors), edges="".join(connects))


def _groups(sessions: Iterable[Session]) -> dict[str, None]:
    return dict.fromkeys(session.group for session in sessions)


def _session_policy(lab: LabPlan, session: Session, six: str, vips: int) -> Iterator[str]:
    peer = f"neighbor {lab.far(session.interface)}"
    inbound, outbound = f"{session.inbound}{six}", f"{session.outbound}{six}"
    if session.peer.role is Role.EDGE:
        named = six and lab.underlay == 4
        inbound, outbound = f"{inbound}-{session.peer.name}" if named else inbound, session.outbound
    if six or lab.underlay == 6:
        yield f"{peer} activate"  # FRR does so by itself for IPv4 over IPv4
    yield f"{peer} route-map {inbound} in"
    yield f"{peer} route-map {outbound} out"
    if session.peer.role is Role.EDGE:
        # `force` (with the kept input) counts what the policy refuses too: an edge that announces the world is cut off
        # at its next announcement that passes; without it, never.
        yield f"{peer} soft-reconfiguration inbound"
        yield f"{peer} maximum-prefix {vips + SPARE_PREFIXES} 80 restart 1 force"
