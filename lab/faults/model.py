"""What can be broken, as values: one frozen model per kind of fault, and whether a topology has what it names.

Spelled `{KIND: {key: value}}`. `NODE` is a node of the topology, `NODE:IFACE` one end of a link. Directions are seen
from that end: `out` is what leaves the interface, `in` what arrives at it. Times are in seconds unless the key says
`ms`.
"""

from collections.abc import Mapping, Sequence

from edge.text.decode import nearest
from lab.faults.model_base import Fault, address_of
from lab.faults.model_edges import CheckerHangs, CheckerLies, Config
from lab.faults.model_links import BfdDown, Blackhole, Delay, LinkDown, Loss, Mtu, Rate
from lab.faults.model_nodes import ClockJump, DiskFull, Freeze, Kill, KillProcess, Pause, StoreLoss
from lab.faults.model_routers import EcmpRehash, RouterRestart, SessionReset
from lab.faults.model_traffic import PtbStorm, SynFlood, UdpFlood
from lab.topology.model import Topology

KINDS: Mapping[str, type[Fault]] = {
    model.kind: model
    for model in (
        LinkDown, Loss, Rate, Delay, Blackhole, Mtu, BfdDown, Kill, Pause, Freeze, KillProcess, DiskFull, ClockJump,
        StoreLoss, RouterRestart, SessionReset, EcmpRehash, CheckerLies, CheckerHangs, Config, SynFlood, UdpFlood,
        PtbStorm,
    )
}  # fmt: skip


def problems(fault: Fault, topology: Topology) -> list[str]:
    """What the fault names and the topology does not have, one sentence each, with the nearest name."""
    fields = fault.model_dump()
    nodes, ends = list(topology.nodes), [f"{end.node}:{end.interface}" for link in topology.links for end in link.ends]
    named = [fields["node"]] if "node" in fields else [*fields.get("nodes", ())]
    found = [f"there is no node '{node}'{nearest(node, nodes)}" for node in named if node not in nodes]
    if "on" in fields and fields["on"] not in ends:
        found.append(f"no link has the end '{fields['on']}'{nearest(fields['on'], ends)}")
    if "to" in fields:
        try:
            target(fields["to"], topology)
        except ValueError as error:
            found.append(str(error))
    if isinstance(fault, StoreLoss) and not stores(fault.nodes, topology):
        found.append("no node has the role store: name the nodes")
    return found


def target(text: str, topology: Topology) -> tuple[str, int]:
    """(address, port) of `to`: an address and port as they are, or a service's first address and first port."""
    if ":" in text:
        return address_of(text)
    labels = {key: value for node in topology.nodes.values() for key, value in node.labels.items()}
    services = {key.removeprefix("fairhop.service."): value for key, value in labels.items() if _is_service(key)}
    if text not in services:
        raise ValueError(f"there is no service '{text}'{nearest(text, list(services))}")
    words = services[text].split()
    ports = [word for word in words if "/" in word and word.split("/")[0] in ("tcp", "udp")]
    return words[0], int(ports[0].split("/")[1]) if ports else 80


def stores(named: Sequence[str], topology: Topology) -> list[str]:
    """The nodes of the store: those named, or else those of the role."""
    return list(named) or [name for name, node in topology.nodes.items() if node.labels.get("fairhop.role") == "store"]


def _is_service(key: str) -> bool:
    return key.startswith("fairhop.service.")
