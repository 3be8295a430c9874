"""bird.conf of a router, for BIRD 2.0.12: the same policy as `lab.render.frr`, in BIRD's words.

The guards towards edges are those of the router kit (`bgp.kits.bird`). GRACEFUL_SHUTDOWN has to be acted upon by a
filter, as BIRD has no rule of its own for it. `merge paths` is what makes ECMP in the kernel. A transit router (no site)
uses one path for each VIP, that of the lowest router id, which is BIRD's own last rule.
"""

from collections.abc import Iterable, Iterator

from lab.addressing import LabPlan, NodePlan, Role
from lab.render.peers import Kind, Peer, Range, client_prefix, peers, routed, underlay, vips

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

_FROM_SIBLING = """\
  if ! is_routed{version}() then reject;
  if is_vip{version}() then bgp_local_pref = 0;
  accept;
"""

# A path that began at the site's own edges has come round through the other site.
_FROM_CORE = """\
  if ! is_routed{version}() then reject;
  if is_vip{version}() && {loop} then reject;
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
  error wait time 1, 4;
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
    own_edges = sorted({edge.asn for edge in lab.having(Role.EDGE, node.site)}) if node.site else []
    merge = f"  merge paths on limit {MAX_PATHS};\n" if node.site else ""
    parts = [_TITLE.format(name=node.name, lab=lab.name), *_functions(lab), _OWN.format(router_id=node.router_id)]
    parts += [_KERNEL.format(version=version, merge=merge) for version in (4, 6)]
    for peer in peers(lab, node):
        parts += [_filter(peer, version, own_edges) for version in (4, 6)]
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


def _filter(peer: Peer, version: int, own_edges: list[int]) -> str:
    loop = " || ".join(f"bgp_path.last = {asn}" for asn in own_edges) or "false"
    prefix = client_prefix(peer.node, version)
    words = {"version": version, "asn": peer.node.asn, "hop": peer.hop(version), "gshut": _GSHUT}
    body = _BODIES[peer.kind].format(loop=f"({loop})", prefix=prefix, **words)
    return f"\nfilter from_{peer.label}_{version} {{\n{body}}}\n"


def _protocol(lab: LabPlan, node: NodePlan, peer: Peer) -> str:
    text = _PROTOCOL.format(
        label=peer.label,
        kind=peer.kind.value,
        name=peer.node.name,
        own=peer.own(4),
        local_asn=node.asn,
        address=peer.hop(4),
        asn=peer.node.asn,
        calls="passive on;" if peer.waits else "connect delay time 1; connect retry time 1;",
    )
    for version in (4, 6):
        edge = peer.kind is Kind.EDGE
        limit = _LIMIT.format(count=len(vips(lab, version)) + SPARE_PREFIXES) if edge else ""
        export = "none" if edge else f"where is_routed{version}()"
        own = peer.own(version)
        text += _CHANNEL.format(version=version, label=peer.label, limit=limit, export=export, own=own)
    return text + "}\n"


_BODIES = {
    Kind.EDGE: _FROM_EDGE,
    Kind.CLIENT: _FROM_CLIENT,
    Kind.SIBLING: _FROM_SIBLING,
    Kind.CORE: _FROM_CORE,
}
