"""bird.conf of a router, for BIRD 2.0.12: the same policy as `lab.render.frr`, in BIRD's words.

The guards towards edges are those of the router kit (`bgp.kits.bird`). GRACEFUL_SHUTDOWN has to be acted upon by a
filter, as BIRD has no rule of its own for it. `merge paths` is what makes ECMP in the kernel. A router without a site
uses one path for each VIP, that of the lowest router id, which is BIRD's own last rule.
"""

from collections.abc import Iterable, Iterator

from lab import routing
from lab.addressing import LabPlan, NodePlan
from lab.render.peers import Peer, Range, client_prefix, peers, routed, underlay, vips
from lab.routing import Kind

MAX_PATHS = 16
SPARE_PREFIXES = 8  # an edge that announces more than this beyond the VIPs is cut off for a moment

_TITLE = """\
# {name}: rendered from {lab}.clab.yml by `fairhop lab render`; edit that file, not this one.
"""

_OWN = """\
log stderr {{ info, warning, error, auth, fatal, bug }};
router id {router_id};

protocol device {{ scan time 2; }}
protocol direct connected {{
  ipv4 {{ import filter {{ if is_underlay4() then accept; reject; }}; }};
  ipv6 {{ import filter {{ if is_underlay6() then accept; reject; }}; }};
}}
"""

_KERNEL = """\
protocol kernel kernel{version} {{
  ipv{version} {{ import none; export where source = RTS_BGP; }};
{merge}}}
"""

_FUNCTION = """\
function {name}() {{ return {body}; }}
"""

# Of an edge's communities only GRACEFUL_SHUTDOWN goes further; it makes the path the last choice but one.
_GSHUT = "if (65535, 0) ~ bgp_community then bgp_local_pref = 0;"
_FROM_EDGE = """\
  if ! is_vip{version}() then reject;
  if bgp_path.len = 0 || bgp_path.first != {asn} then reject;
  if delete(bgp_path, {asn}).len > 0 then reject;
  if bgp_next_hop != {hop} then reject;
  bgp_community = filter(bgp_community, [(65535, 0)]);
  bgp_large_community.empty;
  bgp_ext_community.empty;
  {gshut}
  accept;
"""

_FROM_CLIENT = """\
  if net != {prefix} then reject;
  if bgp_path.len != 1 || bgp_path.first != {asn} then reject;
  accept;
"""

# What began at the site's own edges is worth something else than what comes from another site (lab.routing).
_FROM_ROUTER = """\
  if ! is_routed{version}() then reject;
  if is_vip{version}() then {{
    if {own} then {own_action} else bgp_local_pref = {other};
  }}
  {gshut}
  accept;
"""

_PROTOCOL = """\
protocol bgp {label} {{
  description "{kind} {name}";
  local {own} as {local_asn};
  neighbor {address} as {asn};
  direct;
  hold time 3;
  startup hold time 3;
  keepalive time 1;
  {calls}
{bfd}  error wait time 1, 4;
  graceful restart off;
  long lived graceful restart off;
"""

# What the filter refuses counts as well, hence kept.
_LIMIT = """\
    import keep filtered on;
    receive limit {count} action restart;
"""

_CHANNEL = """\
  ipv{version} {{
    import filter from_{label}_{version};
{limit}    export {export};
    next hop address {own};
  }};
"""


def bird_conf(lab: LabPlan, node: NodePlan) -> str:
    """The whole file; `bird -c` reads it."""
    merge = "" if routing.is_single_path(node) else f"  merge paths on limit {MAX_PATHS};\n"
    parts = [_TITLE.format(name=node.name, lab=lab.name), *_functions(lab), _OWN.format(router_id=node.router_id)]
    parts += [_KERNEL.format(version=version, merge=merge) for version in (4, 6)]
    parts += ["protocol bfd { }\n"] if node.bfd else []
    for peer in peers(lab, node):
        parts += [_filter(lab, node, peer, version) for version in (4, 6)]
        parts.append(_protocol(lab, node, peer))
    return "".join(parts)


def _functions(lab: LabPlan) -> Iterator[str]:
    for version in (4, 6):
        yield _FUNCTION.format(name=f"is_vip{version}", body=_among(vips(lab, version)))
        yield _FUNCTION.format(name=f"is_underlay{version}", body=_among(underlay(version)))
        yield _FUNCTION.format(name=f"is_routed{version}", body=_among(routed(lab, version)))


def _among(ranges: Iterable[Range]) -> str:
    found = ", ".join(f"{one.network}{{{one.length},{one.length}}}" for one in ranges)
    return f"net ~ [{found}]" if found else "false"


def _filter(lab: LabPlan, node: NodePlan, peer: Peer, version: int) -> str:
    words = {"version": version, "asn": peer.node.asn, "gshut": _GSHUT}
    if peer.kind is Kind.EDGE:
        body = _FROM_EDGE.format(hop=peer.hop(version), **words)
    elif peer.kind is Kind.CLIENT:
        body = _FROM_CLIENT.format(prefix=client_prefix(peer.node, version), **words)
    else:
        asn, wanted = routing.edge_asn(lab, node.site), routing.PREFERENCES[peer.kind]
        own = "false" if asn is None else f"bgp_path.last = {asn}"
        action = "reject;" if wanted.own is None else f"bgp_local_pref = {wanted.own};"
        body = _FROM_ROUTER.format(own=own, own_action=action, other=wanted.other, **words)
    return f"\nfilter from_{peer.label}_{version} {{\n{body}}}\n"


def bfd_lines(lab: LabPlan, node: NodePlan, peer: NodePlan) -> str:
    """What a BGP protocol towards `peer` says of BFD; nothing where the two do not speak it."""
    if node.bfd is None or not lab.speak_bfd(node, peer):
        return ""
    every = f"min rx interval {node.bfd.interval} ms; min tx interval {node.bfd.interval} ms"
    return f"  bfd {{ {every}; multiplier {node.bfd.multiplier}; }};\n"


def _protocol(lab: LabPlan, node: NodePlan, peer: Peer) -> str:
    text = _PROTOCOL.format(
        label=peer.label,
        kind=peer.kind.lower(),
        name=peer.node.name,
        own=peer.own(4),
        local_asn=node.asn,
        address=peer.hop(4),
        asn=peer.node.asn,
        bfd=bfd_lines(lab, node, peer.node),
        calls="passive on;" if peer.waits else "connect delay time 1; connect retry time 1;",
    )
    for version in (4, 6):
        edge = peer.kind is Kind.EDGE
        limit = _LIMIT.format(count=len(vips(lab, version)) + SPARE_PREFIXES) if edge else ""
        export = "none" if edge else f"where is_routed{version}()"
        own = peer.own(version)
        text += _CHANNEL.format(version=version, label=peer.label, limit=limit, export=export, own=own)
    return text + "}\n"
