"""A backend without our agent: the kernel's own tunnel devices, as docs/receivers.md has them."""

from lab.addressing import LabPlan, NodePlan, Role

_TITLE = "# {name}: rendered from {lab}.clab.yml by `fairhop lab render`; edit that file, not this one.\n"

_DEVICES = {
    "ipip": ("fh-ipip", "sit", " mode any"),  # one device for IPv4 and 6in4 packets
    "gre": ("fh-gre", "gre", ""),
}

_NFT = """\
table inet fairhop
delete table inet fairhop

table inet fairhop {{
    chain tunnels {{
        type filter hook input priority filter; policy accept;
        meta l4proto {{ 4, 41, 47 }} ip saddr != {{ {edges} }} drop
        iifname "fh-*" ip daddr != {{ {vips} }} drop
{six}    }}
}}
"""

_NFT6 = """\
        iifname "fh-*" ip6 daddr != {{ {vips} }} drop
"""


def tunnels_batch(lab: LabPlan, node: NodePlan) -> str:
    """Input of `ip -batch`: one device for each encapsulation in use. Devices must not be there yet."""
    text = _TITLE.format(name=node.name, lab=lab.name)
    for encap in sorted({service.encap.name.lower() for service in lab.services}):
        name, kind, mode = _DEVICES[encap]
        text += f"link add dev {name} type {kind} local {node.address} remote any{mode}\n"
        text += f"link set dev {name} up\n"
    return text


def tunnels_nft(lab: LabPlan, node: NodePlan) -> str:
    """Input of `nft -f`: tunnels come from the site's edges alone, and carry packets to VIPs only."""
    edges = ", ".join(str(edge.address) for edge in lab.having(Role.EDGE, node.site))
    six = _NFT6.format(vips=", ".join(map(str, lab.vips6))) if lab.vips6 else ""
    rules = _NFT.format(edges=edges, vips=", ".join(map(str, lab.vips4)), six=six)
    return _TITLE.format(name=node.name, lab=lab.name) + rules
