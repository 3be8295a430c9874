"""What routers are told of a VIP in each stance, and what the speaker is told of the node (core: no I/O)."""

from bgp import exabgp_conf
from bgp.route import GRACEFUL_SHUTDOWN, Prefix, Route
from edge.announce import Stance
from edge.config import AnnouncerConfig, Config


def route_for(announcer: AnnouncerConfig, prefix: Prefix, stance: Stance) -> Route | None:
    """The announcement of a vip_prefix in a stance; None where it is withdrawn."""
    if stance is Stance.WITHDRAWN:
        return None
    return Route(prefix, communities=(GRACEFUL_SHUTDOWN,) if stance is Stance.DEPREFERRED else ())


def speaker_config(config: Config) -> exabgp_conf.SpeakerConfig:
    """The speaker's part of a node's configuration. Raises SpeakerConfigError for what cannot be announced."""
    announcer = config.announcer
    peers = (
        exabgp_conf.PeerConfig(p.name, p.address, p.asn, p.local_address, local_address6=p.local_address6)
        for p in announcer.peers
    )
    return exabgp_conf.SpeakerConfig(
        announcer.asn,
        announcer.router_id,
        tuple(peers),
        config.prefixes,
        announcer.hold_time,
        announcer.lease,
        announcer.user,
    )
