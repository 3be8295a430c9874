"""What the processes beside ExaBGP are told of a node: BFD, and the station that reads routers back (core: no I/O)."""

from collections.abc import Mapping
from ipaddress import IPv4Address

from bgp.bfd.auth import BfdAuth
from bgp.bfd.config import BfdConfig, BfdPeer
from bgp.bfd.gate import Source
from bgp.bfd.packet import AuthType
from bgp.bmp.config import ReadBackConfig, RouterConfig
from edge.config.announcer import PeerBfdConfig, PeerConfig
from edge.config.file import Config

_AUTH = {
    "password": AuthType.PASSWORD,
    "sha1": AuthType.SHA1,
    "meticulous-sha1": AuthType.METICULOUS_SHA1,
}


def bfd_config(config: Config, keys: Mapping[str, str]) -> BfdConfig | None:
    """BFD's part of a configuration, with each peer's key by its name; None where no peer has BFD.

    Raises BfdConfigError.
    """
    common = config.announcer.bfd
    if common is None:
        return None
    peers = tuple(
        BfdPeer(
            peer.name,
            peer.address,
            peer.local_address,
            peer.interface,
            own.tx or common.tx,
            own.rx or common.rx,
            own.multiplier or common.multiplier,
            multihop=peer.multihop is not None,
            auth=_auth(own, keys.get(peer.name, "")),
        )
        for peer, own in with_bfd(config)
    )
    beat = common.heartbeat
    gate = tuple(Source(name, beat.interval, beat.misses) for name in ("daemon", "forwarder"))
    return BfdConfig(peers, gate, user=config.announcer.user) if peers else None


def with_bfd(config: Config) -> list[tuple[PeerConfig, PeerBfdConfig]]:
    """The peers that BFD watches, and what each has of its own."""
    return [(peer, peer.bfd) for peer in config.announcer.peers if peer.bfd != "off"]


def _auth(own: PeerBfdConfig, key: str) -> BfdAuth | None:
    return BfdAuth(_AUTH[own.auth.type], own.auth.key_id, key.encode("ascii")) if own.auth else None


def read_back_config(config: Config) -> ReadBackConfig | None:
    """The read-back's part of a configuration; None where no router is asked."""
    announcer = config.announcer
    asked = announcer.read_back
    if asked is None:
        return None
    peers = {peer.name: peer for peer in announcer.peers}
    routers = [
        RouterConfig(
            one.name,
            one.address,
            tuple(peers[name].address for name in one.peers),
            tuple(peers[name].local_address for name in one.peers),
            one.pre_only,
        )
        for one in asked.routers
    ] or [RouterConfig(p.name, p.address, (p.address,), (p.local_address,)) for p in announcer.peers]
    return ReadBackConfig(
        asn=announcer.asn,
        router_id=IPv4Address(announcer.router_id),
        prefixes=config.prefixes,
        routers=tuple(routers),
        listen=asked.listen,
        port=asked.port,
        command=asked.command,
        interval=asked.interval,
        limit=asked.limit,
        grace=asked.grace,
        origins=asked.origins,
        user=announcer.user,
    )
