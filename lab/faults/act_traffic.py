"""Makes the faults that are traffic."""

from lab.faults.act import Act
from lab.faults.model import target
from lab.faults.model_traffic import PtbStorm, SynFlood, UdpFlood
from lab.runtime import LabError

_SOURCES6 = "2001:2::/48"  # RFC 5180
_IPV6_MINIMUM = 1280
_SOURCES = "198.18.0.0/15"  # RFC 2544: for tests of this kind


def syn_flood(act: Act, fault: SynFlood) -> str:
    """SYNs."""
    return _flood(act, fault, "syn", 0)


def udp_flood(act: Act, fault: UdpFlood) -> str:
    """Datagrams."""
    return _flood(act, fault, "udp", fault.bytes)


def ptb_storm(act: Act, fault: PtbStorm) -> str:
    """ICMP "fragmentation needed" or ICMPv6 "packet too big", each about a segment that the service never sent."""
    address, port = target(fault.to, act.site.topology)
    sources = fault.sources or (_SOURCES6 if ":" in address else _SOURCES)
    if (":" in address) is not (":" in sources):
        raise LabError(f"ptb-storm to {address}: the sources {sources} are of the other family")
    if ":" in address and fault.mtu < _IPV6_MINIMUM:
        raise LabError(f"ptb-storm to {address}: mtu is {fault.mtu}, expected {_IPV6_MINIMUM} or more with IPv6")
    words = ("ptb", address, str(port), str(fault.rate), sources, str(fault.mtu))
    reached = act.helper(fault.node, "flood", *words)
    about = f"flows of {sources} with {address} port {port}"
    return f"{fault.node} sends {reached} ICMP packets too big/s ({fault.rate} wanted, mtu {fault.mtu}) about {about}"


def _flood(act: Act, fault: SynFlood | UdpFlood, kind: str, size: int) -> str:
    address, port = target(fault.to, act.site.topology)
    sources = fault.sources or _SOURCES
    if ":" in address or ":" in sources:
        raise LabError(f"{fault.kind} to {address}: spoofed floods are made with IPv4 only")
    words = (kind, address, str(port), str(fault.rate), sources, str(size))
    reached = act.helper(fault.node, "flood", *words)
    return f"{fault.node} sends {reached} packets/s ({fault.rate} wanted) from {sources} to {address}:{port}"
