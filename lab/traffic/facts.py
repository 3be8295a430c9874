"""What a ledger says about an interval: counts, gaps and the evidence for each failure. Values only, no I/O.

Facts of several streams or clients over one interval combine with `beside`, facts of consecutive intervals of one
stream with `then`; both are associative, so neither the number of processes nor that of marks changes a total.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from typing import Any, Self

from lab.traffic.evidence import Failure, Gap, failure_from_json, first_failures, first_gaps, gap_from_json

SCHEMA_VERSION = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """One interval. Times and gaps in seconds of CLOCK_MONOTONIC; the rest are counts.

    `established_before + opened - broken_connections == established` holds always, and so does
    `pending_before + requests - replies - failed_requests == pending`. These count flows of TCP and of UDP alike.
    `longest_gap`: the longest time from a ping to the answer that was due, over all flows. It runs on over a
    reconnect (a client waits for its answer, not for a socket), is whole even where it began before the interval, and
    counts a ping still unanswered at its end. `slowest_request` is the same for requests. `stall` is how late this
    process itself was at its worst: a gap of that size is no evidence against the network.
    `sent`, `received`: datagrams; `received` includes the `duplicated` ones, which came more than once. `under_way`:
    those whose answer may still come (`lab.traffic.outstanding`).
    `transfers` were complete; `transferred_bytes` is the content of all, those under way and the failed ones included.
    `failures` holds the first `EVIDENCE_LIMIT` of them, `gaps` the first `GAP_LIMIT` that ended and lasted longer than
    `GAP_ABOVE`; the counts are complete.
    """

    label: str
    since: float
    until: float
    established_before: int = 0
    opened: int = 0
    open_failed: Mapping[str, int] = field(default_factory=dict)
    broken: Mapping[str, int] = field(default_factory=dict)
    established: int = 0
    pings: int = 0
    answers: int = 0
    longest_gap: float = 0.0
    pending_before: int = 0
    requests: int = 0
    replies: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0
    slowest_request: float = 0.0
    stall: float = 0.0
    flows_per_backend: Mapping[str, int] = field(default_factory=dict)
    requests_per_backend: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    sent: int = 0
    received: int = 0
    duplicated: int = 0
    under_way_before: int = 0
    under_way: int = 0
    transfers: int = 0
    transferred_bytes: int = 0
    transfers_failed: Mapping[str, int] = field(default_factory=dict)
    gaps: tuple[Gap, ...] = ()

    @property
    def population(self) -> int:
        """Connections that were established at some time of the interval: what `broken_connections` is out of."""
        return self.established_before + self.opened

    @property
    def broken_connections(self) -> int:
        """Established connections that broke, for whatever reason."""
        return sum(self.broken.values())

    @property
    def failed_requests(self) -> int:
        """Requests that failed, for whatever reason."""
        return sum(self.failed.values())

    @property
    def failed_transfers(self) -> int:
        """Transfers that failed, for whatever reason."""
        return sum(self.transfers_failed.values())

    @property
    def lost(self) -> int:
        """Datagrams whose time for an answer was over in the interval; an answer that comes later makes up for one."""
        answered = self.received - self.duplicated
        return max(0, self.under_way_before + self.sent - answered - self.under_way)

    def beside(self, other: Self) -> Self:
        """The facts of both streams or clients over one interval (this one's label)."""
        both = _common(self, other)
        both["since"] = min(self.since, other.since)
        both["until"] = max(self.until, other.until)
        for name in (
            *("established_before", "established", "pending_before", "pending"),
            *("under_way_before", "under_way"),
        ):
            both[name] = getattr(self, name) + getattr(other, name)
        both["flows_per_backend"] = _sum(self.flows_per_backend, other.flows_per_backend)
        return replace(self, **both)

    def then(self, later: Self) -> Self:
        """The facts of this interval and the one that follows it, of one client (this one's label)."""
        both = _common(self, later)
        for name in ("until", "established", "pending", "under_way", "flows_per_backend"):
            both[name] = getattr(later, name)
        return replace(self, **both)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object with every field; `facts_from_json` reads it back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        lists = {"failures": [each.to_json() for each in self.failures], "gaps": [each.to_json() for each in self.gaps]}
        return plain | lists


_COUNTS = (
    *("opened", "pings", "answers", "requests", "replies"),
    *("sent", "received", "duplicated", "transfers", "transferred_bytes"),
)


def _common(one: Facts, other: Facts) -> dict[str, Any]:
    """The fields that combine alike side by side and in sequence."""
    both: dict[str, Any] = {}
    for name in _COUNTS:
        both[name] = getattr(one, name) + getattr(other, name)
    for name in ("longest_gap", "slowest_request", "stall"):
        both[name] = max(getattr(one, name), getattr(other, name))
    for name in ("open_failed", "broken", "failed", "requests_per_backend", "transfers_failed"):
        both[name] = _sum(getattr(one, name), getattr(other, name))
    both["failures"] = first_failures((*one.failures, *other.failures))
    both["gaps"] = first_gaps((*one.gaps, *other.gaps))
    return both


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(one) + Counter(other)).items()))


