"""A router kit for GoBGP 3.10 or later: a gobgpd.toml (core: no I/O).

GoBGP has policies for the whole daemon only, so each is bound to its edge by a set of one neighbour, and what no policy
takes is refused. The guards R1 to R17, and which of them GoBGP cannot hold, are told in docs/routers.md.
"""

import json
from collections.abc import Iterator
from typing import Final

from bgp.attributes import GRACEFUL_SHUTDOWN, NO_EXPORT
from bgp.kits.model import KitError, KitInput, Session
from bgp.kits.notes import header

_GLOBAL: Final = """\
[global.config]
as = {asn}
router-id = "{router_id}"

[global.use-multiple-paths.config]
enabled = true

[global.apply-policy.config]
import-policy-list = [{policies}]
default-import-policy = "reject-route"
export-policy-list = []
default-export-policy = "reject-route"

"""

_STATEMENT: Final = """\
[[policy-definitions.statements]]
name = "{name}"
[policy-definitions.statements.conditions.match-prefix-set]
prefix-set = "fairhop-vips-{edge}-{version}"
[policy-definitions.statements.conditions.match-neighbor-set]
neighbor-set = "fairhop-edge-{edge}"
[policy-definitions.statements.conditions.bgp-conditions]
next-hop-in-list = ["{next_hop}"]
[policy-definitions.statements.conditions.bgp-conditions.match-as-path-set]
as-path-set = "fairhop-as-{asn}"
"""

_CARRYING: Final = """\
[policy-definitions.statements.conditions.bgp-conditions.match-community-set]
community-set = "fairhop-{words}"
match-set-options = "all"
"""

_ACTIONS: Final = """\
[policy-definitions.statements.actions]
route-disposition = "accept-route"
[policy-definitions.statements.actions.bgp-actions.set-community]
options = "replace"
[policy-definitions.statements.actions.bgp-actions.set-community.set-community-method]
communities-list = [{communities}]
[policy-definitions.statements.actions.bgp-actions.set-large-community]
options = "remove"
[policy-definitions.statements.actions.bgp-actions.set-large-community.set-large-community-method]
communities-list = ["^.*$"]
[policy-definitions.statements.actions.bgp-actions.set-ext-community]
options = "remove"
[policy-definitions.statements.actions.bgp-actions.set-ext-community.set-ext-community-method]
communities-list = ["rt:^.*$", "soo:^.*$", "encap:^.*$", "lb:^.*$"]
"""


def render(kit: KitInput) -> str:
    """The whole file. Raises KitError for what GoBGP does not have."""
    missing = [*_missing(kit)]
    if missing:
        raise KitError(missing)
    policies = ", ".join(_quoted(f"fairhop-from-{session.edge}") for session in kit.sessions)
    parts = [header(kit, "#", "gobgp", _by_hand(kit))]
    parts.append(_GLOBAL.format(asn=kit.asn, router_id=kit.identifier, policies=policies))
    if len(kit.asns) > 1:
        parts.append("[global.route-selection-options.config]\nalways-compare-med = true\n\n")
    parts += _sets(kit)
    parts += [_policy(kit, session) for session in kit.sessions]
    parts += ["".join(f"{line}\n" for line in _neighbor(kit, session)) + "\n" for session in kit.sessions]
    return "".join(parts)


def _missing(kit: KitInput) -> Iterator[str]:
    """What must not be left out in silence."""
    options = kit.options
    if options.blackhole_edges:
        names = ", ".join(sorted(options.blackhole_edges))
        yield f"GoBGP discards no packets: expected no edges that may blackhole, not {names}"
    if options.trust_bandwidth or any(session.weight for session in kit.sessions):
        yield "GoBGP gives its paths no weights: expected none, and no trust in bandwidths"
    for session in kit.sessions:
        if session.interface is not None:
            yield f"edge {session.edge}: a session by interface {session.interface} is not rendered for GoBGP"


def _by_hand(kit: KitInput) -> Iterator[str]:
    yield "GoBGP installs nothing in the kernel by itself: connect it to zebra, or let something read its table."
    yield "the policies are the daemon's: what else it speaks to needs policies of its own in both lists."
    if any(session.bfd for session in kit.sessions):
        yield f"GoBGP has no BFD: an edge that dies in silence is noticed after {kit.hold_time} s."
    if kit.options.graceful_restart:
        yield "without BFD graceful restart stays off: routes of an announcer that restarts are gone for a moment."
    if kit.options.roles:
        yield "GoBGP knows no roles (RFC 9234)."
    if kit.options.communities:
        yield f"GoBGP cannot keep {', '.join(kit.options.communities)} of what an edge sends: they are taken away."
    for prefix in kit.options.aggregates:
        yield f"GoBGP has no static routes: say `gobgp global rib add {prefix}` whenever it starts."


