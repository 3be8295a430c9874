"""bird.conf of an edge that is not ours: it announces the VIPs while the balancer beside it works.

The VIPs are static routes of two protocols, `vips4` and `vips6`, which are disabled until `lab.nodes.gate` finds the
balancer at work and the node not drained: `birdc enable vips4` announces, `birdc disable vips4` withdraws. Nothing is
imported and nothing goes into the kernel.
"""

from lab.addressing import LabPlan, NodePlan
from lab.render.bird import bfd_lines

_HEAD = """\
# {name}: rendered from {lab}.clab.yml by `fairhop lab render`; edit that file, not this one.
log stderr {{ info, warning, error, auth, fatal, bug }};
router id {router_id};

protocol device {{ scan time 2; }}
"""

_STATIC = """\
protocol static vips{version} {{
  disabled;
  ipv{version};
{routes}}}
"""

_PROTOCOL = """\
protocol bgp {label} {{
  description "router {name}";
  local {own} as {local_asn};
  neighbor {address} as {asn};
  direct;
  hold time 3;
  startup hold time 3;
  keepalive time 1;
  connect delay time 1; connect retry time 1;
{bfd}  error wait time 1, 4;
  graceful restart off;
  long lived graceful restart off;
  ipv4 {{ import none; export where source = RTS_STATIC; next hop address {own}; }};
  ipv6 {{ import none; export where source = RTS_STATIC; next hop address {own6}; }};
}}
"""


def announce_conf(lab: LabPlan, node: NodePlan) -> str:
    """The whole file; `bird -c` reads it."""
    parts = [_HEAD.format(name=node.name, lab=lab.name, router_id=node.router_id)]
    parts += ["protocol bfd { }\n"] if node.bfd else []
    for version, vips in ((4, lab.vips4), (6, lab.vips6)):
        routes = "".join(f"  route {vip}/{vip.max_prefixlen} blackhole;\n" for vip in vips)
        parts.append(_STATIC.format(version=version, routes=routes))
    for interface, router in lab.neighbours(node):
        parts.append(
            _PROTOCOL.format(
                label=router.name.replace("-", "_").replace(".", "_"),
                name=router.name,
                own=interface.address.ip,
                own6=interface.address6.ip,
                local_asn=node.asn,
                address=interface.peer_address,
                asn=router.asn,
                bfd=bfd_lines(lab, node, router),
            )
        )
    return "".join(parts)
