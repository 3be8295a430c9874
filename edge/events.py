"""One line for every transition, old -> new with its reason; the last ones are kept for status."""

import time
from collections import deque
from typing import Any, TextIO

KEPT = 50


class EventLog:
    """Writes events to a stream and remembers the last `KEPT`. A stream that is gone or full is not waited for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def record(self, subject: str, old: str, new: str, reason: str) -> None:
        """Something changed. Control characters in a reason that others chose are made visible."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        reason = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in reason)
        self._last.append({"at": f"{stamp}Z", "subject": subject, "old": old, "new": new, "reason": reason})
        try:
            self._stream.write(f"{stamp}Z {subject}: {old} -> {new}, reason: {reason}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass

    @property
    def last(self) -> list[dict[str, Any]]:
        """The last events, oldest first."""
        return list(self._last)
