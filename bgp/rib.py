"""adj_rib_out towards ExaBGP: what is desired, what was sent, what was acknowledged.

The owner declares the whole desired set; `next_batch` is the difference, withdrawals first. One batch is outstanding at
a time and a prefix appears in it once, because ExaBGP files pending changes by their attributes: two changes of
one prefix that meet in one turn of its loop leave in the order of the attribute sets, not in the order of the commands.
"""

import enum
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bgp.route import Prefix, Route

RETRY: Final = 1.0
"""Seconds before a refused announcement is tried again."""


class Unknown(enum.Enum):
    """ExaBGP may hold anything for the prefix: a fresh relay, or an answer that was an error."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN
Held = Route | None | Unknown
"""A route, None for withdrawn, or UNKNOWN."""


@dataclass(frozen=True, slots=True)
class Change:
    """Announce `route`, or withdraw when it is None; `before` is the last route sent, if known.

    One that was refused before is to be said `alone`.
    """

    prefix: Prefix
    route: Route | None
    before: Route | None
    alone: bool = field(default=False, compare=False)


@dataclass(slots=True)
class _Entry:
    desired: Route | None = None
    sent: Held = UNKNOWN
    acked: Held = UNKNOWN
    last_route: Route | None = None
    retry_at: float = 0.0
    refusals: int = 0


@dataclass(frozen=True, slots=True)
class PrefixView:
    """How far one prefix has come."""

    desired: Route | None
    sent: Held
    acked: Held
    refusals: int


class AdjRibOut:
    """Converges what ExaBGP holds to what is desired, under any order of declarations, answers and resets."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        """Start with every prefix in unknown state and desired withdrawn."""
        self._entries = {prefix: _Entry() for prefix in prefixes}
        self._outstanding: deque[Change] = deque()
        self.version = 0
        """Grows with every change of the view."""

    def declare(self, desired: Mapping[Prefix, Route | None]) -> None:
        """Replace the whole desired set; a known prefix that is absent is desired withdrawn."""
        known = len(self._entries)
        for prefix in desired:
            self._entries.setdefault(prefix, _Entry())
        self.version += len(self._entries) - known
        for prefix, entry in self._entries.items():
            wanted = desired.get(prefix)
            if wanted != entry.desired:
                self.version += 1
                entry.desired, entry.retry_at = wanted, 0.0

    def next_batch(self, limit: int, now: float) -> tuple[Change, ...]:
        """Up to `limit` due changes, withdrawals first; empty while answers are outstanding. They count as sent."""
        if self._outstanding:
            return ()
        due = [(p, e) for p, e in self._entries.items() if e.sent != e.desired and e.retry_at <= now]
        self.version += bool(due)
        due.sort(key=lambda item: item[1].desired is not None)
        for prefix, entry in due[:limit]:
            self._outstanding.append(Change(prefix, entry.desired, entry.last_route, entry.refusals > 0))
            entry.sent = entry.desired
            entry.last_route = entry.desired or entry.last_route
        return tuple(self._outstanding)

    def acked(self) -> Change:
        """ExaBGP parsed the oldest outstanding change."""
        self.version += 1
        change = self._outstanding.popleft()
        entry = self._entries[change.prefix]
        entry.acked, entry.refusals = change.route, 0
        return change

    def refused(self, now: float) -> Change:
        """ExaBGP answered the oldest outstanding change with an error: what it holds is unknown; try again later.

        A refused withdrawal is due again at once, and then says nothing of the route that it takes back.
        """
        self.version += 1
        change = self._outstanding.popleft()
        entry = self._entries[change.prefix]
        entry.sent = entry.acked = UNKNOWN
        entry.refusals += 1
        if change.route is None:
            entry.last_route, entry.retry_at = None, now
        else:
            entry.retry_at = now + RETRY
        return change

    def forget_withdrawn(self) -> None:
        """Make every withdrawal due again: what ExaBGP queued while a session was down may contradict it."""
        self.version += 1
        for entry in self._entries.values():
            if entry.sent is None:
                entry.sent = UNKNOWN

    def forget_all(self) -> None:
        """Make every change due again: a peer is new. To a peer that has a route the same announcement is none."""
        self.version += 1
        for entry in self._entries.values():
            entry.sent, entry.retry_at = UNKNOWN, 0.0

    @property
    def outstanding(self) -> int:
        """Changes sent and not answered."""
        return len(self._outstanding)

    @property
    def converged(self) -> bool:
        """Everything desired was sent and acknowledged."""
        return not self._outstanding and all(e.acked == e.desired == e.sent for e in self._entries.values())

    def next_deadline(self) -> float | None:
        """When the next refused change is due again, None if there is none."""
        return min((e.retry_at for e in self._entries.values() if e.sent != e.desired and e.refusals), default=None)

    def prefixes(self) -> tuple[Prefix, ...]:
        """All prefixes there have been."""
        return tuple(self._entries)

    def view(self) -> dict[Prefix, PrefixView]:
        """All prefixes with their states."""
        return {p: PrefixView(e.desired, e.sent, e.acked, e.refusals) for p, e in self._entries.items()}
