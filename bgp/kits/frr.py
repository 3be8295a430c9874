"""A router kit for FRR 8.4 or later, to be read by `vtysh -f` or merged into frr.conf (core: no I/O).

The guards R1 to R17 are told in docs/routers.md. All names begin with FAIRHOP, so that nothing of the operator's is
touched.
"""

from collections.abc import Iterator
from typing import Final

from bgp.attributes import BLACKHOLE, GRACEFUL_SHUTDOWN, NO_EXPORT
from bgp.kits.model import DISCARD, Bfd, KitError, KitInput, Session
from bgp.kits.notes import header

# Kernel next-hop groups lose an ECMP member for good at an interface flap (8.4.4), hence none; `zebra work-queue 0`
# saves 10 ms a change. bgpd holds all sessions back while a route-map update is pending, 5 s unless told otherwise.
_HEAD: Final = """\
frr defaults traditional
zebra work-queue 0
bgp route-map delay-timer 1
"""
_NO_GROUPS: Final = "no zebra nexthop kernel enable\n"

_LISTS: Final = """\
bgp large-community-list expanded FAIRHOP-ANY-LARGE seq 5 permit .*
route-map FAIRHOP-NOTHING deny 10
exit
"""

_MAP: Final = """\
route-map {name} permit {seq}
 match as-path FAIRHOP-AS-{asn}
 match {ip} address prefix-list {prefixes}
"""

_STRIP: Final = """\
 set comm-list FAIRHOP-FOREIGN delete
 set large-comm-list FAIRHOP-ANY-LARGE delete
"""
_STRIP_EXTENDED: Final = " set extcommunity none\n"

_FASTEST: Final = 10  # milliseconds between BFD packets
_NAMES: Final = {
    GRACEFUL_SHUTDOWN: "graceful-shutdown",
    NO_EXPORT: "no-export",
    BLACKHOLE: "blackhole",
    "65535:65282": "no-advertise",
    "65535:65284": "no-peer",
}
_WORDS: Final = {4: "ip", 6: "ipv6"}


def render(kit: KitInput) -> str:
    """The whole file. Raises KitError for what FRR does not do."""
    weighted = ", ".join(session.edge for session in kit.sessions if session.weight is not None)
    if weighted:
        why = "FRR 8.4 takes weights from the edges alone"
        instead = "`bandwidth:` in the announcer.attributes of every edge, and trust in it here"
        raise KitError([f"edges {weighted} have weights: {why}; expected {instead}"])
    keyed = ", ".join(session.edge for session in kit.sessions if session.bfd and session.bfd_auth)
    if keyed:
        raise KitError([f"edges {keyed} authenticate BFD, which FRR 8.4 cannot: expected no bfd.auth for this router"])
    head = _HEAD if _needs_groups(kit) else _HEAD + _NO_GROUPS
    sections = [
        header(kit, "!", "frr", _by_hand(kit)),
        head,
        "".join(_bfd(kit)),
        "".join(_statics(kit)),
        "".join(_lists(kit)),
    ]
    sections += ["".join(_route_map(kit, session, version)) for session in kit.sessions for version in session.families]
    return "!\n".join(section for section in [*sections, "".join(_bgp(kit))] if section)


def _needs_groups(kit: KitInput) -> bool:
    """Without next-hop groups FRR 8.4.4 sends RFC 8950 routes to 169.254.0.1, where nobody is."""
    return any(session.extended_next_hop for session in kit.sessions)


def filtered(kit: KitInput) -> tuple[Session, ...]:
    """The sessions whose GTSM is in nftables: beside `ttl-security` FRR 8.4.4 makes their BFD multihop.

    That never comes up with an edge on the link, and without a word from BFD FRR takes the routes all the same.
    """
    return tuple(one for one in kit.sessions if one.gtsm and one.bfd is not None and one.multihop is None)