def facts_from_json(value: Mapping[str, Any]) -> Facts:
    """Read what `Facts.to_json` wrote; ValueError when a field is unknown, missing or no value of its kind."""
    names = {f.name for f in fields(Facts)}
    if set(value) != names:
        raise ValueError(f"facts: unexpected fields {sorted(set(value) - names)}, missing {sorted(names - set(value))}")
    try:
        failures = tuple(failure_from_json(failure) for failure in value["failures"])
        gaps = tuple(gap_from_json(gap) for gap in value["gaps"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"facts: a failure or a gap is malformed ({error})") from error
    return Facts(**(dict(value) | {"failures": failures, "gaps": gaps}))


@dataclass(frozen=True, slots=True)
class Report:
    """What was recorded of a stream from start to end, by one client or several: the total and each marked interval."""

    total: Facts
    windows: tuple[Facts, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; `report_from_json` reads it back."""
        windows = [window.to_json() for window in self.windows]
        return {"schema_version": SCHEMA_VERSION, "total": self.total.to_json(), "windows": windows}


def report_from_json(value: Mapping[str, Any]) -> Report:
    """Read what `Report.to_json` wrote; ValueError for another schema version or malformed facts."""
    if value.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"report: schema_version is {value.get('schema_version')!r}, expected {SCHEMA_VERSION}")
    return Report(facts_from_json(value["total"]), tuple(facts_from_json(window) for window in value["windows"]))


def merge_facts(facts: Sequence[Facts]) -> Facts:
    """The facts of several clients over one interval; ValueError when there is none or labels differ."""
    labels = {each.label for each in facts}
    if len(labels) != 1:
        raise ValueError(f"facts: cannot merge intervals labelled {sorted(labels)}, expected one label")
    return reduce(lambda one, other: one.beside(other), facts)


def total(facts: Mapping[str, Facts]) -> Facts:
    """The facts of all streams of an interval together, with its label; ValueError when there is none."""
    return merge_facts([*facts.values()])


def merge_streams(clients: Sequence[Mapping[str, Facts]]) -> dict[str, Facts]:
    """The facts of several clients over one interval, by the stream's name; a client need not have every stream."""
    names = dict.fromkeys(name for client in clients for name in client)
    return {name: merge_facts([client[name] for client in clients if name in client]) for name in names}


def merge_reports(reports: Sequence[Report]) -> Report:
    """The report of several clients that were marked alike; ValueError when their marks differ."""
    marks = {tuple(window.label for window in report.windows) for report in reports}
    if len(marks) != 1:
        raise ValueError(f"report: cannot merge reports with different marks: {sorted(marks)}")
    windows = zip(*(report.windows for report in reports), strict=True)
    return Report(merge_facts([report.total for report in reports]), tuple(merge_facts(each) for each in windows))
