"""gobgpd.toml of a router, for GoBGP 3.10: the same policy as `lab.render.frr`, in GoBGP's words.

GoBGP's policies are the whole daemon's, so each is bound to its neighbour by a set of one. What none takes is refused.
It has no local preference 0 and knows no GRACEFUL_SHUTDOWN by itself: a last choice gets 1. It installs nothing in the
kernel and originates nothing by itself: `lab.nodes.gobgp_routes` does both, the second from gobgp.networks. An IPv6
route on an IPv4 session would leave with an IPv4-mapped next hop, so the policies set it.
"""

import json
from collections.abc import Iterable, Iterator

from lab import routing
from lab.addressing import LabPlan, NodePlan
from lab.render.peers import Peer, Range, client_prefix, peers, routed, vips
from lab.routing import Kind

SPARE_PREFIXES = 8  # an edge that announces more than this beyond the VIPs is cut off
GSHUT = "65535:0"

_HEAD = """\
# {name}: rendered from {lab}.clab.yml by `fairhop lab render`; edit that file, not this one.
[global.config]
as = {asn}
router-id = "{router_id}"

[global.use-multiple-paths.config]
enabled = {multipath}

[global.apply-policy.config]
import-policy-list = [{imports}]
default-import-policy = "reject-route"
export-policy-list = [{exports}]
default-export-policy = "reject-route"

# The import policy judges also what this router originates.
[[policy-definitions]]
name = "originated"
[[policy-definitions.statements]]
name = "originated"
[policy-definitions.statements.conditions.bgp-conditions]
route-type = "local"
[policy-definitions.statements.actions]
route-disposition = "accept-route"

[[defined-sets.bgp-defined-sets.community-sets]]
community-set-name = "gshut"
community-list = ["^65535:0$"]

"""


def gobgpd_toml(lab: LabPlan, node: NodePlan) -> str:
    """The whole file; `gobgpd -t toml -f` reads it."""
    sessions = peers(lab, node)
    parts = [
        _HEAD.format(
            name=node.name,
            lab=lab.name,
            asn=node.asn,
            router_id=node.router_id,
            multipath="false" if routing.is_single_path(node) else "true",
            imports=_list(["originated", *(f"from-{peer.node.name}" for peer in sessions)]),
            exports=_list(f"to-{peer.node.name}" for peer in sessions if peer.kind is not Kind.EDGE),
        )
    ]
    for version in (4, 6):
        parts.append(_prefix_set(f"vips{version}", vips(lab, version)))
        parts.append(_prefix_set(f"routed{version}", routed(lab, version)))
    own = routing.edge_asn(lab, node.site)
    if own is not None:
        parts.append(_as_path_set("own-edges", [f"_{own}$"]))
    for peer in sessions:
        parts += [_sets(peer), _import_policy(peer, own is not None), _export_policy(peer), _neighbor(lab, peer)]
    return "".join(parts)


def gobgp_networks(_lab: LabPlan, node: NodePlan) -> str:
    """What the router originates, one prefix a line: its links and its loopback addresses."""
    networks = [f"{node.router_id}/32", f"{node.loopback6}/128"]
    for interface in node.interfaces:
        networks += [str(interface.address.network), str(interface.address6.network)]
    return "".join(f"{network}\n" for network in networks)


def _list(words: Iterable[object]) -> str:
    return ", ".join(json.dumps(str(word)) for word in words)


def _prefix_set(name: str, ranges: Iterable[Range]) -> str:
    text = f'[[defined-sets.prefix-sets]]\nprefix-set-name = "{name}"\n'
    for one in ranges:
        text += f'[[defined-sets.prefix-sets.prefix-list]]\nip-prefix = "{one.network}"\n'
        text += f'masklength-range = "{one.length}..{one.length}"\n'
    return text + "\n"


def _as_path_set(name: str, expressions: Iterable[str]) -> str:
    text = f'[[defined-sets.bgp-defined-sets.as-path-sets]]\nas-path-set-name = "{name}"\n'
    return text + f"as-path-list = [{_list(expressions)}]\n\n"


def _sets(peer: Peer) -> str:
    name = peer.node.name
    text = f'[[defined-sets.neighbor-sets]]\nneighbor-set-name = "{name}"\n'
    text += f'neighbor-info-list = ["{peer.hop(4)}/32"]\n\n'
    if peer.kind is Kind.EDGE:
        text += _as_path_set(f"of-{name}", [f"^{peer.node.asn}(_{peer.node.asn})*$"])
    if peer.kind is Kind.CLIENT:
        text += _as_path_set(f"of-{name}", [f"^{peer.node.asn}$"])
        for version in (4, 6):
            prefix = client_prefix(peer.node, version)
            text += _prefix_set(f"of-{name}-{version}", [Range(prefix, 32 if version == 4 else 128)])
    return text


def _import_policy(peer: Peer, has_edges: bool) -> str:
    name = peer.node.name
    text = f'[[policy-definitions]]\nname = "from-{name}"\n'
    for version in (4, 6):
        if peer.kind is Kind.EDGE:
            conditions = {"next-hop-in-list": f'["{peer.hop(version)}"]'}
            for gshut in (True, False):
                text += _statement(
                    f"from-{name}-{version}" + "-gshut" * gshut,
                    name,
                    f"vips{version}",
                    as_path=f"of-{name}",
                    gshut=gshut,
                    conditions=conditions,
                    actions=_edge_actions(gshut),
                )
        elif peer.kind is Kind.CLIENT:
            text += _statement(f"from-{name}-{version}", name, f"of-{name}-{version}", as_path=f"of-{name}")
        else:
            text += "".join(_from_router(peer, version, has_edges))
    return text + "\n"


