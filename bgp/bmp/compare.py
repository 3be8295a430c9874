"""What we intend against what routers hold: differences, and those that have lasted.

An UPDATE needs a moment, so a difference counts once it has stood for `LASTING` seconds without a break.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bgp.attributes import Said
from bgp.bmp.readback import Fault, Finding
from bgp.bmp.update import Path
from bgp.bmp.view import Facts, OurRoute
from bgp.route import Address, Prefix, Route

LASTING: Final = 15.0
"""Seconds that a difference stands before it is a finding."""

Key = tuple[Fault, str, Prefix]


@dataclass(frozen=True, slots=True)
class Told:
    """How one router hears us: over which of its peers (the addresses that we call it by), and as which AS."""

    router: str
    peers: Collection[Address]
    asn: int
    pre_only: bool = False


def compare(intended: Mapping[Prefix, Route | None], facts: Facts, told: Told) -> dict[Key, str]:
    """Every difference at one router, with a detail in words; `intended` is what is declared, None for withdrawn."""
    found = {}
    for prefix, route in intended.items():
        held = facts.ours.get(prefix, OurRoute(None, None))
        fault = _fault(route, held, told)
        if fault is not None:
            found[fault[0], told.router, prefix] = fault[1]
    for prefix, origins in facts.foreign.items():
        if prefix in intended:
            words = ", ".join(f"AS {origin}" for origin in sorted(origins))
            found[Fault.FOREIGN, told.router, prefix] = words
    return found


def _fault(route: Route | None, held: OurRoute, told: Told) -> tuple[Fault, str] | None:
    taken = held.before if told.pre_only else held.after
    if route is None:
        return (Fault.LINGERING, "") if held.before or held.after else None
    if taken is None:
        return (Fault.REFUSED, "") if held.before else (Fault.MISSING, "")
    if held.before is None:
        return None
    for peer in told.peers:
        differences = list(_differences(route.told(peer), held.before, told.asn))
        if not differences:
            return None
    return Fault.DIFFERS, "; ".join(differences)


def _differences(said: Said, held: Path, asn: int) -> Iterator[str]:
    """What the router received (before its policy) that is not what it was told."""
    pairs: tuple[tuple[str, object, object], ...] = (
        ("med", said.med, held.med),
        ("as_path", tuple(said.as_path) or (asn,), held.as_path),
        ("communities", set(said.communities), set(held.communities)),
        ("large communities", set(said.large_communities), set(held.large_communities)),
    )
    for name, ours, theirs in pairs:
        if ours != theirs:
            yield f"{name} {_words(theirs)}, announced {_words(ours)}"


def _words(value: object) -> str:
    if isinstance(value, (set, tuple)):
        return " ".join(sorted(map(str, value)) if isinstance(value, set) else map(str, value)) or "none"
    return "none" if value is None else str(value)


@dataclass(slots=True)
class Lasting:
    """Keeps since when each difference has stood. Times are monotonic seconds given by the caller."""

    _since: dict[Key, float] = field(default_factory=dict)

    def judge(self, differences: Mapping[Key, str], now: float) -> tuple[Finding, ...]:
        """Take all differences that there are now; returns those that have lasted."""
        self._since = {key: self._since.get(key, now) for key in differences}
        return tuple(
            Finding(fault, router, prefix, self._since[fault, router, prefix], differences[fault, router, prefix])
            for fault, router, prefix in differences
            if now - self._since[fault, router, prefix] >= LASTING
        )

    def oldest(self, router: str) -> float | None:
        """Since when the oldest difference at a router has stood, None if there is none."""
        return min((since for (_, name, _), since in self._since.items() if name == router), default=None)