def nft(kit: KitInput) -> str:
    """GTSM (RFC 5082) of the `filtered` sessions for `nft -f`, as often as one likes. Empty where there are none."""
    rules: dict[str, list[str]] = {"input": [], "output": []}
    for one in filtered(kit):
        family, ttl = ("ip", "ttl") if one.address.version == 4 else ("ip6", "hoplimit")
        for port in ("sport", "dport"):
            rules["input"].append(f"{family} saddr {one.address} tcp {port} 179 {family} {ttl} != 255 drop")
            rules["output"].append(f"{family} daddr {one.address} tcp {port} 179 {family} {ttl} set 255")
    if not filtered(kit):
        return ""
    chains = [
        f"  chain {hook} {{\n    type filter hook {hook} priority mangle;\n"
        + "".join(f"    {line}\n" for line in lines)
        + "  }\n"
        for hook, lines in rules.items()
    ]
    return (
        "table inet fairhop_gtsm\ndelete table inet fairhop_gtsm\ntable inet fairhop_gtsm {\n" + "".join(chains) + "}\n"
    )


def _by_hand(kit: KitInput) -> Iterator[str]:
    if filtered(kit):
        yield (
            f"edges {', '.join(one.edge for one in filtered(kit))}: their GTSM is in nftables, as FRR 8.4 has no BFD "
            "beside ttl-security: load what `--nft` prints; until then their sessions stay down."
        )
    if _needs_groups(kit):
        yield (
            "IPv4 VIPs have IPv6 next hops, for which FRR needs kernel next-hop groups, and these lose an ECMP member "
            "at an interface flap (8.4.4): local_address4 of every edge avoids both."
        )


def _profile(bfd: Bfd) -> str:
    return f"FAIRHOP-{bfd.receive_ms}-{bfd.transmit_ms}-{bfd.multiplier}"


def _bfd(kit: KitInput) -> Iterator[str]:
    profiles = sorted({session.bfd for session in kit.sessions if session.bfd})
    if profiles:
        yield "bfd\n"
    for bfd in profiles:
        yield f" profile {_profile(bfd)}\n  detect-multiplier {bfd.multiplier}\n"
        receive, transmit = max(_FASTEST, bfd.receive_ms), max(_FASTEST, bfd.transmit_ms)
        yield f"  receive-interval {receive}\n  transmit-interval {transmit}\n exit\n"
    if profiles:
        yield "exit\n"


def _statics(kit: KitInput) -> Iterator[str]:
    for version in kit.families:
        for prefix in kit.aggregates(version):
            yield f"{_WORDS[version]} route {prefix} blackhole\n"
        if any(kit.blackholes(session) for session in kit.carrying(version)):
            yield f"{_WORDS[version]} route {DISCARD[version]}/{32 if version == 4 else 128} blackhole\n"


def _lists(kit: KitInput) -> Iterator[str]:
    for session in kit.sessions:
        for version in session.families:
            for number, vip in enumerate(session.prefixes(version), 1):
                yield f"{_WORDS[version]} prefix-list {_prefixes(session, version)} seq {5 * number} permit {vip}\n"
    for asn in kit.asns:
        yield f"bgp as-path access-list FAIRHOP-AS-{asn} seq 5 permit ^{asn}(_{asn})*$\n"
    for number, community in enumerate(map(_named, kit.kept_communities), 1):
        yield f"bgp community-list expanded FAIRHOP-FOREIGN seq {5 * number} deny ^{community}$\n"
    yield f"bgp community-list expanded FAIRHOP-FOREIGN seq {5 * len(kit.kept_communities) + 5} permit .*\n"
    if any(kit.blackholes(session) for session in kit.sessions):
        yield f"bgp community-list standard FAIRHOP-BLACKHOLE seq 5 permit {_named(BLACKHOLE)}\n"
    yield _LISTS


def _route_map(kit: KitInput, session: Session, version: int) -> Iterator[str]:
    """Only the edge's own VIPs, only as its own, only from itself; of its communities only the own set stays."""
    words = {"name": _import(session, version), "asn": session.asn, "ip": _WORDS[version]}
    start = {**words, "prefixes": _prefixes(session, version)}
    if kit.blackholes(session):
        yield _MAP.format(seq=5, **start) + " match community FAIRHOP-BLACKHOLE\n"
        yield f" set {_WORDS[version]} next-hop {'global ' if version == 6 else ''}{DISCARD[version]}\n"
        yield f" set local-preference 200\n{_STRIP}{_STRIP_EXTENDED} set community no-export additive\nexit\n"
    yield _MAP.format(seq=10, **start)
    yield from _next_hop(session, version)
    yield _STRIP
    if not kit.options.trust_bandwidth:
        yield _STRIP_EXTENDED
    if kit.options.site_scope:
        yield " set community no-export additive\n"
    yield "exit\n"


