"""The gate without I/O: BFD may say Up only while the daemon and the forwarder show that they live.

`now` and beats are CLOCK_MONOTONIC seconds. A beat of 0 was never given.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bgp.bfd.packet import Diag

HOLD_MAX: Final = 30.0
"""Seconds that a planned restart may suspend the gate at most, however much was asked for."""
_WATCH: Final = 0.02
"""Seconds between two looks while the gate is closed."""


@dataclass(frozen=True, slots=True)
class Source:
    """Who must beat every `interval` seconds and may miss less than `misses` of them."""

    name: str
    interval: float
    misses: int

    @property
    def limit(self) -> float:
        """Age in seconds from which its last beat is stale."""
        return self.interval * self.misses


DIAGS: Final = {"forwarder": Diag.FORWARDING_RESET, "daemon": Diag.PATH_DOWN}
"""What a peer is told when a source is stale."""


@dataclass(frozen=True, slots=True)
class Change:
    """The gate opened or closed; `diag` is for the peers, `reason` for people."""

    opened: bool
    diag: Diag
    reason: str


class Gate:
    """Closed at first. It closes with the first stale source and opens when all have been fresh for `settle` seconds.

    Without sources it is always open.
    """

    def __init__(self, sources: tuple[Source, ...], settle: float, now: float) -> None:
        self.sources = sources
        self._settle = settle
        self.open = False
        self.reason = "the gate has not opened yet"
        self._fresh_since: float | None = None
        self._hold_asked = self._hold_until = -math.inf
        self._spared_until = -math.inf
        self._may_spare = False  # once only until all have been fresh again
        self._looked_at = now
        self._look_by = now

    def hold(self, until: float, now: float) -> None:
        """Suspend the gate: whatever becomes stale, it stays open if it is; at most HOLD_MAX from when it was asked."""
        if until != self._hold_asked:
            self._hold_asked = until
            self._hold_until = min(until, now + HOLD_MAX)

    def held(self, now: float) -> bool:
        """Whether a hold is in force."""
        return now < self._hold_until

    def look(self, beats: Mapping[str, float], now: float) -> Change | None:
        """Judge the beats; call at every deadline.

        If we were late ourselves, so may the others have been: they get one more limit, for a paused machine is no
        reason to go down.
        """
        self._spare(now)
        stale = [source for source in self.sources if not self._is_fresh(source, beats.get(source.name, 0.0), now)]
        self._may_spare = self._may_spare or not stale
        change = self._close(stale, beats, now) if self.open else self._open(stale, now)
        self._looked_at, self._look_by = now, self._next(beats, now)
        return change

    def next_deadline(self) -> float:
        """When to look again; monotonic seconds, infinity without sources."""
        return self._look_by

    def _spare(self, now: float) -> None:
        late = now - max(self._look_by, self._looked_at)
        shortest = min((source.limit for source in self.sources), default=math.inf)
        if late > shortest / 2 and self._may_spare:
            self._spared_until, self._may_spare = now + shortest, False

    def _is_fresh(self, source: Source, beat: float, now: float) -> bool:
        return beat > 0 and abs(now - beat) < source.limit

    def _close(self, stale: list[Source], beats: Mapping[str, float], now: float) -> Change | None:
        if not stale or self.held(now) or now < self._spared_until:
            return None
        worst = max(stale, key=lambda source: now - beats.get(source.name, 0.0) - source.limit)
        age = now - beats.get(worst.name, 0.0)
        self.open, self._fresh_since = False, None
        self.reason = f"no heartbeat of the {worst.name} for {age * 1e3:.1f} ms, expected one in {worst.limit * 1e3:g}"
        return Change(False, DIAGS.get(worst.name, Diag.PATH_DOWN), self.reason)

    def _open(self, stale: list[Source], now: float) -> Change | None:
        if stale:
            self._fresh_since = None
            return None
        if self._fresh_since is None:
            self._fresh_since = now
        if now - self._fresh_since < self._settle and self.sources:
            return None
        self.open = True
        self.reason = f"all heartbeats fresh for {self._settle:g} s"
        return Change(True, Diag.NONE, self.reason)

    def _next(self, beats: Mapping[str, float], now: float) -> float:
        if not self.sources:
            return math.inf
        if not self.open:
            return now + _WATCH
        ends = min(beats.get(source.name, 0.0) + source.limit for source in self.sources)
        for bar in (self._hold_until, self._spared_until):
            ends = max(ends, bar) if now < bar else ends
        return max(ends, now + 1e-4)
