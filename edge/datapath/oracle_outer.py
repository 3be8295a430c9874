"""The oracle's part on tunnels: the frame that leaves for a backend (core: no I/O).

RFC 2003 and 4213 (IPv4 outside), RFC 2473 (IPv6 outside), RFC 2784 and 2890 (GRE and its key), RFC 6040 (ECN copied).
"""

from ipaddress import IPv4Address, IPv6Address

from edge.datapath.headers import GRE, IPIP, SIX_IN_FOUR, TYPE_IPV4, TYPE_IPV6, TYPE_VLAN, Ip, ipv4_header, ipv6_header
from edge.datapath.model import Backend, Encap, ForwarderState, NextHop

_ETHERTYPE = {4: TYPE_IPV4.to_bytes(2, "big"), 6: TYPE_IPV6.to_bytes(2, "big")}
_KEY_PRESENT = b"\x20\0"
_FLOW_LABEL = 0xFFFFF


def tunnelled(ip: Ip, backend: Backend, hop: NextHop, number: int, state: ForwarderState) -> bytes:
    """The whole frame; `number` is the flow's hash, which varies the outer source and the flow label."""
    link = hop.destination_mac + hop.source_mac
    if hop.vlan:
        link += TYPE_VLAN.to_bytes(2, "big") + hop.vlan.to_bytes(2, "big")
    payload = _gre(backend, ip.version) + ip.packet
    protocol = GRE if backend.encap is Encap.GRE else {4: IPIP, 6: SIX_IN_FOUR}[ip.version]
    if isinstance(backend.address, IPv4Address):
        outer = ipv4_header(_source4(state, number), backend.address, protocol, len(payload), tos=ip.tos)
    else:
        outer = ipv6_header(
            _source6(state, number), backend.address, protocol, len(payload), tos=ip.tos, flow=number & _FLOW_LABEL
        )
    return link + _ETHERTYPE[backend.address.version] + outer + payload


def _gre(backend: Backend, version: int) -> bytes:
    if backend.encap is not Encap.GRE:
        return b""
    if backend.key is None:
        return b"\0\0" + _ETHERTYPE[version]
    return _KEY_PRESENT + _ETHERTYPE[version] + backend.key.to_bytes(4, "big")


def _source4(state: ForwarderState, number: int) -> IPv4Address:
    network = state.outer_source
    return IPv4Address(int(network.network_address) | number & int(network.hostmask))


def _source6(state: ForwarderState, number: int) -> IPv6Address:
    """The hash fills at most the last 32 bits."""
    network = state.outer_source6
    if network is None:
        raise ValueError("a backend with an IPv6 address needs an outer_source6")
    return IPv6Address(int(network.network_address) | number & int(network.hostmask))
