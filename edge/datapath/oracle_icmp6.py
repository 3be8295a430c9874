"""The oracle's part on ICMPv6 (RFC 4443): errors to a VIP, echo, packet too big (core: no I/O)."""

from edge.datapath.abi import Reason
from edge.datapath.hashing import FlowKey
from edge.datapath.headers import (
    EXTENSIONS,
    FRAGMENT,
    ICMP6,
    IPV6,
    ROUTING,
    Ip,
    checksum6,
    ipv6_header,
    parse_ipv6,
)
from edge.datapath.model import IpAddress
from edge.datapath.oracle_addresses import Addresses
from edge.datapath.oracle_icmp import HEADER, flow_of, require_sender, require_type
from edge.datapath.outcome import DroppedError

UNREACHABLE, TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM, ECHO, ECHO_REPLY = 1, 2, 3, 4, 128, 129
_ERRORS = frozenset({UNREACHABLE, TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM})
_DISCOVERY = frozenset({130, 131, 132, 133, 134, 135, 136, 137, 143})  # MLD (RFC 2710, 3810) and ND (RFC 4861)
_LEAST_MTU = 1280
_ERROR_LENGTH = 1280  # RFC 4443, 2.4 (c)


def is_discovery(ip: Ip) -> bool:
    """Whether this is neighbour or listener discovery, which the host's kernel answers."""
    return ip.protocol == ICMP6 and ip.fixed == IPV6 and len(ip.raw) > IPV6 and ip.raw[IPV6] in _DISCOVERY


def quoted_flow(ip: Ip, addresses: Addresses) -> FlowKey:
    """The flow that an ICMPv6 error to a VIP quotes."""
    icmp = ip.payload
    require_type(icmp, _ERRORS)
    quoted = parse_ipv6(icmp[HEADER:])
    if quoted is None or quoted.version != 6:
        raise DroppedError(Reason.ICMP_TRUNC)
    require_sender(quoted, ip, addresses)
    if quoted.protocol in EXTENSIONS or quoted.protocol == ROUTING:
        raise DroppedError(Reason.ICMP_OPT)
    if quoted.protocol == FRAGMENT:
        raise DroppedError(Reason.ICMP_FRAG)
    key = flow_of(quoted)
    if icmp[0] == TOO_BIG and int.from_bytes(icmp[4:8], "big") < _LEAST_MTU:  # RFC 8201, section 4
        raise DroppedError(Reason.ICMP_MTU)
    return key


def is_too_big(icmp: bytes) -> bool:
    """Whether this is "packet too big"."""
    return icmp[0] == TOO_BIG


def is_right(ip: Ip) -> bool:
    """Whether the ICMPv6 checksum is right."""
    return checksum6(ip.source, ip.destination, ICMP6, ip.payload) == 0


def echo_reply(request: Ip) -> bytes:
    """The IPv6 packet that answers an echo request, as long as the request, of its traffic class and flow label."""
    reply = _summed(request.destination, request.source, bytes((ECHO_REPLY, 0)), request.payload[4:])
    flow = int.from_bytes(request.raw[1:4], "big") & 0xFFFFF
    return ipv6_header(request.destination, request.source, ICMP6, len(reply), tos=request.tos, flow=flow) + reply


def too_big(refused: Ip, mtu: int) -> bytes:
    """The IPv6 packet that tells the sender of `refused` what fits, 1280 bytes long."""
    quote = refused.packet[: _ERROR_LENGTH - IPV6 - HEADER]
    told = _summed(refused.destination, refused.source, bytes((TOO_BIG, 0)), mtu.to_bytes(4, "big") + quote)
    return ipv6_header(refused.destination, refused.source, ICMP6, len(told)) + told


def _summed(source: IpAddress, destination: IpAddress, kind: bytes, rest: bytes) -> bytes:
    return kind + checksum6(source, destination, ICMP6, kind + b"\0\0" + rest).to_bytes(2, "big") + rest
