"""What routers are told of a VIP in each stance, and what the speaker is told of the node (core: no I/O)."""

from functools import lru_cache
from typing import Final, Literal, TypeVar

from bgp.digest import community
from bgp.route import BLACKHOLE, GRACEFUL_SHUTDOWN, NO_EXPORT, Attributes, Prefix, Route, RouteError
from bgp.speaker_config import PeerConfig, SpeakerConfig
from edge.config import announcer as configured
from edge.config.file import AnnouncerConfig, Config
from edge.datapath.addresses import is_single
from edge.policy.announce import Stance
from edge.text.same import Same

_DEFAULTS: Final = {Stance.DEPREFERRED: configured.AttributesConfig(communities=(GRACEFUL_SHUTDOWN,))}
_ALWAYS: Final = {Stance.BLACKHOLED: (BLACKHOLE, NO_EXPORT)}
"""Communities that no configuration takes away: a blackhole stays between us and our neighbour (RFC 7999 3.2)."""
_KEY: Final[dict[Stance, Literal["announced", "de-preferred", "blackholed"]]] = {
    Stance.ANNOUNCED: "announced",
    Stance.DEPREFERRED: "de-preferred",
    Stance.BLACKHOLED: "blackholed",
}

Value = TypeVar("Value")


def route_for(announcer: AnnouncerConfig, prefix: Prefix, stance: Stance, digest: int | None = None) -> Route | None:
    """The announcement of a vip_prefix in a stance; None where it is withdrawn. It carries `digest` if there is one.

    Raises RouteError for a blackhole of more than one address (RFC 7999 3.3).
    """
    return None if stance is Stance.WITHDRAWN else _route(Same(announcer), prefix, stance, digest)


@lru_cache(maxsize=4096)  # asked for each VIP in every turn of the daemon's crank
def _route(same: Same[AnnouncerConfig], prefix: Prefix, stance: Stance, digest: int | None) -> Route:
    announcer = same.it
    if stance is Stance.BLACKHOLED and not is_single(prefix):
        raise RouteError(f"{prefix}: only a single address can be blackholed, expected a /32 or a /128")
    told = {peer.address: _said(announcer, peer, stance, digest) for peer in announcer.peers}
    common = told[announcer.peers[0].address]
    others = tuple((peer, said) for peer, said in told.items() if said != common)
    lists = (common.as_path, common.large_communities, common.extended_communities)
    return Route(prefix, "self", common.med, common.communities, *lists, overrides=others)


def _said(
    announcer: AnnouncerConfig, peer: configured.PeerConfig, stance: Stance, digest: int | None
) -> Attributes:  # fmt: skip
    """What a peer is told: single values of the stance or else as announced, communities of both."""
    own, plain = _merged(announcer, peer, stance), _merged(announcer, peer, Stance.ANNOUNCED)
    carried = () if digest is None else (community(announcer.asn, digest),)
    prepend = _first(own.prepend, plain.prepend) if peer.asn != announcer.asn else None  # a loop to our own AS
    return Attributes(
        med=_first(own.med, plain.med),
        as_path=(announcer.asn,) * (1 + prepend) if prepend else (),
        communities=(*(plain.communities or ()), *(own.communities or ()), *_ALWAYS.get(stance, ())),
        large_communities=(*(plain.large_communities or ()), *(own.large_communities or ()), *carried),
        extended_communities=(*(plain.extended_communities or ()), *(own.extended_communities or ())),
    )


def _merged(
    announcer: AnnouncerConfig, peer: configured.PeerConfig, stance: Stance
) -> configured.AttributesConfig:  # fmt: skip
    """The keys given for a stance: the peer's before the announcer's before the defaults."""
    key = _KEY[stance]
    layers = (_DEFAULTS.get(stance), announcer.attributes.get(key), peer.attributes.get(key))
    given = [layer.model_dump(exclude_none=True) for layer in layers if layer is not None]
    return configured.AttributesConfig(**{name: value for layer in given for name, value in layer.items()})


def _first(own: Value | None, other: Value | None) -> Value | None:
    return other if own is None else own


def speaker_config(config: Config) -> SpeakerConfig:
    """The speaker's part of a node's configuration. Raises SpeakerConfigError for what cannot be announced."""
    announcer = config.announcer
    restart = announcer.graceful_restart
    return SpeakerConfig(
        announcer.asn,
        announcer.router_id,
        tuple(_peer(peer) for peer in announcer.peers),
        config.prefixes,
        announcer.hold_time,
        announcer.lease,
        announcer.user,
        restart.time if restart else None,
    )


def _peer(peer: configured.PeerConfig) -> PeerConfig:
    return PeerConfig(
        peer.name,
        peer.address,
        peer.asn,
        peer.local_address,
        ttl_security=peer.ttl_security,
        port=179 if peer.passive else peer.port,
        listen=peer.port if peer.passive else 179,
        local_address6=peer.local_address6,
        local_address4=peer.local_address4,
        md5_file=peer.md5_file,
        multihop=peer.multihop,
        interface=peer.interface,
        passive=peer.passive,
    )