def _from_router(peer: Peer, version: int, has_edges: bool) -> Iterator[str]:
    """What began at the site's own edges is worth something else than what comes from another site (lab.routing)."""
    name, wanted = peer.node.name, routing.PREFERENCES[peer.kind]
    own, others = f"from-{name}-own{version}", f"from-{name}-vips{version}"
    last = _preference(0)
    if has_edges and wanted.own is None:
        yield _statement(own, name, f"vips{version}", as_path="own-edges", accept=False)
    yield _statement(f"from-{name}-{version}-gshut", name, f"routed{version}", gshut=True, actions=last)
    if has_edges and wanted.own is not None:
        yield _statement(own, name, f"vips{version}", as_path="own-edges", actions=_preference(wanted.own))
    yield _statement(others, name, f"vips{version}", actions=_preference(wanted.other))
    yield _statement(f"from-{name}-{version}", name, f"routed{version}")


def _preference(value: int) -> str:
    """GoBGP takes a local preference of 0 for none given, hence at least 1."""
    return f"[policy-definitions.statements.actions.bgp-actions]\nset-local-pref = {max(1, value)}\n"


def _export_policy(peer: Peer) -> str:
    if peer.kind is Kind.EDGE:
        return ""
    name = peer.node.name
    text = f'[[policy-definitions]]\nname = "to-{name}"\n'
    text += _statement(f"to-{name}-4", name, "routed4")
    own = f'[policy-definitions.statements.actions.bgp-actions]\nset-next-hop = "{peer.own(6)}"\n'
    return text + _statement(f"to-{name}-6", name, "routed6", actions=own) + "\n"


def _edge_actions(gshut: bool) -> str:
    """Of an edge's communities only GRACEFUL_SHUTDOWN stays, and makes its path the last choice.

    Extended ones are let through: GoBGP 3.10 that takes some away tells its neighbours an attribute of no octet, even
    where there was none, and FRR 8.4 refuses such routes (RFC 7606 7.14 calls them malformed).
    """
    kept = _list([GSHUT] if gshut else [])
    text = "[policy-definitions.statements.actions.bgp-actions]\n"
    text += "set-local-pref = 1\n" if gshut else ""
    for kind, words, option in (
        ("community", kept, "replace"),
        ("large-community", '"^.*$"', "remove"),
    ):
        place = f"policy-definitions.statements.actions.bgp-actions.set-{kind}"
        text += f'[{place}]\noptions = "{option}"\n[{place}.set-{kind}-method]\ncommunities-list = [{words}]\n'
    return text


def _statement(
    name: str,
    neighbor: str,
    prefixes: str,
    *,
    as_path: str = "",
    gshut: bool = False,
    conditions: dict[str, str] | None = None,
    accept: bool = True,
    actions: str = "",
) -> str:
    at = "policy-definitions.statements.conditions"
    lines = ["[[policy-definitions.statements]]", f'name = "{name}"']
    lines += [f"[{at}.match-prefix-set]", f'prefix-set = "{prefixes}"']
    lines += [f"[{at}.match-neighbor-set]", f'neighbor-set = "{neighbor}"']
    lines += [f"[{at}.bgp-conditions]", *(f"{key} = {value}" for key, value in (conditions or {}).items())]
    if as_path:
        lines += [f"[{at}.bgp-conditions.match-as-path-set]", f'as-path-set = "{as_path}"']
    if gshut:
        lines += [f"[{at}.bgp-conditions.match-community-set]", 'community-set = "gshut"', 'match-set-options = "all"']
    disposition = "accept-route" if accept else "reject-route"
    lines += ["[policy-definitions.statements.actions]", f'route-disposition = "{disposition}"']
    return "\n".join(lines) + "\n" + actions


def _neighbor(lab: LabPlan, peer: Peer) -> str:
    return "".join(f"{line}\n" for line in _neighbor_lines(lab, peer)) + "\n"


def _neighbor_lines(lab: LabPlan, peer: Peer) -> Iterator[str]:
    yield "[[neighbors]]"
    yield from ("[neighbors.config]", f'neighbor-address = "{peer.hop(4)}"', f"peer-as = {peer.node.asn}")
    yield f'description = "{peer.kind.lower()} {peer.node.name}"'
    yield from ("[neighbors.transport.config]", f'local-address = "{peer.own(4)}"')
    yield f"passive-mode = {'true' if peer.waits else 'false'}"
    yield from ("[neighbors.timers.config]", "hold-time = 3", "keepalive-interval = 1", "connect-retry = 1")
    yield "idle-hold-time-after-reset = 1"  # its default of 30 s keeps a neighbour away that only restarted
    yield from ("[neighbors.error-handling.config]", "treat-as-withdraw = true")
    for version in (4, 6):
        yield from ("[[neighbors.afi-safis]]", "[neighbors.afi-safis.config]")
        yield f'afi-safi-name = "ipv{version}-unicast"'
        if peer.kind is Kind.EDGE:
            yield from ("[neighbors.afi-safis.prefix-limit.config]",)
            yield f"max-prefixes = {len(vips(lab, version)) + SPARE_PREFIXES}"
