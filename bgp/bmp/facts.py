"""What the daemon makes of a station's lines: which facts still hold, and what differs from what is intended.

The machine behind `bgp.bmp.link`, without I/O; times are monotonic seconds given by the caller.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from bgp.bmp.compare import Key, Lasting, Told, compare
from bgp.bmp.config import ReadBackConfig, RouterConfig
from bgp.bmp.readback import Finding, ReadBack, RouterReport
from bgp.bmp.view import Facts
from bgp.bmp.wire import RouterNews
from bgp.report import Event
from bgp.route import Prefix, Route

SETTLE: Final = 3.0
"""Seconds that a new session has to tell what the router holds, unless it says before that it has."""
ASK_AFTER: Final = 3.0
"""Seconds that a difference stands before the router is made to tell everything again."""
ASK_DELAYS: Final = (5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds from one such request to the next while a difference stands."""
ASK_GRACE: Final = 10.0
"""Seconds that facts are good for at least when a session ended because we asked."""
_ASK_TAKES: Final = 2.0
_FORGETFUL: Final = "FRRouting"


@dataclass(slots=True)
class _Router:
    """One router. `good` are the last facts that may be relied on, until `good_until` once its session is lost."""

    fresh_since: float | None = None
    fresh: Facts | None = None
    good: Facts | None = None
    good_until: float | None = None
    reason: str = "the station has not told of it yet"
    known: bool = False
    since: float = 0.0
    asked: int = 0
    asked_at: float | None = None
    ask_at: float | None = None


@dataclass(slots=True)
class Hearsay:
    """All routers. Feed `heard`, `lost` and `intend`; `turn` returns what changed."""

    config: ReadBackConfig
    _routers: dict[str, _Router] = field(default_factory=dict)
    _intended: Mapping[Prefix, Route | None] = field(default_factory=dict)
    _lasting: Lasting = field(default_factory=Lasting)
    _findings: tuple[Finding, ...] = ()
    _ask: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._routers = {router.name: _Router() for router in self.config.routers}

    def intend(self, routes: Mapping[Prefix, Route | None]) -> None:
        """What is declared from now on; None, or absence, means withdrawn."""
        self._intended = {**dict.fromkeys(self.config.prefixes), **routes}

    def heard(self, news: RouterNews, now: float) -> None:
        """The station told of one router; one that is not configured is ignored."""
        router = self._routers.get(news.name)
        if router is None:
            return
        if news.facts is None:
            self._lose(router, news.reason, now)
            return
        if router.fresh_since is None:
            router.fresh_since = now
        router.fresh = news.facts

    def lost(self, reason: str, now: float) -> None:
        """The station is gone, and every session with it."""
        for router in self._routers.values():
            self._lose(router, reason, now)

    def _lose(self, router: _Router, reason: str, now: float) -> None:
        if router.fresh_since is not None and router.good_until is None:
            asked = router.asked_at is not None and now - router.asked_at < _ASK_TAKES
            router.good_until = now + max(self.config.grace, ASK_GRACE if asked else 0.0)
        router.fresh_since = router.fresh = None
        router.reason = reason

    def turn(self, now: float) -> list[Event]:
        """Let time pass; call at least twice a second. Returns the transitions, with reasons."""
        events = [event for name, router in self._routers.items() for event in self._judge(name, router, now)]
        differences: dict[Key, str] = {}
        for router in self.config.routers:
            facts = self._relied_on(router.name)
            if facts is not None and self._intended:
                told = Told(router.name, router.peers, self.config.asn, router.pre_only)
                differences |= compare(self._intended, facts, told)
        before, self._findings = self._findings, self._lasting.judge(differences, now)
        self._ask = [name for name in self._routers if self._asks_again(name, now)]
        return [*events, *_news(before, self._findings)]

    def _judge(self, name: str, router: _Router, now: float) -> Iterator[Event]:
        if router.fresh is not None and router.fresh_since is not None:
            if router.fresh.complete or now - router.fresh_since >= SETTLE:
                router.good, router.good_until, router.reason = router.fresh, None, ""
            elif router.good is None:
                router.reason = "its BMP session has just begun"
        if router.good_until is not None and now >= router.good_until:
            router.good = router.good_until = None
        known = router.good is not None and (router.good.complete or router.good.updates > 0)
        if router.good is not None and not known:
            router.reason = "it has told of no route at all: does it monitor its adj-rib-in?"
        if known != router.known:
            router.known, router.since = known, now
            words = ("known", "unknown")
            yield Event(f"read-back {name}", words[known], words[not known], router.reason or "it tells what it holds")

    def _asks_again(self, name: str, now: float) -> bool:
        """Whether a router is to tell everything again, because of a difference.

        FRR (8.4) does not tell of each change: a path that becomes valid later, or that its policy refuses, is told in
        the next whole account only, which begins with a new session.
        """
        router = self._routers[name]
        oldest = self._lasting.oldest(name)
        if oldest is None or router.fresh is None:
            if oldest is None:
                router.asked, router.ask_at = 0, None
            return False
        if not router.fresh.description.startswith(_FORGETFUL) or now - oldest < ASK_AFTER:
            return False
        if router.ask_at is not None and now < router.ask_at:
            return False
        router.asked_at = now
        router.ask_at = now + ASK_DELAYS[min(router.asked, len(ASK_DELAYS) - 1)]
        router.asked += 1
        return True

    def to_ask(self) -> list[str]:
        """The routers that the station must make tell everything again, as of the last `turn`."""
        return list(self._ask)

    def _relied_on(self, name: str) -> Facts | None:
        router = self._routers[name]
        return router.good if router.known else None

    def read_back(self) -> ReadBack:
        """What is known as of the last `turn`."""
        return ReadBack(tuple(self._report(router) for router in self.config.routers), self._findings)

    def _report(self, config: RouterConfig) -> RouterReport:
        router, facts = self._routers[config.name], self._relied_on(config.name)
        if facts is None:
            return RouterReport(config.name, False, router.since, router.reason, peers=config.peers)
        taken = {p for p, held in facts.ours.items() if (held.before if config.pre_only else held.after) is not None}
        return RouterReport(
            config.name,
            True,
            router.since,
            router.reason,
            accepted=frozenset(taken),
            refused=frozenset(facts.ours) - taken,
            others=facts.others,
            foreign=facts.foreign,
            digests=facts.digests,
            peers=config.peers,
        )


def _news(before: tuple[Finding, ...], after: tuple[Finding, ...]) -> Iterator[Event]:
    old, new = ({(f.fault, f.router, f.prefix): f for f in findings} for findings in (before, after))
    for key in new.keys() - old.keys():
        finding = new[key]
        reason = f"{finding.fault.value}{f' ({finding.detail})' if finding.detail else ''}"
        yield Event(f"route {finding.prefix} at {finding.router}", "as intended", finding.fault.name.lower(), reason)
    for key in old.keys() - new.keys():
        gone = old[key]
        subject = f"route {gone.prefix} at {gone.router}"
        yield Event(subject, gone.fault.name.lower(), "as intended", "the router says so, or tells no more")
