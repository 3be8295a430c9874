"""What routers hold for our prefixes, as they say themselves: the values that others read.

Nothing here is trusted with more than it can tell: a router that cannot be asked makes an answer unknown, never wrong.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bgp.route import Address, Prefix


class Fault(enum.Enum):
    """What may be wrong between what a node says and what a router holds."""

    MISSING = "missing: the router holds no such route from us"
    REFUSED = "refused: the router received it and its policy did not take it"
    LINGERING = "lingering: the router still holds what we withdrew"
    DIFFERS = "differs: the router holds other attributes than we announce"
    FOREIGN = "foreign: somebody with an unexpected origin AS announces it"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference that has lasted; `since` is when it was first seen (monotonic seconds)."""

    fault: Fault
    router: str
    prefix: Prefix
    since: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RouterReport:
    """One router's facts. Where `known` is false, `reason` says why and the sets are empty; `since` is of that change.

    `accepted` are our prefixes that it took from us, `refused` those it received and did not take. `others` names the
    announcers besides us that it holds for a prefix, `node ROUTER_ID` for a direct peer and `AS N` for a farther
    origin, and whether each is leaving (GRACEFUL_SHUTDOWN). `foreign` holds the origins that nobody expects. `digests`
    are what such nodes carry of their configuration (`bgp.digest`). `peers` are its addresses as our BGP peer.
    """

    name: str
    known: bool
    since: float
    reason: str = ""
    accepted: frozenset[Prefix] = frozenset()
    refused: frozenset[Prefix] = frozenset()
    others: Mapping[Prefix, Mapping[str, bool]] = field(default_factory=dict)
    foreign: Mapping[Prefix, frozenset[int]] = field(default_factory=dict)
    digests: Mapping[Prefix, Mapping[str, int | None]] = field(default_factory=dict)
    peers: tuple[Address, ...] = ()


class Others(NamedTuple):
    """Announcers besides us: those that mean to stay, and those under GRACEFUL_SHUTDOWN (RFC 8326)."""

    staying: int
    leaving: int


@dataclass(frozen=True, slots=True)
class ReadBack:
    """All routers that were asked, and what does not fit."""

    routers: tuple[RouterReport, ...] = ()
    findings: tuple[Finding, ...] = ()

    def of_peer(self, address: Address) -> RouterReport | None:
        """The facts of the router that is our peer at an address, None if it is not asked."""
        return next((router for router in self.routers if address in router.peers), None)

    def accepted(self, prefix: Prefix) -> dict[str, bool | None]:
        """Per router: whether it took `prefix` from us, None where that is unknown."""
        return {router.name: prefix in router.accepted if router.known else None for router in self.routers}

    def others(self, prefix: Prefix) -> Others | None:
        """Who else announces `prefix`, at least, as far as any router tells; None if none can tell.

        The same announcer at two routers is one; it is leaving if it is so at any of them.
        """
        known = [router for router in self.routers if router.known]
        leaving: dict[str, bool] = {}
        for router in known:
            for name, goes in router.others.get(prefix, {}).items():
                leaving[name] = leaving.get(name, False) or goes
        return Others(len(leaving) - sum(leaving.values()), sum(leaving.values())) if known else None

    def digests(self, prefix: Prefix) -> dict[str, int | None]:
        """What each other node that announces `prefix` carries of its configuration, as far as routers tell.

        None for one that carries nothing, or different things at different routers: that passes.
        """
        found: dict[str, int | None] = {}
        for router in self.routers:
            for name, digest in router.digests.get(prefix, {}).items() if router.known else ():
                found[name] = digest if found.get(name, digest) == digest else None
        return found
