"""The oracle's part on ICMP: what the edge reads in it, and what the edge says by it (core: no I/O)."""

from collections.abc import Collection
from ipaddress import IPv4Address

from edge.datapath.abi import Reason
from edge.datapath.hashing import FlowKey
from edge.datapath.headers import ICMP, IPV4, TCP, UDP, DroppedError, Ipv4, checksum, ipv4_header, word

ECHO_REPLY, UNREACHABLE, ECHO, TIME_EXCEEDED, PARAMETER_PROBLEM = 0, 3, 8, 11, 12
_ERRORS = frozenset({UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM})
_HEADER = 8
_FRAGMENTATION_NEEDED = 4  # a code of UNREACHABLE
_ERROR_LENGTH = 576  # RFC 1812 4.3.2.3
_ERROR_TOS = 0xC0  # RFC 1812 4.3.2.5
_SMALL_MTU = 552  # below it Linux does not believe a path MTU


def quoted_flow(ip: Ipv4, vips: Collection[IPv4Address]) -> FlowKey:
    """The flow that an ICMP error to a VIP quotes; eight bytes behind the quoted header are enough (RFC 792)."""
    icmp = ip.payload
    if len(icmp) < _HEADER:
        raise DroppedError(Reason.TRUNC)
    if icmp[0] not in _ERRORS:
        raise DroppedError(Reason.ICMP_TYPE)
    quoted = Ipv4.parse(icmp[_HEADER:])
    if quoted is None or quoted.version != 4 or quoted.header_length < IPV4:
        raise DroppedError(Reason.ICMP_TRUNC)
    checks = (
        (quoted.header_length > IPV4, Reason.ICMP_OPT),
        (quoted.fragment & 0x1FFF != 0, Reason.ICMP_FRAG),
        (quoted.source not in vips, Reason.ICMP_NOT_OURS),
        (quoted.source != ip.destination, Reason.ICMP_MISMATCH),
        (quoted.protocol not in (TCP, UDP), Reason.ICMP_NOT_OURS),
        (len(icmp) < _HEADER + IPV4 + 8, Reason.ICMP_TRUNC),
    )
    for refused, reason in checks:
        if refused:
            raise DroppedError(reason)
    ports = quoted.raw[IPV4:]
    return FlowKey(quoted.destination, word(ports, 2), word(ports, 0), quoted.protocol)


def is_too_big(icmp: bytes) -> bool:
    """Whether this is "fragmentation needed"."""
    return icmp[:2] == bytes((UNREACHABLE, _FRAGMENTATION_NEEDED))


def tells_small_mtu(icmp: bytes) -> bool:
    """Whether this is "fragmentation needed" with an MTU that hardly any path has."""
    return is_too_big(icmp) and word(icmp, 6) < _SMALL_MTU


def check_echo(icmp: bytes, served: bool, within_rate: bool) -> None:
    """Refuse an echo request that is malformed, to a VIP not served now, or above the rate."""
    checks = (
        (len(icmp) < _HEADER, Reason.TRUNC),
        (len(icmp) >= _HEADER and icmp[1] != 0, Reason.ICMP_TYPE),
        (not served, Reason.ECHO_UNSERVED),
        (checksum(icmp) != 0, Reason.ICMP_CSUM),
        (not within_rate, Reason.ECHO_LIMIT),
    )
    for refused, reason in checks:
        if refused:
            raise DroppedError(reason)


def echo_reply(request: Ipv4) -> bytes:
    """The IPv4 packet that answers an echo request (RFC 1122 3.2.2.6), as long as the request."""
    reply = _summed(bytes((ECHO_REPLY, 0)), request.payload[4:])
    return ipv4_header(request.destination, request.source, ICMP, len(reply), tos=request.tos) + reply


def too_big(refused: Ipv4, mtu: int) -> bytes:
    """The IPv4 packet that tells the sender of `refused` what fits (RFC 1191), 576 bytes long."""
    quote = refused.packet[: _ERROR_LENGTH - IPV4 - _HEADER]
    told = _summed(bytes((UNREACHABLE, _FRAGMENTATION_NEEDED)), b"\0\0" + mtu.to_bytes(2, "big") + quote)
    header = ipv4_header(refused.destination, refused.source, ICMP, len(told), tos=_ERROR_TOS, dont_fragment=False)
    return header + told


def _summed(kind: bytes, rest: bytes) -> bytes:
    return kind + checksum(kind + b"\0\0" + rest).to_bytes(2, "big") + rest
