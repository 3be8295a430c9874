"""What a node may be and where its network is: kinds, `network-mode`, and what follows for its interfaces.

Source: containerlab 0.79.0, nodes/bridge, nodes/host, schemas/clab.schema.json.
"""

import re
from collections.abc import Iterator, Mapping

from edge.text.decode import nearest
from edge.text.strictyaml import Document, Problem
from lab.topology.keys import at, definition_paths
from lab.topology.model import KINDS, Endpoint, Node, Topology

KINDS_TEXT = "linux, bridge or host"
# Kinds of containerlab that need an image of their own, or programs that a set of namespaces does not have.
_WORDS = """
6wind_vsr arista_ceos arista_veos arrcus_arcos aruba_aoscx border0 checkpoint_cloudguard ciena_saos cisco_asav
cisco_c8000 cisco_c8000v cisco_cat9kv cisco_csr1000v cisco_ftdv cisco_iol cisco_n9kv cisco_sdwan cisco_vios cisco_xrd
cisco_xrd_vrouter cisco_xrv cisco_xrv9k dell_ftosv dell_sonic ext-container f5_bigip-ve fdio_vpp fortinet_fortigate
freebsd generic_vm huawei_vrp ipinfusion_ocnos juniper_cjunosevolved juniper_crpd juniper_csrx juniper_vjunosevolved
juniper_vjunosrouter juniper_vjunosswitch juniper_vmx juniper_vqfx juniper_vsrx k8s-kind keysight_ixia-c-one
mikrotik_ros nokia_srlinux nokia_sros nokia_srsim nvidia_cumulusvx openbsd openwrt ostinato ovs-bridge paloalto_panos
plvision_sonic rare sonic-vm sonic-vs spirent_stc veesix_osvbng vyosnetworks_vyos
"""
_ELSEWHERE = frozenset(_WORDS.split())
_MODE = re.compile(r"none|bridge|host|container:(?P<node>.+)")
_DEVICE = re.compile(r"[^\s/:]{1,15}")


def kind_problems(document: Document) -> Iterator[Problem]:
    """Kinds that are not supported, and network modes that are none, wherever a node is described."""
    for path in definition_paths(document):
        kind, mode = (at(document, (*path, key), str) for key in ("kind", "network-mode"))
        if kind and kind not in KINDS:
            hint = "is containerlab's but not supported here" if kind in _ELSEWHERE else "is unknown"
            words = "" if kind in _ELSEWHERE else nearest(kind, KINDS)
            yield document.problem((*path, "kind"), f"kind '{kind}' {hint}: expected {KINDS_TEXT}{words}")
        if mode and not _MODE.fullmatch(mode):
            message = f"network-mode '{mode}' is not supported: expected none, bridge, host or container:NODE"
            yield document.problem((*path, "network-mode"), message)


def network_problems(document: Document, nodes: Mapping[str, Node]) -> Iterator[Problem]:
    """Namespaces of nodes that are not there, that go round in a ring, and bridges whose names say something else."""
    for name, node in nodes.items():
        place = ("topology", "nodes", name)
        if node.shares and node.shares not in nodes:
            message = f"network-mode of '{name}' names '{node.shares}', which is no node of this file"
            yield document.problem(place, f"{message}{nearest(node.shares, sorted(nodes))}", at_key=True)
        elif node.shares and _goes_round(nodes, name):
            yield document.problem(place, f"node '{name}' shares its own network namespace in a ring", at_key=True)
        if node.kind != "bridge" and "|" in name:
            message = f"node name '{name}': only a bridge may be written as bridge|node"
            yield document.problem(place, message, at_key=True)
        if node.bridge and name != node.bridge + (f"|{node.shares}" if node.shares else ""):
            message = f"bridge '{name}': expected the form bridge|node together with network-mode: container:node"
            yield document.problem(place, message, at_key=True)
        if node.bridge and not _DEVICE.fullmatch(node.bridge):
            message = f"bridge '{node.bridge}' is no name of a device: expected 1 to 15 characters"
            yield document.problem(place, message, at_key=True)


def namespace_problems(document: Document, topology: Topology) -> Iterator[Problem]:
    """Interfaces of two nodes that would meet in one namespace, and links that take the management interface."""
    seen: dict[tuple[str, str], Endpoint] = {}
    for index, link in enumerate(topology.links):
        for side, end in enumerate(link.interfaces):
            place = topology.place(end.node)
            path = ("topology", "links", index, "endpoints", side)
            first = seen.setdefault((place, end.interface), end)
            if first is not end:
                message = f"endpoint '{end}' is in one network namespace with '{first}' and has its name"
                yield document.problem(path, message)
            node = topology.nodes.get(place)
            if end.interface == "eth0" and node and node.kind == "linux" and node.network_mode == "bridge":
                message = f"endpoint '{end}': eth0 is the management interface unless the node has network-mode: none"
                yield document.problem(path, message)


def _goes_round(nodes: Mapping[str, Node], start: str) -> bool:
    seen, name = {start}, nodes[start].shares
    while name in nodes:
        if name in seen:
            return name == start
        seen.add(name)
        name = nodes[name].shares
    return False
