"""Every file of the lab's nodes as text, derived from a `LabPlan`. Writing and comparing is `lab.render.folder`."""

from collections.abc import Callable, Iterator, Mapping

from lab.addressing import HOSTS, LabPlan, NodePlan, Role, Vip
from lab.render.bird import bird_conf
from lab.render.frr import frr_conf
from lab.render.gobgp import gobgp_networks, gobgpd_toml
from lab.render.haproxy import balancer_cfg, proxy_cfg
from lab.render.host import ADVMSS, backend_yaml, echo_arguments, fairhop_yaml, nginx_conf, quic_arguments
from lab.render.nft import balance_json
from lab.render.stock import tunnels_batch, tunnels_nft
from lab.render.store import etcd_yml
from lab.render.target import announce_conf
from lab.render.tls import nginx_tls_conf, tls_names

_NO_DAD = {4: "", 6: " nodad"}  # an address that is still being looked for twice serves nobody

Renderer = Callable[[LabPlan, NodePlan], str]


def render(lab: LabPlan) -> dict[str, str]:
    """Path, relative to the folder of the topology file, to content; every file of every node."""
    return {
        f"{lab.name}/{node.name}/{name}": renderer(lab, node)
        for node in lab.nodes.values()
        for name, renderer in files_of(lab, node).items()
    }


def net_batch(lab: LabPlan, node: NodePlan) -> str:
    """Input of `ip -batch`: addresses, links, the static default route. Every line may be repeated."""
    return "".join(f"{line}\n" for line in (*_addresses(lab, node), *_default_route(lab, node)))


def xdp_pass(lab: LabPlan, node: NodePlan) -> str:
    """The interfaces that need an XDP_PASS program, one a line.

    A veth without one drops the frames that its peer sends by XDP_TX, as fairhop's edges and receivers do. Towards
    others it must not be: their own end has no program, which `fairhop lab check` would take for that fault.
    """
    return "".join(f"{interface.name}\n" for interface, peer in lab.neighbours(node) if _native_xdp(lab, peer))


def _native_xdp(lab: LabPlan, node: NodePlan) -> bool:
    if node.role is Role.EDGE:
        return node.target == "fairhop"
    return node.receiver == "fairhop" and lab.takes_tunnels(node)


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
        case Role.BACKEND | Role.PROXY if lab.takes_tunnels(node):
            return lab.vips
        case Role.EDGE if node.target != "fairhop":
            return lab.vips
    return ()


def _default_route(lab: LabPlan, node: NodePlan) -> Iterator[str]:
    """Routers and clients learn theirs; an edge balances over its routers; a host has one, clamped behind a tunnel.

    Over an IPv6 underlay the IPv4 route has IPv6 next hops too, and `default` would be taken for the IPv6 one.
    """
    anywhere4, via = ("default", "via") if lab.underlay == 4 else ("0.0.0.0/0", "via inet6")
    if node.role is Role.EDGE:
        for anywhere, hops in (
            (anywhere4, [f"{via} {lab.far(one)} dev {one.name}" for one in node.interfaces]),
            ("::/0", [f"via {one.peer_address6} dev {one.name}" for one in node.interfaces]),
        ):
            yield f"route replace {anywhere}" + "".join(f" nexthop {hop}" for hop in hops)
    elif node.role in HOSTS:
        only = node.interfaces[0]
        mss, mss6 = (f" advmss {mss}" if lab.takes_tunnels(node) else "" for mss in ADVMSS[lab.underlay])
        yield f"route replace {anywhere4} {via} {lab.far(only)} dev {only.name}{mss}"
        yield f"route replace ::/0 via {only.peer_address6} dev {only.name}{mss6}"


def files_of(lab: LabPlan, node: NodePlan) -> Mapping[str, Renderer]:
    """Name in the node's folder -> what writes it."""
    return {"net.batch": net_batch, **_OTHERS[node.role](lab, node)}


def _router_files(_lab: LabPlan, node: NodePlan) -> Mapping[str, Renderer]:
    makes: Mapping[str, Mapping[str, Renderer]] = {
        "frr": {"frr.conf": frr_conf},
        "bird": {"bird.conf": bird_conf},
        "gobgp": {"gobgpd.toml": gobgpd_toml, "gobgp.networks": gobgp_networks},
    }
    return {"xdp-pass": xdp_pass, **makes[node.router]}


def _edge_files(_lab: LabPlan, node: NodePlan) -> Mapping[str, Renderer]:
    targets: Mapping[str, Mapping[str, Renderer]] = {
        "fairhop": {"fairhop.yaml": fairhop_yaml},
        "haproxy": {"haproxy.cfg": balancer_cfg, "bird.conf": announce_conf},
        "nft": {"balance.json": balance_json, "bird.conf": announce_conf},
    }
    return targets[node.target]


def _backend_files(lab: LabPlan, node: NodePlan) -> Mapping[str, Renderer]:
    """With our agent, with the kernel's tunnel devices, or asked at its own address."""
    quic = {"quic": quic_arguments} if any(service.quic for service in lab.services) else {}
    if lab.having(Role.PROXY, node.site):
        return {"nginx.conf": nginx_tls_conf, "tls.names": tls_names, "echo": echo_arguments, **quic}
    if not lab.takes_tunnels(node):
        return {"nginx.conf": nginx_conf, "echo": echo_arguments, **quic}
    if node.receiver == "stock":
        stock = {"tunnels.batch": tunnels_batch, "tunnels.nft": tunnels_nft, "echo": echo_arguments}
        return {"nginx.conf": nginx_conf, **stock, **quic}
    return {"backend.yaml": backend_yaml, "nginx.conf": nginx_conf, **quic}


_OTHERS: Mapping[Role, Callable[[LabPlan, NodePlan], Mapping[str, Renderer]]] = {
    Role.ROUTER: _router_files,
    Role.CLIENT: lambda _lab, _node: {"frr.conf": frr_conf},
    Role.EDGE: _edge_files,
    Role.BACKEND: _backend_files,
    Role.PROXY: lambda _lab, _node: {"backend.yaml": backend_yaml, "haproxy.cfg": proxy_cfg},
    Role.STORE: lambda _lab, _node: {"etcd.yml": etcd_yml},
}
