"""The verdict on traffic: counts and gaps of the streams that give evidence for each bound. No I/O."""

from collections.abc import Iterator, Mapping

from lab.scenario.bounds import Limits, shown
from lab.scenario.checks import NOT_MEASURED, Check
from lab.scenario.evidence import RunEvidence
from lab.scenario.model import Counts
from lab.scenario.names import EVIDENCE
from lab.traffic.facts import Facts, merge_facts

_WORDS = {
    "broken": "connections broken", "failed": "requests failed", "transfers_failed": "transfers failed",
    "lost": "datagrams lost", "gap": "longest gap", "slowest": "slowest request", "answered": "requests answered",
    "held": "connections held", "opened": "connections opened",
}  # fmt: skip
_UNITS = {"gap": "ms", "slowest": "ms"}


def counts(prefix: str, asked: Counts, facts: Mapping[str, Facts], run: RunEvidence) -> Iterator[Check]:
    """The checks on the counts that `asked` bounds."""
    for name, words in _WORDS.items():
        limits: Limits | None = getattr(asked, name)
        if limits is not None:
            yield _check(f"{prefix}{words}", name, limits, chosen(name, facts, run), run)


def chosen(name: str, facts: Mapping[str, Facts], run: RunEvidence) -> dict[str, Facts]:
    """The facts of the streams whose kind gives evidence for a bound."""
    kinds = {stream: model.kind for stream, model in run.scenario.traffic.items()}
    return {stream: each for stream, each in facts.items() if kinds.get(stream) in EVIDENCE[name]}


def count(name: str, facts: Mapping[str, Facts]) -> float | None:
    """The value that a bound is about; None where the traffic did nothing that could show it."""
    if not facts:
        return None
    total = merge_facts([*facts.values()])
    answered = total.replies + total.failed_requests
    transfers = total.transfers + total.failed_transfers
    rows: dict[str, tuple[float, float]] = {  # the value, and what must not be 0 for it to mean anything
        "broken": (total.broken_connections, total.population),
        "failed": (total.failed_requests, answered),
        "transfers_failed": (total.failed_transfers, transfers),
        "lost": (total.lost, total.sent),
        "gap": (total.longest_gap, total.pings + total.sent + transfers),
        "slowest": (total.slowest_request, total.requests),
        "answered": (total.replies, total.requests),
        "held": (total.established, 1),
        "opened": (total.opened, 1),
    }
    value, evidence = rows[name]
    return value if evidence > 0 else None


def _check(title: str, name: str, limits: Limits, facts: Mapping[str, Facts], run: RunEvidence) -> Check:
    value, unit = count(name, facts), _UNITS.get(name, "")
    if value is None:
        return Check(title, False, NOT_MEASURED, limits.shown(unit))
    passed, text, bound = limits.hold(value), shown(value, unit), limits.shown(unit)
    total = merge_facts([*facts.values()])
    if name == "broken":
        asked = sum(run.asked.get(stream, 0) for stream in facts)
        passed = passed and total.population >= asked > 0
        bound = f"{bound} of at least {asked}"
    out_of = {
        "broken": total.population,
        "failed": total.requests,
        "transfers_failed": total.transfers + total.failed_transfers,
        "lost": total.sent,
    }
    return Check(title, passed, f"{text} of {out_of[name]}" if name in out_of else text, bound)
