"""What a ledger counts since its last mark. No I/O."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from lab.traffic.evidence import EVIDENCE_LIMIT, GAP_ABOVE, GAP_LIMIT, Failure, Gap, first_failures, first_gaps
from lab.traffic.facts import Facts
from lab.traffic.flow import Flow


@dataclass(slots=True)
class Tally:
    """The counts of one interval; the fields are those of `Facts`."""

    since: float
    established_before: int
    pending_before: int
    under_way_before: int
    opened: int = 0
    pings: int = 0
    answers: int = 0
    requests: int = 0
    replies: int = 0
    sent: int = 0
    received: int = 0
    duplicated: int = 0
    transfers: int = 0
    transferred_bytes: int = 0
    longest_gap: float = 0.0
    slowest_request: float = 0.0
    stall: float = 0.0
    open_failed: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    transfers_failed: Counter[str] = field(default_factory=Counter)
    requests_per_backend: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)

    def evidence(self, failure: Failure) -> None:
        """Keep a failure, unless there are enough of them."""
        if len(self.failures) < EVIDENCE_LIMIT:
            self.failures.append(failure)

    def gap(self, now: float, since: float, flow: Flow | None, backend: str) -> None:
        """A time without an answer or progress ended."""
        length = now - since
        self.longest_gap = max(self.longest_gap, length)
        if length > GAP_ABOVE and len(self.gaps) < GAP_LIMIT:
            self.gaps.append(Gap(now, length, flow, backend))

    def facts(
        self,
        label: str,
        now: float,
        backends: Iterable[str],
        waiting: Iterable[float],
        ages: list[float],
        under_way: int,
    ) -> Facts:
        """The interval's facts, given what is now so.

        `backends`: that of each open flow. `waiting`: since when each that is without an answer is. `ages`: of each
        request under way. `under_way`: datagrams that may still be answered.
        """
        per_backend = Counter(backends)
        return Facts(
            label=label,
            since=self.since,
            until=now,
            established_before=self.established_before,
            opened=self.opened,
            open_failed=dict(self.open_failed),
            broken=dict(self.broken),
            established=per_backend.total(),
            pings=self.pings,
            answers=self.answers,
            longest_gap=max([self.longest_gap, *(now - since for since in waiting)]),
            pending_before=self.pending_before,
            requests=self.requests,
            replies=self.replies,
            failed=dict(self.failed),
            pending=len(ages),
            slowest_request=max([self.slowest_request, *ages]),
            stall=self.stall,
            flows_per_backend=dict(per_backend),
            requests_per_backend=dict(self.requests_per_backend),
            failures=first_failures(self.failures),
            under_way_before=self.under_way_before,
            sent=self.sent,
            received=self.received,
            duplicated=self.duplicated,
            under_way=under_way,
            transfers=self.transfers,
            transferred_bytes=self.transferred_bytes,
            transfers_failed=dict(self.transfers_failed),
            gaps=first_gaps(self.gaps),
        )
