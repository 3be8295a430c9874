"""What the read-back is told: which routers to hear or ask, and about what. One JSON line carries it to the station."""

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from bgp.route import Address, Prefix, parse_prefix

PORT: Final = 11019
"""What most routers' manuals use; BMP has no port of its own."""


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """One router. Its BMP session comes from `address`; `peers` are the addresses at which it is our BGP peer.

    `local` are our addresses of those sessions. `pre_only`: it sends its adj-rib-in before policy only, so that
    accepted means received.
    """

    name: str
    address: Address
    peers: tuple[Address, ...]
    local: tuple[Address, ...]
    pre_only: bool = False


@dataclass(frozen=True, slots=True)
class ReadBackConfig:
    """The read-back of one node. Times are in seconds.

    `listen` is where routers connect, None without BMP. `command` is asked every `interval` instead and must answer
    within `limit`. After a lost session a router's facts hold for `grace`; a session without a word for `silence` is
    none. `origins` are the other ASs that may announce our prefixes. `user` runs the station. `router_id` is ours: the
    command names announcers so.
    """

    asn: int
    router_id: IPv4Address
    prefixes: tuple[Prefix, ...]
    routers: tuple[RouterConfig, ...]
    listen: Address | None = None
    port: int = PORT
    command: tuple[str, ...] = ()
    interval: float = 10.0
    limit: float = 5.0
    grace: float = 5.0
    silence: float = 60.0
    origins: tuple[int, ...] = ()
    user: str | None = "nobody"


def to_line(config: ReadBackConfig) -> bytes:
    """One line for the station, without what only the daemon needs."""
    routers = [
        {"name": r.name, "address": str(r.address), "local": [str(a) for a in r.local], "pre_only": r.pre_only}
        for r in config.routers
    ]
    plain = {
        "asn": config.asn,
        "router_id": str(config.router_id),
        "prefixes": [str(prefix) for prefix in config.prefixes],
        "routers": routers,
        "listen": None if config.listen is None else str(config.listen),
        "port": config.port,
        "command": list(config.command),
        "interval": config.interval,
        "limit": config.limit,
        "silence": config.silence,
        "origins": list(config.origins),
    }
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> ReadBackConfig:
    """Undo `to_line`; trusts the daemon that wrote it."""
    plain: dict[str, Any] = json.loads(line)
    routers = tuple(
        RouterConfig(r["name"], ip_address(r["address"]), (), tuple(map(ip_address, r["local"])), r["pre_only"])
        for r in plain["routers"]
    )
    listen: IPv4Address | IPv6Address | None = ip_address(plain["listen"]) if plain["listen"] else None
    return ReadBackConfig(
        asn=plain["asn"],
        router_id=IPv4Address(plain["router_id"]),
        prefixes=tuple(map(parse_prefix, plain["prefixes"])),
        routers=routers,
        listen=listen,
        port=plain["port"],
        command=tuple(plain["command"]),
        interval=plain["interval"],
        limit=plain["limit"],
        silence=plain["silence"],
        origins=tuple(plain["origins"]),
    )