def _quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text)


def _sets(kit: KitInput) -> Iterator[str]:
    for session in kit.sessions:
        peer = f"{session.address}/{session.address.max_prefixlen}"
        yield f'[[defined-sets.neighbor-sets]]\nneighbor-set-name = "fairhop-edge-{session.edge}"\n'
        yield f'neighbor-info-list = ["{peer}"]\n\n'
        for version in session.families:
            yield f'[[defined-sets.prefix-sets]]\nprefix-set-name = "fairhop-vips-{session.edge}-{version}"\n'
            for vip in session.prefixes(version):
                yield f'[[defined-sets.prefix-sets.prefix-list]]\nip-prefix = "{vip}"\n'
                yield f'masklength-range = "{vip.prefixlen}..{vip.prefixlen}"\n'
            yield "\n"
    for asn in kit.asns:
        yield f'[[defined-sets.bgp-defined-sets.as-path-sets]]\nas-path-set-name = "fairhop-as-{asn}"\n'
        yield f'as-path-list = ["^{asn}(_{asn})*$"]\n\n'
    for words in (kept for kept in _variants(kit) if kept):
        yield f'[[defined-sets.bgp-defined-sets.community-sets]]\ncommunity-set-name = "fairhop-{_named(words)}"\n'
        yield f"community-list = [{', '.join(_quoted(f'^{word}$') for word in words)}]\n\n"


def _variants(kit: KitInput) -> list[tuple[str, ...]]:
    """The sets of own communities that a route may come with and keep, the largest first."""
    if kit.options.site_scope:
        return [(GRACEFUL_SHUTDOWN,), ()]
    return [(GRACEFUL_SHUTDOWN, NO_EXPORT), (GRACEFUL_SHUTDOWN,), (NO_EXPORT,), ()]


def _named(words: tuple[str, ...]) -> str:
    return "-".join({GRACEFUL_SHUTDOWN: "gshut", NO_EXPORT: "no-export"}[word] for word in words)


def _policy(kit: KitInput, session: Session) -> str:
    """Only the edge's own VIPs, only as its own, only from itself; its communities are replaced by our own."""
    text = f'[[policy-definitions]]\nname = "fairhop-from-{session.edge}"\n'
    scope = [NO_EXPORT] if kit.options.site_scope else []
    for version in session.families:
        for words in _variants(kit):
            name = "-".join(filter(None, (session.edge, str(version), _named(words))))
            text += _STATEMENT.format(
                name=name, edge=session.edge, version=version, asn=session.asn, next_hop=session.next_hop(version)
            )
            text += _CARRYING.format(words=_named(words)) if words else ""
            text += _ACTIONS.format(communities=", ".join(map(_quoted, [*words, *scope])))
            if GRACEFUL_SHUTDOWN in words:  # a local preference of 0 is taken as none given
                text += "[policy-definitions.statements.actions.bgp-actions]\nset-local-pref = 1\n"
    return text + "\n"


def _neighbor(kit: KitInput, session: Session) -> Iterator[str]:
    yield "[[neighbors]]"
    yield from ("[neighbors.config]", f'neighbor-address = "{session.address}"', f"peer-as = {session.asn}")
    yield f'description = "fairhop edge {session.edge}"'
    if session.has_md5:
        yield f"auth-password = {_quoted(session.md5 or session.placeholder)}"
    yield from ("[neighbors.transport.config]", f'local-address = "{session.router}"')
    yield f"passive-mode = {'false' if session.edge_passive else 'true'}"
    if session.edge_passive and session.port != 179:
        yield f"remote-port = {session.port}"
    yield from ("[neighbors.timers.config]", f"hold-time = {kit.hold_time}", f"keepalive-interval = {kit.keepalive}")
    yield "idle-hold-time-after-reset = 1"  # its default of 30 s keeps an edge away that only restarted
    yield from ("[neighbors.as-path-options.config]", "allow-own-as = 0")
    yield from ("[neighbors.error-handling.config]", "treat-as-withdraw = true")
    hops = session.multihop or 1
    if session.gtsm:
        yield from ("[neighbors.ttl-security.config]", "enabled = true", f"ttl-min = {256 - hops}")
    elif session.multihop is not None:
        yield from ("[neighbors.ebgp-multihop.config]", "enabled = true", f"multihop-ttl = {hops}")
    for version in session.families:
        yield from ("[[neighbors.afi-safis]]", "[neighbors.afi-safis.config]")
        yield f'afi-safi-name = "ipv{version}-unicast"'
        yield from ("[neighbors.afi-safis.prefix-limit.config]", f"max-prefixes = {kit.limit(session, version)}")
        yield f"shutdown-threshold-pct = {kit.options.warning_percent}"
