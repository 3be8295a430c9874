"""When a drained node is quiet. A stateless edge cannot count connections, so "empty" is read off its packets."""

from collections import deque


class QuietMeter:
    """Quiet: at most `packets` forwarded during the last `window` seconds, seen over that whole window."""

    def __init__(self, packets: int, window: float) -> None:
        self._packets = packets
        self._window = window
        self._seen: deque[tuple[float, int]] = deque()

    def observe(self, total: int, now: float) -> bool:
        """Take the forwarder's running total of packets at `now` (monotonic seconds); says whether it is quiet."""
        self._seen.append((now, total))
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._window:
            self._seen.popleft()
        since, before = self._seen[0]
        return now - since >= self._window and total - before <= self._packets
