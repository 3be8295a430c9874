"""Which datagrams of one slot are answered, and which may still be. `now` is an argument; nothing here does I/O."""

GRACE = 1.0  # seconds; a datagram without an answer for so long is lost, one of less age is under way
_REMEMBERED = (1 << 64) - 1  # an answer that comes again is known as such among the last 64


class Outstanding:
    """The numbered datagrams of a slot, over all its flows.

    `number` is that of the last datagram, `newest` the highest one answered. `_seen` has a bit for each answer of the
    last 64, that of `newest` lowest. `_first` is the first number of the present flow: no answer to an earlier one can
    come. `_due` has the time of each that is without an answer, in order; those older than the grace leave it.
    """

    __slots__ = ("_due", "_first", "_grace", "_seen", "newest", "number")

    def __init__(self, grace: float) -> None:
        self.number = self.newest = 0
        self._grace, self._first, self._seen = grace, 1, 0
        self._due: dict[int, float] = {}

    def sent(self, now: float) -> int:
        """One more datagram; returns its number."""
        self._forget(now)
        self.number += 1
        self._due[self.number] = now
        return self.number

    def knows(self, number: int) -> bool:
        """Whether the present flow has sent this number."""
        return self._first <= number <= self.number

    def answered(self, number: int) -> bool:
        """The answer to a known number is there; False where it was there before."""
        self._due.pop(number, None)
        ahead = number - self.newest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _REMEMBERED if ahead < 64 else 1
            self.newest = number
            return True
        again = bool(self._seen >> -ahead & 1)
        self._seen |= 1 << -ahead & _REMEMBERED
        return not again

    def give_up(self) -> None:
        """The present flow is over: nothing that it sent can be answered any more."""
        self._first = self.number + 1
        self._due.clear()

    def under_way(self, now: float) -> int:
        """How many are without an answer and within the grace."""
        self._forget(now)
        return len(self._due)

    def _forget(self, now: float) -> None:
        """Leave out what is beyond the grace: it is lost, unless it is answered all the same."""
        while self._due:
            oldest = next(iter(self._due))
            if self._due[oldest] > now - self._grace:
                return
            del self._due[oldest]
