"""Makes the faults that are traffic."""

from lab.faults.act import Act
from lab.faults.model import target
from lab.faults.model_traffic import SynFlood, UdpFlood
from lab.runtime import LabError

_SOURCES = "198.18.0.0/15"  # RFC 2544: for tests of this kind


def syn_flood(act: Act, fault: SynFlood) -> str:
    """SYNs."""
    return _flood(act, fault, "syn", 0)


def udp_flood(act: Act, fault: UdpFlood) -> str:
    """Datagrams."""
    return _flood(act, fault, "udp", fault.bytes)


def _flood(act: Act, fault: SynFlood | UdpFlood, kind: str, size: int) -> str:
    address, port = target(fault.to, act.site.topology)
    sources = fault.sources or _SOURCES
    if ":" in address or ":" in sources:
        raise LabError(f"{fault.kind} to {address}: spoofed floods are made with IPv4 only")
    words = (kind, address, str(port), str(fault.rate), sources, str(size))
    reached = act.helper(fault.node, "flood", *words)
    return f"{fault.node} sends {reached} packets/s ({fault.rate} wanted) from {sources} to {address}:{port}"
