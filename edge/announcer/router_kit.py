"""From the configurations of nodes to what a router of theirs should be told (core: no I/O)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from bgp.attributes import BLACKHOLE, GRACEFUL_SHUTDOWN, NO_EXPORT
from bgp.kits.model import Bfd, KitError, KitInput, Options, Session
from edge.config.file import AnnouncerConfig, Config, PeerConfig
from edge.text.decode import nearest


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator adds to the nodes' files: per edge, by its node's name. `keys` are MD5 keys to be shown."""

    options: Options = field(default_factory=Options)
    router_id: IPv4Address | None = None
    weights: Mapping[str, int] = field(default_factory=dict)
    interfaces: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)


def edges_of(configs: Sequence[Config], peer: str | None) -> list[tuple[Config, PeerConfig]]:
    """The nodes that speak to a router, each with its side of the session; `peer` may be left out if there is but one.

    Raises KitError for a name that no node has, for two nodes of one name, and for nodes that disagree on the router.
    """
    names = list(dict.fromkeys(one.name for config in configs for one in config.announcer.peers))
    if peer is None and len(names) > 1:
        raise KitError([f"these nodes have {len(names)} peers: expected --peer with one of {', '.join(names)}"])
    wanted = names[0] if peer is None else peer
    if wanted not in names:
        raise KitError([f"no node has a peer '{wanted}'{nearest(wanted, names)}"])
    found = [(config, one) for config in configs for one in config.announcer.peers if one.name == wanted]
    problems = [*_same_names(config for config, _ in found), *_one_router(found)]
    if problems:
        raise KitError(problems)
    return found


def kit_for(configs: Sequence[Config], peer: str | None, choices: Choices) -> KitInput:
    """The kit of one router for all of its edges among the nodes. Raises KitError with all that is wrong."""
    found = edges_of(configs, peer)
    edges = [config.node for config, _ in found]
    strangers = [
        f"{what} names edge '{name}', which is none of {first.name}'s{nearest(name, edges)}"
        for what, given in (("--weight", choices.weights), ("--interface", choices.interfaces))
        for first in [found[0][1]]
        for name in given
        if name not in edges
    ]
    if strangers:
        raise KitError(strangers)
    restarts = any(config.announcer.graceful_restart for config, _ in found)
    kept = tuple(sorted({community for pair in found for community in _communities(*pair)}))
    return KitInput(
        found[0][1].name,
        found[0][1].asn,
        tuple(_session(config, one, choices) for config, one in found),
        choices.router_id,
        max(config.announcer.hold_time for config, _ in found),  # the lower of both sides is in force: the edge's own
        replace(choices.options, graceful_restart=restarts, communities=kept),
    )


def _same_names(configs: Iterable[Config]) -> Iterator[str]:
    names = [config.node for config in configs]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{names.count(name)} files are of node {name}: expected one for each edge"


def _one_router(found: Sequence[tuple[Config, PeerConfig]]) -> Iterator[str]:
    first_config, first = found[0]
    for config, one in found[1:]:
        if one.asn != first.asn:
            yield (
                f"node {config.node} has AS {one.asn} for {one.name}, node {first_config.node} has {first.asn}: "
                "expected one ASN"
            )


def _session(config: Config, peer: PeerConfig, choices: Choices) -> Session:
    announcer = config.announcer
    return Session(
        config.node,
        peer.local_address,
        peer.address,
        announcer.asn,
        config.prefixes,
        next_hop6=peer.local_address6,
        next_hop4=peer.local_address4,
        has_md5=peer.md5_file is not None,
        md5=choices.keys.get(config.node),
        gtsm=peer.ttl_security,
        multihop=peer.multihop,
        bfd=_bfd(announcer, peer),
        bfd_auth=peer.bfd != "off" and peer.bfd.auth is not None,
        edge_passive=peer.passive,
        port=peer.port if peer.passive else 179,
        interface=choices.interfaces.get(config.node),
        weight=choices.weights.get(config.node),
    )


def _bfd(announcer: AnnouncerConfig, peer: PeerConfig) -> Bfd | None:
    """The router's side: it receives as often as the edge transmits."""
    if announcer.bfd is None or peer.bfd == "off":
        return None
    transmit, receive = peer.bfd.tx or announcer.bfd.tx, peer.bfd.rx or announcer.bfd.rx
    multiplier = peer.bfd.multiplier or announcer.bfd.multiplier
    return Bfd(round(1000 * transmit), round(1000 * receive), multiplier)


def _communities(config: Config, peer: PeerConfig) -> Iterator[str]:
    """The communities that a node is told to send, beyond those that every kit keeps or acts upon."""
    for attributes in (config.announcer.attributes, peer.attributes):
        for stance in attributes.values():
            yield from {*(stance.communities or ())} - {GRACEFUL_SHUTDOWN, NO_EXPORT, BLACKHOLE}
