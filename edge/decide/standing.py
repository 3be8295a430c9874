"""The operator's standing orders in monotonic time: since when each is carried out, and when it ends by itself. No I/O.

The stored intent knows only the wall clock. It is read once, when an order is first seen; a clock that jumps afterwards
changes nothing.
"""

from edge.decide.intent import Intent, Subject

LONG_AGO = float("-inf")


class Standing:
    """The intent that is in force. Moments are monotonic seconds, `wall` is seconds since the epoch at `now`."""

    def __init__(self, intent: Intent, now: float, wall: float) -> None:
        """Orders that were stored before this process began have had their time to settle."""
        self.intent = intent
        self._since = {subject: LONG_AGO for subject, _ in intent.standing()}
        self._ends: dict[Subject, float] = {}
        self._read_ends(now, wall)

    def take(self, intent: Intent, now: float, wall: float) -> None:
        """Take the operator's new intent; an order that stands already keeps its beginning."""
        old = {subject: drain.until for subject, drain in self.intent.standing()}
        new = {subject: drain.until for subject, drain in intent.standing()}
        self._since = {subject: self._since.get(subject, now) for subject in new}
        self._ends = {s: end for s, end in self._ends.items() if s in new and new[s] == old.get(s)}
        self.intent = intent
        self._read_ends(now, wall)

    def _read_ends(self, now: float, wall: float) -> None:
        for subject, drain in self.intent.standing():
            if drain.until is not None and subject not in self._ends:
                self._ends[subject] = now + drain.until - wall

    def since(self, kind: str, name: str = "") -> float | None:
        """Since when an order is carried out; None when none stands."""
        return self._since.get((kind, name))

    def ended(self, now: float) -> tuple[Subject, ...]:
        """The orders whose time is over: the owner takes them out of the stored intent."""
        return tuple(subject for subject, end in self._ends.items() if end <= now)

    def next_end(self) -> float | None:
        """When the next order ends by itself."""
        return min(self._ends.values(), default=None)
