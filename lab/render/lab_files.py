"""Every file of the lab's nodes as text, derived from a `LabPlan`. Writing and comparing is `lab.render.folder`."""

from collections.abc import Callable, Iterator, Mapping

from lab.addressing import LabPlan, NodePlan, Role, Vip
from lab.render.frr import frr_conf
from lab.render.host import ADVMSS, backend_yaml, fairhop_yaml, nginx_conf

# Interfaces towards these get an XDP_PASS program: a veth drops the frames that its peer sends by XDP_TX without one.
_NATIVE_XDP = (Role.EDGE, Role.BACKEND)

_NO_DAD = {4: "", 6: " nodad"}  # an address that is still being looked for twice serves nobody

Renderer = Callable[[LabPlan, NodePlan], str]


def render(lab: LabPlan) -> dict[str, str]:
    """Path, relative to the folder of the topology file, to content; every file of every node."""
    return {
        f"{lab.name}/{node.name}/{name}": renderer(lab, node)
        for node in lab.nodes.values()
        for name, renderer in _FILES[node.role].items()
    }


def net_batch(lab: LabPlan, node: NodePlan) -> str:
    """Input of `ip -batch`: addresses, links, the static default route. Every line may be repeated."""
    return "".join(f"{line}\n" for line in (*_addresses(lab, node), *_default_route(lab, node)))


def xdp_pass(lab: LabPlan, node: NodePlan) -> str:
    """The interfaces that need an XDP_PASS program, one a line."""
    return "".join(f"{interface.name}\n" for interface, peer in lab.neighbours(node) if peer.role in _NATIVE_XDP)


def _addresses(lab: LabPlan, node: NodePlan) -> Iterator[str]:
    yield "link set dev lo up"
    for address in _on_lo(lab, node):
        yield f"address replace {address}/{address.max_prefixlen} dev lo{_NO_DAD[address.version]}"
    for interface in node.interfaces:
        if lab.underlay == 4:
            yield f"address replace {interface.address} dev {interface.name}"
        yield f"link set dev {interface.name} up"
        yield f"address replace {interface.address6} dev {interface.name}{_NO_DAD[6]}"


def _on_lo(lab: LabPlan, node: NodePlan) -> tuple[Vip, ...]:
    match node.role:
        case Role.ROUTER:
            return (node.router_id, node.loopback6)
        case Role.CLIENT:
            return (node.client_address, node.client_address6)
        case Role.BACKEND:
            return lab.vips
    return ()


def _default_route(lab: LabPlan, node: NodePlan) -> Iterator[str]:
    """Routers and clients learn theirs; an edge balances over its routers; a backend has one and clamps the MSS.

    Over an IPv6 underlay the IPv4 route has IPv6 next hops too, and `default` would be taken for the IPv6 one.
    """
    anywhere4, via = ("default", "via") if lab.underlay == 4 else ("0.0.0.0/0", "via inet6")
    if node.role is Role.EDGE:
        for anywhere, hops in (
            (anywhere4, [f"{via} {lab.far(one)} dev {one.name}" for one in node.interfaces]),
            ("::/0", [f"via {one.peer_address6} dev {one.name}" for one in node.interfaces]),
        ):
            yield f"route replace {anywhere}" + "".join(f" nexthop {hop}" for hop in hops)
    elif node.role is Role.BACKEND:
        only = node.interfaces[0]
        advmss, advmss6 = ADVMSS[lab.underlay]
        yield f"route replace {anywhere4} {via} {lab.far(only)} dev {only.name} advmss {advmss}"
        yield f"route replace ::/0 via {only.peer_address6} dev {only.name} advmss {advmss6}"


_FILES: Mapping[Role, Mapping[str, Renderer]] = {
    Role.ROUTER: {"net.batch": net_batch, "xdp-pass": xdp_pass, "frr.conf": frr_conf},
    Role.CLIENT: {"net.batch": net_batch, "frr.conf": frr_conf},
    Role.EDGE: {"net.batch": net_batch, "fairhop.yaml": fairhop_yaml},
    Role.BACKEND: {
        "net.batch": net_batch,
        "backend.yaml": backend_yaml,
        "nginx.conf": nginx_conf,
    },
}