def _next_hop(session: Session, version: int) -> Iterator[str]:
    if session.address.version == 4 and version == 4:
        yield " set ip next-hop peer-address\n"
    elif session.address.version == 4:  # there is no IPv6 `peer-address` on an IPv4 session
        yield f" set ipv6 next-hop global {session.next_hop(6)}\n set ipv6 next-hop prefer-global\n"
    elif version == 4 and not session.extended_next_hop:
        yield f" set ip next-hop {session.next_hop(4)}\n"
    else:
        yield " set ipv6 next-hop peer-address\n"
        if not session.address.is_link_local:
            yield " set ipv6 next-hop prefer-global\n"


def _bgp(kit: KitInput) -> Iterator[str]:
    yield f"router bgp {kit.asn}\n"
    if kit.router_id is not None:  # FRR has one already, and another would reset every session
        yield f" bgp router-id {kit.router_id}\n"
    yield " bgp log-neighbor-changes\n"
    if len(kit.asns) > 1:  # else edges of different ASNs neither balance nor compare their MED
        yield " bgp bestpath as-path multipath-relax\n bgp always-compare-med\n"
    yield " neighbor FAIRHOP peer-group\n"
    yield f" neighbor FAIRHOP timers {kit.keepalive} {kit.hold_time}\n"
    yield " neighbor FAIRHOP advertisement-interval 0\n"
    for session in kit.sessions:
        yield from (f" neighbor {session.address} {line}\n" for line in _session(kit, session))
    for version in kit.families:
        yield f" !\n address-family ipv{version} unicast\n"
        yield from (f"  network {prefix}\n" for prefix in kit.aggregates(version))
        yield f"  maximum-paths {kit.options.max_paths}\n"
        for session in kit.sessions:
            lines = _family(kit, session, version)
            yield from (f"  {line}\n" for line in lines)
        yield " exit-address-family\n"
    yield "exit\n"


def _session(kit: KitInput, session: Session) -> Iterator[str]:
    yield f"remote-as {session.asn}"
    yield "peer-group FAIRHOP"
    if session.interface is not None:
        yield f"interface {session.interface}"
    yield f"description {session.edge}"
    yield from _connection(session, in_nft=session in filtered(kit))
    if session.has_md5:
        yield f"password {session.md5 or session.placeholder}"
    if session.bfd is not None:
        yield "bfd"
        yield f"bfd profile {_profile(session.bfd)}"
    if session.extended_next_hop:
        yield "capability extended-nexthop"
    if kit.options.roles:
        yield "local-role provider"
    yield "graceful-restart-helper" if kit.options.graceful_restart else "graceful-restart-disable"
    if kit.blackholes(session) and session.multihop is None:
        yield "disable-connected-check"  # the discard next hop is on no link


def _connection(session: Session, *, in_nft: bool) -> Iterator[str]:
    if not session.edge_passive:  # one side calls: no collisions at the start
        yield "passive"
    else:
        yield "timers connect 1"  # else a call that fails is repeated after 120 s
        if session.port != 179:
            yield f"port {session.port}"
    if session.gtsm and not in_nft:
        yield f"ttl-security hops {session.multihop or 1}"
    elif session.multihop is not None:
        yield f"ebgp-multihop {session.multihop}"


def _family(kit: KitInput, session: Session, version: int) -> Iterator[str]:
    peer = f"neighbor {session.address}"
    if version not in session.families:
        if version == 4:  # FRR activates that one by itself
            yield f"no {peer} activate"
        return
    yield f"{peer} activate"
    yield f"{peer} route-map {_import(session, version)} in"
    yield f"{peer} route-map FAIRHOP-NOTHING out"
    # Not with `force`, which is to count what the policy refuses too: 8.4.4 counts that of every other edge as well, so
    # that one edge's flood takes the others down. What is refused is not kept, so a flood costs no memory.
    options = kit.options
    bound = f"{kit.limit(session, version)} {options.warning_percent} restart {options.restart_minutes}"
    yield f"{peer} maximum-prefix {bound}"


def _prefixes(session: Session, version: int) -> str:
    return f"FAIRHOP-{session.edge}-{version}"


def _import(session: Session, version: int) -> str:
    return f"FAIRHOP-FROM-{session.edge}-{version}"


def _named(community: str) -> str:
    """A community in FRR's words, which its expressions match."""
    return _NAMES.get(community, community)
