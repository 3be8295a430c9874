"""What the speaker is told of its node and its routers: frozen values that are valid once they exist."""

import re
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from bgp.route import Address, Prefix, Route

HOLD_TIME_MIN: Final = 3
HOLD_TIME_MAX: Final = 65535
RESTART_TIME_MAX: Final = 4095
"""Seconds; the field has 12 bits (RFC 4724 3)."""
MD5_MAX: Final = 80
"""Bytes of a TCP MD5 key (Linux TCP_MD5SIG_MAXKEYLEN)."""

_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_SECRET = re.compile(r"[!$%&(-:<-Z^-z|~]+")  # printable, without blanks and what ExaBGP's tokeniser takes for syntax


class SpeakerConfigError(ValueError):
    """A configuration that must not be rendered; the text names the field, the value and what was expected."""


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """One router, over a session of either family. `md5` is the TCP MD5 key (RFC 2385), `md5_file` where to read it.

    `ttl_security` asks for GTSM (RFC 5082) over `multihop` hops, one unless given. The session leaves by `interface`
    alone if that is given, which link-local addresses need. A `passive` peer connects to us, on port `listen`.

    Next hops of this node: `local_address` for the session's own family, `local_address6` of IPv6 prefixes over IPv4,
    which are negotiated where it is given, `local_address4` of IPv4 prefixes over IPv6; without it those have an
    IPv6 next hop (RFC 8950).
    """

    name: str
    address: Address
    asn: int
    local_address: Address
    md5: str | None = field(default=None, repr=False)
    ttl_security: bool = False
    port: int = 179
    local_address6: IPv6Address | None = None
    local_address4: IPv4Address | None = None
    md5_file: str | None = None
    multihop: int | None = None
    interface: str | None = None
    passive: bool = False
    listen: int = 179

    def __post_init__(self) -> None:
        _check_asn(f"peer {self.name}: asn", self.asn)
        self._check_addresses()
        for key, port in (("port", self.port), ("listen", self.listen)):
            if not 1 <= port <= 65535:
                raise self._error(f"{key} is {port}", "1 to 65535")
        if self.multihop is not None and not 2 <= self.multihop <= 255:
            raise self._error(f"multihop is {self.multihop}", "2 to 255 hops")
        if self.interface is not None and _INTERFACE.fullmatch(self.interface) is None:
            raise self._error(f"interface is {self.interface!r}", "1 to 15 letters, digits and any of _.-")
        if self.passive and self.ttl_security:  # ExaBGP sets the TTL of a connection only once it has answered the SYN
            raise self._error("ttl_security is true", "false for a passive peer: ExaBGP's SYN-ACK would have TTL 64")
        if self.md5 is not None:
            check_key(f"peer {self.name}", self.md5)

    def _error(self, found: str, expected: str) -> SpeakerConfigError:
        return SpeakerConfigError(f"peer {self.name}: {found}, expected {expected}")

    def _check_addresses(self) -> None:
        own = self.local_address6
        if own is not None and (own.is_link_local or own.is_multicast or own.is_unspecified or own.ipv4_mapped):
            raise self._error(f"local_address6 is {own}", "a global unicast address")
        if self.address.version != self.local_address.version:
            raise self._error(f"local_address is {self.local_address}", f"one of {self.address}'s family")
        if self.address.version == 4 and self.local_address4 is not None:
            raise self._error(f"local_address4 is {self.local_address4}", "it only where the session runs over IPv6")
        link_local = self.address.version == 6 and self.address.is_link_local
        if link_local and self.interface is None:
            raise self._error(f"address is {self.address}", "an interface beside a link-local address")

    @property
    def extended_next_hop(self) -> bool:
        """Whether IPv4 prefixes are told with an IPv6 next hop (RFC 8950)."""
        return self.address.version == 6 and self.local_address4 is None

    def next_hop(self, version: int) -> Address | None:
        """This node's next hop for prefixes of an IP version; None where this peer cannot be told any."""
        if version == 4 and not self.extended_next_hop:
            return self.local_address4 or self.local_address
        return self.local_address6 or (self.local_address if self.address.version == 6 else None)


