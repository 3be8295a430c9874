"""Addresses and prefixes of both families in one form, and their order (core: no I/O)."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, ip_network

from edge.datapath.model import ForwarderState, IpAddress, IpNetwork, Vip

# Sources that no packet from afar can have (RFC 1812 5.3.7, RFC 6890), and private ones (RFC 1918).
MARTIANS4 = tuple(map(IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")))
PRIVATE4 = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96 (RFC 4291, 2.5.5.2)
_MAPPED_BITS = 96


@lru_cache(maxsize=8192)
def network_of(vip: Vip | IpAddress | IpNetwork) -> IpNetwork:
    """The prefix that a VIP is; an address is one of full length."""
    return ip_network(vip)


def is_single(network: IpNetwork) -> bool:
    """Whether a prefix has one address."""
    return network.prefixlen == network.max_prefixlen


def order(network: IpNetwork) -> tuple[int, int, int]:
    """Sorts prefixes: IPv4 first, by address, the longer ones later."""
    return network.version, int(network.network_address), network.prefixlen


def wide(address: IpAddress) -> bytes:
    """Sixteen bytes; an IPv4 address as ::ffff:a.b.c.d."""
    return _MAPPED + address.packed if isinstance(address, IPv4Address) else address.packed


def wide_length(network: IpNetwork) -> int:
    """The prefix length within the sixteen bytes."""
    return network.prefixlen + (_MAPPED_BITS if isinstance(network, IPv4Network) else 0)


def wide_mask(network: IpNetwork) -> bytes:
    """The netmask over the sixteen bytes."""
    bits = wide_length(network)
    return ((1 << 128) - (1 << (128 - bits))).to_bytes(16, "big")


def vip_indexes(state: ForwarderState) -> dict[IpNetwork, int]:
    """Every VIP, with a service or only answering echo, and its index 1.. in `order`."""
    vips: Iterable[Vip] = [*(service.vip for service in state.services), *state.echo_vips]
    return {vip: index for index, vip in enumerate(sorted(set(map(network_of, vips)), key=order), start=1)}


def lengths(networks: Iterable[IpNetwork], version: int) -> list[int]:
    """The different `wide_length`s of prefixes with several addresses in one family, the longest first."""
    chosen = {wide_length(n) for n in networks if n.version == version and not is_single(n)}
    return sorted(chosen, reverse=True)
