"""The rendering of a speaker's configuration as an ExaBGP 5.0 configuration and environment."""

import re
from collections.abc import Iterator, Mapping, Sequence

from bgp.speaker_config import PeerConfig, SpeakerConfig, SpeakerConfigError

__all__ = ["PeerConfig", "SpeakerConfig", "SpeakerConfigError", "environment", "render"]

_WORD = re.compile(r"[A-Za-z0-9_./:@%+=,-]+")

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
{nexthop}    capability {{
        graceful-restart {restart};
        route-refresh enable;
        add-path disable;
    }}
    api {{
        processes [ relay ];
        neighbor-changes;
    }}
}}
"""


def render(config: SpeakerConfig, relay: Sequence[str], keys: Mapping[str, str] | None = None) -> str:
    """The configuration file; `relay` is the relay's argument vector with an absolute program path.

    `keys` are MD5 keys by the peer's name, of peers that have theirs in a file. Raises SpeakerConfigError for words
    that ExaBGP's tokeniser would split or take for syntax.
    """
    restart = [] if config.graceful_restart is None else [f"graceful={config.graceful_restart}"]
    argv = [*relay, *restart, *(str(prefix) for prefix in config.prefixes)]
    for word in [*argv, *(peer.name for peer in config.peers)]:
        if _WORD.fullmatch(word) is None:
            raise SpeakerConfigError(f"{word!r} cannot stand in ExaBGP's configuration, expected {_WORD.pattern}")
    parts = [_PROCESS.format(run=" ".join(argv))]
    parts += [_neighbor(config, peer, (keys or {}).get(peer.name, peer.md5)) for peer in config.peers]
    return "\n".join(parts)


def _neighbor(config: SpeakerConfig, peer: PeerConfig, key: str | None) -> str:
    restart = config.graceful_restart
    return _NEIGHBOR.format(
        peer=peer,
        config=config,
        extra="".join(f"    {line}\n" for line in _extra(peer, key, restart is not None)),
        families="".join(f"        {family} unicast;\n" for family in _families(peer)),
        nexthop="    nexthop {\n        ipv4 unicast ipv6;\n    }\n" if peer.extended_next_hop else "",
        restart="disable" if restart is None else restart,
    )


def _families(peer: PeerConfig) -> Iterator[str]:
    yield "ipv4"
    if peer.next_hop(6) is not None:
        yield "ipv6"


def _extra(peer: PeerConfig, key: str | None, manual_eor: bool) -> Iterator[str]:
    if peer.passive:
        yield "passive true;"
        yield f"listen {peer.listen};"
    elif peer.port != 179:
        yield f"connect {peer.port};"
    if peer.interface is not None:
        yield f"source-interface {peer.interface};"
    if key is not None:
        yield f"md5-password {key};"
    hops = peer.multihop or 1
    if peer.ttl_security:
        yield "outgoing-ttl 255;"
        yield f"incoming-ttl {256 - hops};"
    elif peer.multihop is not None:
        yield f"outgoing-ttl {hops};"
    if manual_eor:
        yield "manual-eor true;"


def environment(user: str, env_file: str) -> dict[str, str]:
    """ExaBGP's whole environment. Nothing of the daemon's own leaks into it, nor a machine-wide exabgp.env.

    Errors only in the log, to stderr: at DEBUG it prints the MD5 key. No FIFO, no listening socket, no PID file.
    While it loads it looks its host's name up: a name server out of reach costs it a second, not the ten of the default,
    in which the supervisor would give it up each time.
    """
    return {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "LOCALDOMAIN": "",
        "RES_OPTIONS": "timeout:1 attempts:1",
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
