"""One line for every transition, old -> new with its reason and evidence: kept for status, logged, and followed.

Every event has a number; a follower that knows the last number it saw goes on from there. Memory is bounded: `HISTORY`
events, and `BACKLOG` for each follower that reads too slowly, which is then told how many it missed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from edge.log.limit import LineLimit
from edge.log.sink import LogSink

KEPT = 50
"""Events shown by status."""
HISTORY: Final = 1000
"""Events that a new follower may ask for."""
BACKLOG: Final = 1000
"""Events that wait for one slow follower."""
_TEXT_MAX: Final = 4000

Event = dict[str, Any]


class Follower:
    """What one reader has still to be told. Use from the event loop that records."""

    def __init__(self, history: Sequence[Event], missed: int) -> None:
        self._waiting = deque(history)
        self._missed = missed
        self._news = asyncio.Event()
        if history or missed:
            self._news.set()

    def push(self, event: Event) -> None:
        """One more event; the oldest one makes room if the reader is too slow."""
        if len(self._waiting) >= BACKLOG:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(event)
        self._news.set()

    async def take(self) -> tuple[int, list[Event]]:
        """Wait for news; returns how many events were missed before them, and the events."""
        await self._news.wait()
        missed, events = self._missed, list(self._waiting)
        self._missed = 0
        self._waiting.clear()
        self._news.clear()
        return missed, events


class EventLog:
    """Writes events to a stream and remembers the last ones. A stream that is gone or full is not waited for."""

    def __init__(self, stream: TextIO) -> None:
        self._sink = LogSink(stream)
        self._limit = LineLimit()
        self._history: deque[Event] = deque(maxlen=HISTORY)
        self._followers: set[Follower] = set()
        self._number = 0

    def record(self, subject: str, old: str, new: str, reason: str, evidence: Mapping[str, Any] | None = None) -> None:
        """Something changed. `evidence` is what was seen, as plain JSON-ready data.

        Control characters in texts that others chose are made visible, and long texts are cut.
        """
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        now = time.monotonic()
        reason = _harmless(reason)
        self._number += 1
        event: Event = {"at": f"{stamp}Z", "subject": subject, "old": old, "new": new, "reason": reason}
        event |= {"number": self._number, "monotonic": round(now, 6), "evidence": _harmless_data(evidence or {})}
        self._history.append(event)
        for follower in self._followers:
            follower.push(event)
        self._log(subject, f"{stamp}Z {subject}: {old} -> {new}, reason: {reason}", now)

    def _log(self, subject: str, line: str, now: float) -> None:
        verdict = self._limit.ask(subject, now)
        if verdict.write:
            self._sink.write(line + (f" ({verdict.left_out} line(s) before this left out)" if verdict.left_out else ""))
        elif verdict.first:
            self._sink.write(f"{line} (changes too often: more lines are left out, `fairhop events` has them)")

    @property
    def last(self) -> list[Event]:
        """The last events, oldest first."""
        return list(self._history)[-KEPT:]

    @property
    def number(self) -> int:
        """The number of the newest event; the first one has 1, 0 is none yet."""
        return self._number

    @property
    def lines_lost(self) -> int:
        """Log lines that were never written because nobody read them."""
        return self._sink.lost

    def after(self, number: int) -> tuple[int, list[Event]]:
        """The events numbered above `number` that are still kept, and how many others there were.

        A number that has not come yet is of an earlier daemon: then everything that is kept.
        """
        if number > self._number:
            number = 0
        events = [event for event in self._history if event["number"] > number]
        return self._number - number - len(events), events

    def follow(self, since: int | None = None) -> Follower:
        """Begin to follow, after the event `since` or (None) with the next one. End with `unfollow`."""
        missed, history = (0, []) if since is None else self.after(since)
        follower = Follower(history, missed)
        self._followers.add(follower)
        return follower

    def unfollow(self, follower: Follower) -> None:
        """Forget a follower."""
        self._followers.discard(follower)


def _harmless(text: str) -> str:
    seen = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return seen if len(seen) <= _TEXT_MAX else f"{seen[:_TEXT_MAX]}..."


def _harmless_data(evidence: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _harmless(value) if isinstance(value, str) else value for key, value in evidence.items()}
