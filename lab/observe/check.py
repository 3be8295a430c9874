"""Finds what would make a measurement on a lab lie, before it is made.

Source: measured on Linux 6.18. With offloads on, a program sees frames of up to 64 kB that never were on a wire, and
checksums that nobody computed; native XDP_TX on a veth loses every frame unless the other end has an XDP program too;
a veth takes native XDP only up to an MTU of 3506 bytes, and generic mode hides the faults of native.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from lab.topology.model import Endpoint, Topology

OFFLOADS = ("tx", "tso", "gso", "gro")
NATIVE_MTU = 3506
XdpMode = Literal["", "native", "generic"]
Reason = Literal["offload-on", "peer-lacks-xdp", "mtu-above-native", "mtu-differs", "missing"]


@dataclass(frozen=True, slots=True)
class Interface:
    """One end of a link as it is: which of `OFFLOADS` are on, its XDP program if any, its MTU in bytes."""

    offloads: frozenset[str]
    xdp: XdpMode
    mtu: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that would make a measurement lie, and the command, to be run in `node`, that mends it."""

    node: str
    interface: str
    reason: Reason
    message: str
    mend: str

    def __str__(self) -> str:
        return f"{self.node}:{self.interface}: {self.message}; mend with: {self.mend}"


def judge(topology: Topology, interfaces: Mapping[Endpoint, Interface]) -> list[Finding]:
    """All findings, in the order of the topology's links. `interfaces` has each end that exists."""
    return [
        finding
        for link in topology.links
        for here, there in ((link.a, link.b), (link.b, link.a))
        for finding in _judge_end(here, there, interfaces)
    ]


def gather(
    topology: Topology, read: Callable[[str, Iterable[str]], Mapping[str, Interface]]
) -> dict[Endpoint, Interface]:
    """The state of every link end, where `read` gives those of the named interfaces that a node has."""
    return {
        end: found[end.interface]
        for node in topology.nodes
        if (ends := topology.endpoints(node)) and (found := read(node, [end.interface for end in ends]))
        for end in ends
        if end.interface in found
    }


def _judge_end(here: Endpoint, there: Endpoint, interfaces: Mapping[Endpoint, Interface]) -> Iterator[Finding]:
    def finding(reason: Reason, message: str, mend: str) -> Finding:
        return Finding(here.node, here.interface, reason, message, mend)

    own, peer = interfaces.get(here), interfaces.get(there)
    if own is None:
        yield finding("missing", "the link's end is not there", "fairhop lab up")
        return
    if own.offloads:
        on = [name for name in OFFLOADS if name in own.offloads]
        switches = " ".join(f"{name} off" for name in on)
        yield finding("offload-on", f"offloads {', '.join(on)} are on", f"ethtool -K {here.interface} {switches}")
    if peer is None:
        return
    if peer.xdp == "native" and not own.xdp:
        mend = f"ip link set dev {here.interface} xdpdrv object $FAIRHOP_BPF/pass.bpf.o section xdp"
        yield finding(
            "peer-lacks-xdp", f"no XDP program, but {there} runs native XDP and would lose what it sends", mend
        )
    if own.mtu > NATIVE_MTU and (own.xdp or peer.xdp):
        message = f"MTU {own.mtu} is above {NATIVE_MTU}, the most that native XDP takes on a veth"
        yield finding("mtu-above-native", message, f"ip link set dev {here.interface} mtu 1500")
    if own.mtu > peer.mtu:
        message = f"MTU {own.mtu} is above that of {there}, {peer.mtu}: larger frames vanish"
        yield finding("mtu-differs", message, f"ip link set dev {here.interface} mtu {peer.mtu}")
