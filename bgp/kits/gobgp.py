"""A router kit for GoBGP 3.10 or later: a gobgpd.toml (core: no I/O).

GoBGP has policies for the whole daemon only, so each is bound to its edge by a set of one neighbour, and what no policy
takes is refused. The guards R1 to R17, and which of them GoBGP cannot hold, are told in docs/routers.md.
"""

import json
from collections.abc import Iterator
from typing import Final

from bgp.attributes import GRACEFUL_SHUTDOWN, NO_EXPORT
from bgp.kits.model import KitInput, Session
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

_GSHUT_ONLY: Final = """\
[policy-definitions.statements.conditions.bgp-conditions.match-community-set]
community-set = "fairhop-gshut"
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
"""


def render(kit: KitInput) -> str:
    """The whole file."""
    policies = ", ".join(_quoted(f"fairhop-from-{session.edge}") for session in kit.sessions)
    parts = [header(kit, "#", "gobgp"), _GLOBAL.format(asn=kit.asn, router_id=kit.identifier, policies=policies)]
    parts += _sets(kit)
    parts += [_policy(kit, session) for session in kit.sessions]
    parts += ["".join(f"{line}\n" for line in _neighbor(kit, session)) + "\n" for session in kit.sessions]
    return "".join(parts)


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
    yield '[[defined-sets.bgp-defined-sets.community-sets]]\ncommunity-set-name = "fairhop-gshut"\n'
    yield f'community-list = ["^{GRACEFUL_SHUTDOWN}$"]\n\n'


def _policy(kit: KitInput, session: Session) -> str:
    """Only the edge's own VIPs, only as its own, only from itself; its communities are replaced by our own."""
    text = f'[[policy-definitions]]\nname = "fairhop-from-{session.edge}"\n'
    scope = [NO_EXPORT] if kit.options.site_scope else []
    for version in session.families:
        for drained in (True, False):
            name = f"{session.edge}-{version}{'-gshut' if drained else ''}"
            text += _STATEMENT.format(
                name=name, edge=session.edge, version=version, asn=session.asn, next_hop=session.next_hop(version)
            )
            kept = [GRACEFUL_SHUTDOWN, *scope] if drained else scope
            text += _GSHUT_ONLY if drained else ""
            text += _ACTIONS.format(communities=", ".join(map(_quoted, kept)))
            if drained:  # a local preference of 0 is taken as none given
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
    yield from ("[neighbors.timers.config]", f"hold-time = {kit.hold_time}", f"keepalive-interval = {kit.keepalive}")
    yield f"idle-hold-time-after-reset = {60 * kit.options.restart_minutes}"
    yield from ("[neighbors.as-path-options.config]", "allow-own-as = 0")
    yield from ("[neighbors.error-handling.config]", "treat-as-withdraw = true")
    hops = session.multihop or 1
    if session.gtsm:
        yield from ("[neighbors.ttl-security.config]", "enabled = true", f"ttl-min = {256 - hops}")
    elif session.multihop is not None:
        yield from ("[neighbors.ebgp-multihop.config]", "enabled = true", f"multihop-ttl = {hops}")
    if kit.options.graceful_restart:
        yield from ("[neighbors.graceful-restart.config]", "enabled = true", "helper-only = true")
    for version in session.families:
        yield from ("[[neighbors.afi-safis]]", "[neighbors.afi-safis.config]", f'afi-safi-name = "ipv{version}-unicast"')
        yield from ("[neighbors.afi-safis.prefix-limit.config]", f"max-prefixes = {kit.limit(session, version)}")
        yield f"shutdown-threshold-pct = {kit.options.warning_percent}"
