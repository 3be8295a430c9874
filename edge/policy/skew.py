"""Whether this node's configuration is that of the others behind the same routers (core: no I/O).

Every node carries a digest of it in its announcements (`bgp.digest`, `edge.config.digest`), and routers that are read
back tell what the others carry. Nodes that differ send packets of one flow to different backends, and nobody else
notices. Times are monotonic seconds given by the caller.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from edge.datapath.model import IpNetwork


class Skew(Enum):
    """How the digest of a VIP stands to those of the other nodes that announce it. Worse ones come later."""

    UNKNOWN = "no router tells what another node carries"
    AGREED = "no other digest has a majority"
    SPLIT = "most other nodes have another one in common, but not most nodes: either may be wrong"
    OUTVOTED = "most nodes, this one counted, have another one in common"


@dataclass(frozen=True, slots=True)
class SkewRules:
    """A difference is an alarm after `after` seconds. `withdraw`: a node that is outvoted leaves then."""

    after: float = 60.0
    withdraw: bool = False


@dataclass(frozen=True, slots=True)
class Vote:
    """The digests of one VIP: ours, that of most others which differ (if any), and how many of `others` have it."""

    skew: Skew
    own: int
    other: int | None = None
    against: int = 0
    others: int = 0

    def __str__(self) -> str:
        told = f"{self.against} of {self.others} other node(s) carry {self.other or 0:08x}, this one {self.own:08x}"
        return told if self.differs else self.skew.value

    @property
    def differs(self) -> bool:
        """Whether it is to be said aloud once it has lasted."""
        return self.skew in (Skew.SPLIT, Skew.OUTVOTED)


def vote(own: int, others: Collection[int | None]) -> Vote:
    """What the others say of our digest; None is one that carries none, which agrees with nobody.

    Two nodes that differ cannot tell which of them is wrong; of three or more, most of all can.
    """
    if all(each is None for each in others):
        return Vote(Skew.UNKNOWN, own, others=len(others))
    different = Counter(each for each in others if each not in (None, own))
    other, against = min(different.items(), key=lambda pair: (-pair[1], pair[0] or 0)) if different else (None, 0)
    majorities = ((len(others) + 1, Skew.OUTVOTED), (len(others), Skew.SPLIT), (-1, Skew.AGREED))
    skew = next(skew for of, skew in majorities if 2 * against > of)
    return Vote(skew, own, other, against, len(others))


class Skews:
    """Every VIP of a node: what is heard of it, and for how long it has differed."""

    def __init__(self, rules: SkewRules) -> None:
        self.rules = rules
        self.votes: Mapping[IpNetwork, Vote] = {}
        self.alarms: Mapping[IpNetwork, Vote] = {}
        """The VIPs whose digest has differed for long enough."""
        self.leaving: Mapping[IpNetwork, float] = {}
        """Since when this node should no longer announce a VIP, as it is outvoted and told to heed that."""
        self._heard: object = None
        self._differs: dict[IpNetwork, float] = {}  # since when
        self._outvoted: dict[IpNetwork, float] = {}
        self._deadline: float | None = None

    def hear(
        self, own: Mapping[IpNetwork, int], carried: Mapping[IpNetwork, Mapping[str, int | None]], now: float
    ) -> None:
        """Take what this node would carry and what every other node carries, by its name, just now."""
        if self._heard != (own, carried):  # there may be a thousand, and seldom anything new
            self._heard = own, carried
            self.votes = {prefix: vote(own[prefix], carried.get(prefix, {}).values()) for prefix in own}
        differs = [prefix for prefix, each in self.votes.items() if each.differs]
        outvoted = [prefix for prefix in differs if self.votes[prefix].skew is Skew.OUTVOTED]
        self._differs = {prefix: self._differs.get(prefix, now) for prefix in differs}
        self._outvoted = {prefix: self._outvoted.get(prefix, now) for prefix in outvoted}
        after = self.rules.after
        self.alarms = {prefix: self.votes[prefix] for prefix, at in self._differs.items() if now >= at + after}
        lasted = {prefix: at + after for prefix, at in self._outvoted.items() if now >= at + after}
        self.leaving = lasted if self.rules.withdraw else {}
        moments = {at + after for at in (*self._differs.values(), *self._outvoted.values())}
        self._deadline = min((at for at in moments if at > now), default=None)

    def next_deadline(self) -> float | None:
        """When another difference has lasted."""
        return self._deadline

    @property
    def worst(self) -> Vote | None:
        """Of all VIPs just now, whether it has lasted or not; None of no VIP."""
        return max(self.votes.values(), key=lambda each: _ORDER.index(each.skew), default=None)

    @property
    def alarm(self) -> Skew | None:
        """The worst that has lasted."""
        return max((each.skew for each in self.alarms.values()), key=_ORDER.index, default=None)

    @property
    def reason(self) -> str:
        """What is to be said aloud: of the first VIP, and how many more there are. Empty without an alarm."""
        if not self.alarms:
            return ""
        (prefix, first), more = next(iter(self.alarms.items())), len(self.alarms) - 1
        return f"{prefix}: {first}" + (f", and {more} more VIP(s)" if more else "")


_ORDER = list(Skew)
