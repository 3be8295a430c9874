"""What a ledger says about an interval: counts, gaps and the evidence for each failure. Values only, no I/O.

Facts of several clients over one interval combine with `beside`, facts of consecutive intervals of one client with
`then`; both are associative, so neither the number of processes nor the number of marks changes a total.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import reduce
from typing import Any, Self

from lab.traffic.flow import Flow, flow_from_json

SCHEMA_VERSION = 1
EVIDENCE_LIMIT = 20


class Reason(StrEnum):
    """Why a connection broke, an opening failed or a request failed."""

    RESET = "reset"  # RST received
    EOF = "eof"  # the other side closed where an answer was due
    TIMEOUT = "timeout"  # nothing within the stated limit
    REFUSED = "refused"  # RST in answer to the SYN
    UNREACHABLE = "unreachable"  # no route, or ICMP said so
    OTHER_BACKEND = "other_backend"  # one connection, two backends: the one thing the edge promises never to do
    WRONG_ANSWER = "wrong_answer"  # not the echo, or not the HTTP, that was asked for
    BAD_STATUS = "bad_status"  # HTTP, but not 200
    LOCAL = "local"  # this host's own fault: no port, no memory, no such source address


class Kind(StrEnum):
    """What failed: an established connection, the opening of one, or a request (opening included)."""

    CONNECTION = "connection"
    OPENING = "opening"
    REQUEST = "request"


@dataclass(frozen=True, slots=True, order=True)
class Failure:
    """One failure. `time` is CLOCK_MONOTONIC in seconds; `flow` is None where no port was chosen yet."""

    time: float
    kind: Kind
    reason: Reason
    backend: str = ""
    flow: Flow | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; `failure_from_json` reads it back."""
        flow = self.flow.to_json() if self.flow else None
        return {"time": self.time, "kind": self.kind, "reason": self.reason, "backend": self.backend, "flow": flow}


def failure_from_json(value: Mapping[str, Any]) -> Failure:
    """Read what `Failure.to_json` wrote; ValueError, KeyError or TypeError for anything else."""
    flow = None if value["flow"] is None else flow_from_json(value["flow"])
    return Failure(float(value["time"]), Kind(value["kind"]), Reason(value["reason"]), str(value["backend"]), flow)


@dataclass(frozen=True, slots=True)
class Facts:
    """One interval. Times and gaps in seconds of CLOCK_MONOTONIC; the rest are counts.

    `established_before + opened - broken_connections == established` holds always, and so does
    `pending_before + requests - replies - failed_requests == pending`.
    `longest_gap`: the longest time from a ping to the answer that was due, over all connections. It runs on over a
    reconnect (a client waits for its answer, not for a socket), is whole even where it began before the interval, and
    counts a ping still unanswered at its end. `slowest_request` is the same for requests. `stall` is how late this
    process itself was at its worst: a gap of that size is no evidence against the network.
    `failures` holds the first `EVIDENCE_LIMIT` of them; the counts are complete.
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

    def beside(self, other: Self) -> Self:
        """The facts of both clients over one interval (this one's label)."""
        both = _common(self, other)
        both["since"] = min(self.since, other.since)
        both["until"] = max(self.until, other.until)
        for name in ("established_before", "established", "pending_before", "pending"):
            both[name] = getattr(self, name) + getattr(other, name)
        both["flows_per_backend"] = _sum(self.flows_per_backend, other.flows_per_backend)
        return replace(self, **both)

    def then(self, later: Self) -> Self:
        """The facts of this interval and the one that follows it, of one client (this one's label)."""
        both = _common(self, later)
        for name in ("until", "established", "pending", "flows_per_backend"):
            both[name] = getattr(later, name)
        return replace(self, **both)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object with every field; `facts_from_json` reads it back."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {"failures": [failure.to_json() for failure in self.failures]}


def _common(one: Facts, other: Facts) -> dict[str, Any]:
    """The fields that combine alike side by side and in sequence."""
    both: dict[str, Any] = {}
    for name in ("opened", "pings", "answers", "requests", "replies"):
        both[name] = getattr(one, name) + getattr(other, name)
    for name in ("longest_gap", "slowest_request", "stall"):
        both[name] = max(getattr(one, name), getattr(other, name))
    for name in ("open_failed", "broken", "failed", "requests_per_backend"):
        both[name] = _sum(getattr(one, name), getattr(other, name))
    both["failures"] = first_failures((*one.failures, *other.failures))
    return both


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted((Counter(one) + Counter(other)).items()))


def first_failures(failures: Sequence[Failure]) -> tuple[Failure, ...]:
    """The earliest `EVIDENCE_LIMIT` of them, in order of time."""
    return tuple(sorted(failures, key=lambda f: (f.time, f.kind, f.reason, str(f.flow)))[:EVIDENCE_LIMIT])


def facts_from_json(value: Mapping[str, Any]) -> Facts:
    """Read what `Facts.to_json` wrote; ValueError when a field is unknown, missing or no value of its kind."""
    names = {f.name for f in fields(Facts)}
    if set(value) != names:
        raise ValueError(f"facts: unexpected fields {sorted(set(value) - names)}, missing {sorted(names - set(value))}")
    try:
        failures = tuple(failure_from_json(failure) for failure in value["failures"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"facts: a failure is malformed ({error})") from error
    return Facts(**(dict(value) | {"failures": failures}))


@dataclass(frozen=True, slots=True)
class Report:
    """What one process, or several together, recorded from start to end: the total and each marked interval."""

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


def merge_reports(reports: Sequence[Report]) -> Report:
    """The report of several clients that were marked alike; ValueError when their marks differ."""
    marks = {tuple(window.label for window in report.windows) for report in reports}
    if len(marks) != 1:
        raise ValueError(f"report: cannot merge reports with different marks: {sorted(marks)}")
    windows = zip(*(report.windows for report in reports), strict=True)
    return Report(merge_facts([report.total for report in reports]), tuple(merge_facts(each) for each in windows))
