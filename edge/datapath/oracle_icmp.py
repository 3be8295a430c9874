"""The oracle's part on ICMP for IPv4, and what both families share (core: no I/O)."""

from edge.datapath.abi import Reason
from edge.datapath.hashing import FlowKey
from edge.datapath.headers import ICMP, IPV4, TCP, UDP, Ip, checksum, ipv4_header, parse_ipv4, word
from edge.datapath.oracle_addresses import Addresses
from edge.datapath.outcome import DroppedError

HEADER = 8
ECHO_REPLY, UNREACHABLE, ECHO, TIME_EXCEEDED, PARAMETER_PROBLEM = 0, 3, 8, 11, 12
_ERRORS = frozenset({UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM})
_FRAGMENTATION_NEEDED = 4  # a code of UNREACHABLE
_ERROR_LENGTH = 576  # RFC 1812 4.3.2.3
_ERROR_TOS = 0xC0  # RFC 1812 4.3.2.5
_SMALL_MTU = 552  # below it Linux does not believe a path MTU


def quoted_flow(ip: Ip, addresses: Addresses) -> FlowKey:
    """The flow that an ICMP error to a VIP quotes; eight bytes behind the quoted header are enough (RFC 792)."""
    icmp = ip.payload
    require_type(icmp, _ERRORS)
    quoted = parse_ipv4(icmp[HEADER:])
    if quoted is None or quoted.version != 4 or quoted.header_length < IPV4:
        raise DroppedError(Reason.ICMP_TRUNC)
    if quoted.header_length > IPV4:
        raise DroppedError(Reason.ICMP_OPT)
    if quoted.fragment & 0x1FFF:
        raise DroppedError(Reason.ICMP_FRAG)
    require_sender(quoted, ip, addresses)
    return flow_of(quoted)


def require_type(icmp: bytes, wanted: frozenset[int]) -> None:
    """Refuse an ICMP message that is cut, or of a type that means nothing here."""
    if len(icmp) < HEADER:
        raise DroppedError(Reason.TRUNC)
    if icmp[0] not in wanted:
        raise DroppedError(Reason.ICMP_TYPE)


def require_sender(quoted: Ip, error: Ip, addresses: Addresses) -> None:
    """The quoted packet left the VIP to which the error came (RFC 5927)."""
    if addresses.vip_of(quoted.source) is None:
        raise DroppedError(Reason.ICMP_NOT_OURS)
    if quoted.source != error.destination:
        raise DroppedError(Reason.ICMP_MISMATCH)


def flow_of(quoted: Ip) -> FlowKey:
    """The quoted packet's flow as its client sees it; only TCP and UDP are ours."""
    if quoted.protocol not in (TCP, UDP):
        raise DroppedError(Reason.ICMP_NOT_OURS)
    ports = quoted.raw[quoted.fixed :]
    if len(ports) < 8:
        raise DroppedError(Reason.ICMP_TRUNC)
    return FlowKey(quoted.destination, word(ports, 2), word(ports, 0), quoted.protocol)


def is_too_big(icmp: bytes) -> bool:
    """Whether this is "fragmentation needed"."""
    return icmp[:2] == bytes((UNREACHABLE, _FRAGMENTATION_NEEDED))


def tells_small_mtu(icmp: bytes) -> bool:
    """Whether this is "fragmentation needed" with an MTU that hardly any path has."""
    return is_too_big(icmp) and word(icmp, 6) < _SMALL_MTU


def check_echo(icmp: bytes, served: bool, right: bool, within_rate: bool) -> None:
    """Refuse an echo request that is malformed, to a VIP not served now, of a wrong checksum, or above the rate."""
    if len(icmp) < HEADER:
        raise DroppedError(Reason.TRUNC)
    if icmp[1]:
        raise DroppedError(Reason.ICMP_TYPE)
    if not served:
        raise DroppedError(Reason.ECHO_UNSERVED)
    if not right:
        raise DroppedError(Reason.ICMP_CSUM)
    if not within_rate:
        raise DroppedError(Reason.ECHO_LIMIT)


def is_right(ip: Ip) -> bool:
    """Whether the ICMP checksum is right."""
    return checksum(ip.payload) == 0


def echo_reply(request: Ip) -> bytes:
    """The IPv4 packet that answers an echo request (RFC 1122 3.2.2.6), as long as the request."""
    reply = _summed(bytes((ECHO_REPLY, 0)), request.payload[4:])
    return ipv4_header(request.destination, request.source, ICMP, len(reply), tos=request.tos) + reply


def too_big(refused: Ip, mtu: int) -> bytes:
    """The IPv4 packet that tells the sender of `refused` what fits (RFC 1191), 576 bytes long."""
    quote = refused.packet[: _ERROR_LENGTH - IPV4 - HEADER]
    told = _summed(bytes((UNREACHABLE, _FRAGMENTATION_NEEDED)), b"\0\0" + mtu.to_bytes(2, "big") + quote)
    header = ipv4_header(refused.destination, refused.source, ICMP, len(told), tos=_ERROR_TOS, dont_fragment=False)
    return header + told


def _summed(kind: bytes, rest: bytes) -> bytes:
    return kind + checksum(kind + b"\0\0" + rest).to_bytes(2, "big") + rest
