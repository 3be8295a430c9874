"""Whether results still come: which checks are stale, and when the next one would be (no I/O).

A checker that is dead, hung or lies by silence must not keep a VIP announced. Two rules, each by itself enough: no
heartbeat for `SILENCE` makes every check stale, and a result that is overdue makes that check stale: 3 s after the last
one, but overdue by 1 s at least and 2 s at most. Both end with the next result. Times are monotonic seconds.
"""

import math
from dataclasses import dataclass, field

SILENCE = 2.0
DEAD_MAN = 3.0
GRACE = (1.0, 2.0)
START = 2.5
"""Seconds from the start of a checker within which its first results must be there."""


@dataclass(slots=True)
class _Due:
    """How long after a result the next one must be there, and after a start the first; until when this one is good."""

    patience: float
    first: float
    until: float


@dataclass(slots=True)
class Freshness:
    """What is expected of the checker."""

    _due: dict[int, _Due] = field(default_factory=dict)
    _heard_at: float = -math.inf

    def expect(self, number: int, interval: float, jitter: float, timeout: float, now: float) -> None:
        """Expect results of a check, every `interval` seconds."""
        self._due[number] = _Due(patience(interval, jitter, timeout), START + timeout, now + START + timeout)

    def forget(self, number: int) -> None:
        """Expect none any more."""
        self._due.pop(number, None)

    def result(self, number: int, now: float) -> bool:
        """A result came; False when nobody expects one of this number."""
        due = self._due.get(number)
        if due is None:
            return False
        due.until = now + due.patience
        return True

    def beat(self, now: float) -> None:
        """A heartbeat came."""
        self._heard_at = now

    def begun(self, now: float) -> None:
        """A checker was started, and asks everything at once: what is expected late is expected sooner, never later."""
        if self._heard_at == -math.inf:
            self._heard_at = now + START - SILENCE
        for due in self._due.values():
            due.until = min(due.until, now + due.first)

    def away(self, gap: float) -> None:
        """We ourselves were away for so long, which is no fault of the checker's."""
        self._heard_at += gap
        for due in self._due.values():
            due.until += gap

    def stale(self, now: float) -> frozenset[int]:
        """The checks whose last result is too old to go by."""
        if now >= self._heard_at + SILENCE:
            return frozenset(self._due)
        return frozenset(number for number, due in self._due.items() if now >= due.until)

    def next_deadline(self, now: float) -> float | None:
        """When a check that is fresh will be stale if nothing comes."""
        moments = [due.until for due in self._due.values() if due.until > now]
        if self._due and self._heard_at + SILENCE > now:
            moments.append(self._heard_at + SILENCE)
        return min(moments, default=None)


def patience(interval: float, jitter: float, timeout: float) -> float:
    """Seconds from one result to when the next one is missed."""
    expected = interval * (1 + jitter) + timeout
    least, most = GRACE
    return expected + min(max(DEAD_MAN - expected, least), most)
