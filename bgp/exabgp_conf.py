"""What the speaker is told about the world, and its rendering as an ExaBGP 5.0 configuration and environment."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from bgp.route import NextHops, Prefix, Route

HOLD_TIME_MIN: Final = 3
HOLD_TIME_MAX: Final = 65535
MD5_MAX: Final = 80
"""Bytes of a TCP MD5 key (Linux TCP_MD5SIG_MAXKEYLEN)."""

_WORD = re.compile(r"[A-Za-z0-9_./:@%+=,-]+")
_SECRET = re.compile(r"[!$%&(-:<-Z^-z|~]+")  # printable, without blanks and what ExaBGP's tokeniser takes for syntax


class SpeakerConfigError(ValueError):
    """A configuration that must not be rendered; the text names the field, the value and what was expected."""


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """One router. `md5` is the TCP MD5 key (RFC 2385), `ttl_security` asks for GTSM on one hop (RFC 5082).

    The session runs over IPv4. `local_address6` is this node's address on the same link: the next hop of IPv6 prefixes,
    which are negotiated with the peer where it is given.
    """

    name: str
    address: IPv4Address
    asn: int
    local_address: IPv4Address
    md5: str | None = field(default=None, repr=False)
    ttl_security: bool = False
    port: int = 179
    local_address6: IPv6Address | None = None

    def __post_init__(self) -> None:
        _check_asn(f"peer {self.name}: asn", self.asn)
        own = self.local_address6
        if own is not None and (own.is_link_local or own.is_multicast or own.is_unspecified or own.ipv4_mapped):
            raise SpeakerConfigError(f"peer {self.name}: local_address6 is {own}, expected a global unicast address")
        if not 1 <= self.port <= 65535:
            raise SpeakerConfigError(f"peer {self.name}: port is {self.port}, expected 1 to 65535")
        if self.md5 is not None and (len(self.md5) > MD5_MAX or _SECRET.fullmatch(self.md5) is None):
            expected = f"1 to {MD5_MAX} printable characters without blanks, quotes and any of # ; [ ] {{ }} \\"
            raise SpeakerConfigError(
                f"peer {self.name}: md5 has a character or a length not allowed, expected {expected}"
            )


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """One node's announcer. `lease` and `hold_time` in seconds; `prefixes` are all that this node may ever announce.

    `user` runs ExaBGP and the relay when the daemon is root; None keeps the daemon's own user.
    """

    asn: int
    router_id: IPv4Address
    peers: tuple[PeerConfig, ...]
    prefixes: tuple[Prefix, ...]
    hold_time: int = 9
    lease: float = 2.0
    user: str | None = "nobody"

    def __post_init__(self) -> None:
        _check_asn("asn", self.asn)
        if not HOLD_TIME_MIN <= self.hold_time <= HOLD_TIME_MAX:
            expected = f"{HOLD_TIME_MIN} to {HOLD_TIME_MAX} seconds"
            raise SpeakerConfigError(f"hold_time is {self.hold_time}, expected {expected}")
        if not 0.2 <= self.lease <= 60.0:
            raise SpeakerConfigError(f"lease is {self.lease}, expected 0.2 to 60 seconds")
        addresses = [peer.address for peer in self.peers]
        if not addresses or len(set(addresses)) != len(addresses):
            raise SpeakerConfigError(f"peers are {[str(a) for a in addresses]}, expected at least one, each once")
        without = [peer.name for peer in self.peers if peer.local_address6 is None]
        six = [str(prefix) for prefix in self.prefixes if prefix.version == 6]
        if without and six:
            places = f"peers {', '.join(without)}"
            raise SpeakerConfigError(f"{places} have no local_address6, expected one for {', '.join(six)}")

    @property
    def next_hops6(self) -> NextHops:
        """The next hop of IPv6 prefixes towards each peer that has one."""
        return tuple((peer.address, peer.local_address6) for peer in self.peers if peer.local_address6 is not None)

    def resolved(self, route: Route) -> Route:
        """The route as it can be sent: an IPv6 one with its next hop named for each peer.

        Raises SpeakerConfigError for an IPv6 route that no peer can be told.
        """
        if route.prefix.version == 4 or route.next_hop != "self":
            return route
        if len(self.next_hops6) < len(self.peers):
            raise SpeakerConfigError(f"{route.prefix} cannot be announced: a peer has no local_address6")
        return replace(route, next_hop=self.next_hops6)


def _check_asn(place: str, asn: int) -> None:
    if not 1 <= asn <= 2**32 - 1:
        raise SpeakerConfigError(f"{place} is {asn}, expected 1 to {2**32 - 1}")


_PROCESS = """\
process relay {{
    run {run};
    encoder json;
    respawn true;
}}
"""

_NEIGHBOR = """\
neighbor {peer.address} {{
    description "{peer.name}";
    router-id {config.router_id};
    local-address {peer.local_address};
    local-as {config.asn};
    peer-as {peer.asn};
    hold-time {config.hold_time};
{extra}    group-updates true;
    adj-rib-out true;
    family {{
{families}    }}
    capability {{
        graceful-restart disable;
        route-refresh enable;
        add-path disable;
    }}
    api {{
        processes [ relay ];
        neighbor-changes;
    }}
}}
"""


def render(config: SpeakerConfig, relay: Sequence[str]) -> str:
    """The configuration file; `relay` is the relay's argument vector with an absolute program path.

    Raises SpeakerConfigError for words that ExaBGP's tokeniser would split or take for syntax.
    """
    words = [*relay, *(str(prefix) for prefix in config.prefixes), *(peer.name for peer in config.peers)]
    for word in words:
        if _WORD.fullmatch(word) is None:
            raise SpeakerConfigError(f"{word!r} cannot stand in ExaBGP's configuration, expected {_WORD.pattern}")
    run = " ".join([*relay, *(str(prefix) for prefix in config.prefixes)])
    parts = [_PROCESS.format(run=run)]
    for peer in config.peers:
        families = "".join(f"        {family} unicast;\n" for family in _families(peer))
        parts.append(_NEIGHBOR.format(peer=peer, config=config, extra=_extra(peer), families=families))
    return "\n".join(parts)


def _families(peer: PeerConfig) -> Iterator[str]:
    yield "ipv4"
    if peer.local_address6 is not None:
        yield "ipv6"


def _extra(peer: PeerConfig) -> str:
    lines = []
    if peer.port != 179:
        lines.append(f"connect {peer.port};")
    if peer.md5 is not None:
        lines.append(f"md5-password {peer.md5};")
    if peer.ttl_security:
        lines += ["outgoing-ttl 255;", "incoming-ttl 255;"]
    return "".join(f"    {line}\n" for line in lines)


def environment(user: str, env_file: str) -> dict[str, str]:
    """ExaBGP's whole environment. Nothing of the daemon's own leaks into it, nor a machine-wide exabgp.env.

    Errors only in the log, to stderr: at DEBUG it prints the MD5 key. No FIFO, no listening socket, no PID file.
    """
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "EXABGP_ENVFILE": env_file,
        "exabgp_daemon_user": user,
        "exabgp_daemon_drop": "true",
        "exabgp_api_ack": "true",
        "exabgp_api_cli": "false",
        "exabgp_api_respawn": "true",
        "exabgp_api_terminate": "false",
        "exabgp_log_destination": "stderr",
        "exabgp_log_level": "ERROR",
        "exabgp_log_short": "false",
        "exabgp_reactor_speed": "0.1",
        "exabgp_tcp_bind": "",
    }
