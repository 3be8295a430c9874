"""The verbs of the control socket that only show: bgp, health, and the stream of events."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from bgp.bmp.readback import ReadBack
from edge.control.ask import Answer, RefusedError
from edge.control.served import USAGE, Served
from edge.control.server import Handler, Row, Stream
from edge.log.events import EventLog
from edge.policy.health import Health
from edge.show.status import SCHEMA_VERSION
from edge.show.status_bgp import Bfd, bgp_facts
from edge.show.status_health import health_facts


class Showing:
    """What one daemon shows. `bfd`, `read_back` and `local` are asked at each request; who has none gives none."""

    def __init__(
        self,
        daemon: Served,
        bfd: Callable[[], Bfd] = dict,
        read_back: Callable[[], ReadBack | None] = lambda: None,
        local: Callable[[], Mapping[str, Health]] = dict,
    ) -> None:
        self._daemon = daemon
        self._bfd = bfd
        self._read_back = read_back
        self._local = local

    def table(self) -> Mapping[str, Handler]:
        """Verb -> handler."""
        return {"bgp": self._bgp, "health": self._health, "events": self._events}

    async def _bgp(self, _: Mapping[str, Any], __: int) -> Answer:
        node, now = self._daemon.node, time.monotonic()
        state, bfd = self._daemon.speaker.state(), self._bfd()
        facts = bgp_facts(node.decisions(now), state, now, bfd, self._read_back())
        return {"schema_version": SCHEMA_VERSION, "node": node.config.node, **facts}

    async def _health(self, _: Mapping[str, Any], __: int) -> Answer:
        return {"schema_version": SCHEMA_VERSION, **health_facts(self._daemon.node, self._local(), time.monotonic())}

    async def _events(self, request: Mapping[str, Any], _: int) -> Answer:
        since, events = request.get("since"), self._daemon.events
        if since is not None and (type(since) is not int or since < 0):
            raise RefusedError(f"since is {since!r}, expected the number of an event, or 0 for all", USAGE)
        facts = {"schema_version": SCHEMA_VERSION, "number": events.number, "log_lines_lost": events.lines_lost}
        if request.get("follow"):
            # From the number that is told: what happens before the stream begins is not lost.
            return Stream(facts, _follow(events, events.number if since is None else since))
        missed, kept = events.after(since or 0)
        return {**facts, "missed": missed, "events": kept}


async def _follow(events: EventLog, since: int) -> AsyncGenerator[Row, None]:
    follower = events.follow(since)
    try:
        while True:
            missed, kept = await follower.take()
            if missed:
                yield {"missed": missed}
            for event in kept:
                yield event
    finally:
        events.unfollow(follower)
