"""What an address is to an oracle: a VIP, a machine, or what no client can have (core: no I/O)."""

import functools
from collections.abc import Iterable
from ipaddress import IPv6Network

from edge.datapath.addresses import MARTIANS4, PRIVATE4, is_single, network_of
from edge.datapath.model import IpAddress, IpNetwork, Vip

# RFC 4291, 2.5 to 2.7; RFC 6890: unspecified, loopback and IPv4-compatible; IPv4-mapped; multicast; link-local.
MARTIANS6 = tuple(map(IPv6Network, ("::/96", "::ffff:0:0/96", "ff00::/8", "fe80::/10")))
PRIVATE6 = (IPv6Network("fc00::/7"),)
_CACHED = 1 << 15


class Addresses:
    """`machines` and addresses in `networks` are never clients; with `private`, neither are private ones."""

    def __init__(
        self,
        vips: Iterable[Vip],
        machines: Iterable[IpAddress],
        networks: Iterable[IpNetwork],
        *,
        private: bool = False,
    ) -> None:
        known = {network_of(vip) for vip in vips}
        self._singles = {vip.network_address: vip for vip in known if is_single(vip)}
        self._prefixes = sorted((vip for vip in known if not is_single(vip)), key=lambda v: -v.prefixlen)
        self._machines = frozenset(machines)
        self._networks = tuple(networks)
        refused: list[IpNetwork] = [*MARTIANS4, *MARTIANS6]
        self._refused = (*refused, *(PRIVATE4 if private else ()), *(PRIVATE6 if private else ()))
        # Tests ask of few addresses, many times.
        self.vip_of = functools.lru_cache(_CACHED)(self._vip_of)
        self.is_client = functools.lru_cache(_CACHED)(self._is_client)

    def is_machine(self, address: IpAddress) -> bool:
        """Whether the address is one of `machines`, or in one of `networks`."""
        return address in self._machines or within(address, self._networks)

    def _vip_of(self, address: IpAddress) -> IpNetwork | None:
        """The VIP that an address belongs to: a single address goes before a prefix, a longer prefix before others."""
        if address in self._singles:
            return self._singles[address]
        if address in self._machines:
            return None
        return next((prefix for prefix in self._prefixes if address in prefix), None)

    def _is_client(self, address: IpAddress) -> bool:
        """Whether a packet from afar can have this source (RFC 1812 5.3.7, RFC 6890)."""
        if self.is_machine(address) or self._vip_of(address) is not None:
            return False
        return not within(address, self._refused)


def within(address: IpAddress, networks: Iterable[IpNetwork]) -> bool:
    """Whether an address is in one of the networks; those of the other family are never it."""
    return any(address in network for network in networks)
