"""The oracle's part on ICMP of either family, and on errors about our own tunnels (core: no I/O)."""

from collections.abc import Collection
from typing import Protocol

from edge.datapath import oracle_icmp, oracle_icmp6
from edge.datapath.abi import Note
from edge.datapath.hashing import FlowKey
from edge.datapath.headers import IPV4, TUNNELS, Ip, parse_ipv4, parse_ipv6
from edge.datapath.model import ForwarderState, IpAddress
from edge.datapath.oracle_addresses import Addresses


class Icmp(Protocol):
    """What the modules of both families have in common."""

    ECHO: int
    UNREACHABLE: int
    TIME_EXCEEDED: int

    def quoted_flow(self, ip: Ip, addresses: Addresses) -> FlowKey:
        """The flow that an error to a VIP quotes."""

    def is_too_big(self, icmp: bytes) -> bool:
        """Whether the error tells a path MTU."""

    def is_right(self, ip: Ip) -> bool:
        """Whether the checksum is right."""

    def echo_reply(self, request: Ip) -> bytes:
        """The IP packet that answers an echo request."""

    def too_big(self, refused: Ip, mtu: int) -> bytes:
        """The IP packet that tells the sender of `refused` what fits."""


def icmp_of(ip: Ip) -> Icmp:
    """The module of a packet's family."""
    if ip.fixed == IPV4:
        return oracle_icmp
    return oracle_icmp6


def about_tunnels(ip: Ip, state: ForwarderState, backends: Collection[IpAddress]) -> tuple[Note, ...]:
    """What is noted of a packet to the host: an ICMP error about a tunnel of ours to one of `backends`.

    Nothing else is checked, because the host's kernel will.
    """
    if not ip.is_icmp or ip.header_length != ip.fixed or ip.fragment:
        return ()
    icmp, four, family = ip.raw[ip.fixed :], ip.fixed == IPV4, icmp_of(ip)
    quoted = (parse_ipv4 if four else parse_ipv6)(icmp[oracle_icmp.HEADER :])
    if quoted is None or quoted.version != ip.version or quoted.protocol not in TUNNELS:
        return ()
    own = state.outer_source if four else state.outer_source6
    if own is None or quoted.source not in own or quoted.destination not in backends:
        return ()
    if family.is_too_big(icmp):
        return (Note.ENCAP_PTB,)
    return (Note.ENCAP_UNREACH,) if icmp[0] in (family.UNREACHABLE, family.TIME_EXCEEDED) else ()
