"""At most so many backends of a pool leave its table in a window: a check that errs must not empty it at one stroke.

No I/O; `now` is an argument. (An outage of 2025 grew because health checks that alternated took capacity out faster
than it came back; the limit is the remedy that was announced for it.)
"""

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VelocityRules:
    """`share` of a pool's backends, at least one, may leave in `window` seconds."""

    share: float = 0.5
    window: float = 10.0


class Velocity:
    """One pool: who looks down, against who has left the table for it."""

    def __init__(self, rules: VelocityRules) -> None:
        self.rules = rules
        self._out: frozenset[str] = frozenset()
        self._removed: deque[float] = deque()

    def limit(self, size: int, down: Collection[str], now: float) -> frozenset[str]:
        """Those of `down`, out of `size` backends, that may be out of the table now. Who is out stays out."""
        while self._removed and self._removed[0] + self.rules.window <= now:
            self._removed.popleft()
        out = sorted(self._out & frozenset(down))
        room = max(1, math.ceil(self.rules.share * size)) - len(self._removed)
        leaving = sorted(frozenset(down) - self._out)[: max(0, room)]
        self._removed.extend(now for _ in leaving)
        self._out = frozenset([*out, *leaving])
        return self._out

    def next_deadline(self, down: Collection[str]) -> float | None:
        """When one more may leave, None while nobody waits."""
        waits = frozenset(down) - self._out
        return self._removed[0] + self.rules.window if waits and self._removed else None