def check_key(place: str, key: str) -> None:
    """Raises SpeakerConfigError, without the key, for one that ExaBGP would read otherwise or the kernel not take."""
    if len(key) > MD5_MAX or _SECRET.fullmatch(key) is None:
        expected = f"1 to {MD5_MAX} printable characters without blanks, quotes and any of # ; [ ] {{ }} \\"
        raise SpeakerConfigError(f"{place}: md5 has a character or a length not allowed, expected {expected}")


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """One node's announcer. `lease` and `hold_time` in seconds; `prefixes` are all that this node may ever announce.

    `user` runs ExaBGP and the relay when the daemon is root; None keeps the daemon's own user. `graceful_restart` is
    for how many seconds routers keep the routes of a closed session (RFC 4724); None asks them not to.
    """

    asn: int
    router_id: IPv4Address
    peers: tuple[PeerConfig, ...]
    prefixes: tuple[Prefix, ...]
    hold_time: int = 9
    lease: float = 2.0
    user: str | None = "nobody"
    graceful_restart: int | None = None

    def __post_init__(self) -> None:
        _check_asn("asn", self.asn)
        if not HOLD_TIME_MIN <= self.hold_time <= HOLD_TIME_MAX:
            expected = f"{HOLD_TIME_MIN} to {HOLD_TIME_MAX} seconds"
            raise SpeakerConfigError(f"hold_time is {self.hold_time}, expected {expected}")
        if not 0.2 <= self.lease <= 60.0:
            raise SpeakerConfigError(f"lease is {self.lease}, expected 0.2 to 60 seconds")
        restart = self.graceful_restart
        if restart is not None and not 1 <= restart <= RESTART_TIME_MAX:
            raise SpeakerConfigError(f"graceful_restart is {restart}, expected 1 to {RESTART_TIME_MAX} seconds")
        addresses = [peer.address for peer in self.peers]
        if not addresses or len(set(addresses)) != len(addresses):
            raise SpeakerConfigError(f"peers are {[str(a) for a in addresses]}, expected at least one, each once")
        without = [peer.name for peer in self.peers if peer.next_hop(6) is None]
        six = [str(prefix) for prefix in self.prefixes if prefix.version == 6]
        if without and six:
            places = f"peers {', '.join(without)}"
            raise SpeakerConfigError(f"{places} have no local_address6, expected one for {', '.join(six)}")

    def resolved(self, route: Route) -> Route:
        """The route as it can be sent, with its next hop named for each peer where `self` would not do.

        Raises SpeakerConfigError for an IPv6 route that a peer cannot be told.
        """
        version = route.prefix.version
        plain = version == 4 and not route.overrides and all(peer.address.version == 4 for peer in self.peers)
        if plain or route.next_hop != "self":
            return route
        hops = tuple((peer.address, hop) for peer in self.peers if (hop := peer.next_hop(version)) is not None)
        if len(hops) < len(self.peers):
            raise SpeakerConfigError(f"{route.prefix} cannot be announced: a peer has no local_address6")
        return replace(route, next_hop=hops)

    def fixed(self, new: "SpeakerConfig") -> list[str]:
        """What differs in `new` that a running ExaBGP cannot be told, empty if it can follow.

        ExaBGP keeps a session when only its interface changes, and its relay was started with the restart time.
        """

        def low_ports(config: "SpeakerConfig") -> bool:
            return any(peer.passive and peer.listen < 1024 for peer in config.peers)

        keys = [
            key for key in ("asn", "router_id", "user", "graceful_restart") if getattr(self, key) != getattr(new, key)
        ]
        interfaces = {peer.address: peer.interface for peer in self.peers}
        moved = [peer.name for peer in new.peers if interfaces.get(peer.address, peer.interface) != peer.interface]
        keys += ["a listening port below 1024"] if low_ports(new) and not low_ports(self) else []
        return keys + [f"interface of peer {name}" for name in moved]


def _check_asn(place: str, asn: int) -> None:
    if not 1 <= asn <= 2**32 - 1:
        raise SpeakerConfigError(f"{place} is {asn}, expected 1 to {2**32 - 1}")
