"""From evidence to a verdict: every bound of a scenario becomes one check. No I/O.

A bound that is exceeded fails, and so does one whose evidence is missing: nothing passes for want of a measurement.
The only bounds without a check are those that a lab cannot show (`RunEvidence.left_out`), which the report names.

On a lab that is only compared, bounds are what another system promises: they are measured and not judged. What is
judged there is that the comparison could be made: the run came to its end, and what was to be done was done.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from lab.scenario import judge_traffic
from lab.scenario.bounds import Limits, shown
from lab.scenario.checks import NOT_MEASURED, Check, number
from lab.scenario.evidence import Change, Outcome, RunEvidence, StepEvidence, Table
from lab.scenario.model import Expect
from lab.scenario.names import ALL

FAIRHOP_ONLY = ("reasons", "events", "digests")


def step_checks(found: StepEvidence, run: RunEvidence) -> tuple[Check, ...]:
    """The verdict on one step."""
    name = f"{found.step.name}: "
    expected = _as_judged(_expected(name, found.step.expect, found, run), run)
    return (*_ended(found), *_outcomes(name, found.outcomes), *expected)


def run_checks(run: RunEvidence) -> tuple[Check, ...]:
    """The verdict on the run as a whole, without those on its steps."""
    done = len(run.steps)
    planned = len(run.scenario.steps)
    checks = list(_as_judged(_expected("", run.scenario.expect, run.whole, run), run))
    unfinished = done < planned or bool(run.error)
    if unfinished or not run.judged:
        value = f"{done} of {planned} steps done{': ' if run.error else ''}{run.error}"
        checks.insert(0, Check("the run came to its end", not unfinished, value, f"{planned} steps"))
    return tuple(checks)


def all_checks(run: RunEvidence) -> tuple[Check, ...]:
    """Everything that decides whether a run passed; a scenario that judges nothing has not passed."""
    checks = (*(check for step in run.steps for check in step_checks(step, run)), *run_checks(run))
    return checks or (Check("something is judged", False, "no expectation", "at least one"),)


def _as_judged(checks: Iterable[Check], run: RunEvidence) -> Iterator[Check]:
    return (replace(check, judged=run.judged) for check in checks)


def _ended(found: StepEvidence) -> Iterator[Check]:
    if found.error:
        yield Check(f"{found.step.name}: done", False, found.error, "no error")


def _outcomes(prefix: str, outcomes: Iterable[Outcome]) -> Iterator[Check]:
    for outcome in outcomes:
        last = outcome.output.strip().splitlines()[-1:] or [""]
        value = f"exit code {outcome.exit}" + (f", {last[0]}" if last[0] else "")
        yield Check(f"{prefix}{outcome.text}", outcome.exit == outcome.wanted, value, f"exit code {outcome.wanted}")
        if outcome.prints:
            there = outcome.prints in outcome.output
            value = "printed" if there else f"not in {outcome.output.strip()[-300:]!r}"
            yield Check(f"{prefix}{outcome.text}: output", there, value, f"it has '{outcome.prints}'")


def _expected(prefix: str, expect: Expect, found: StepEvidence, run: RunEvidence) -> Iterator[Check]:
    yield from judge_traffic.counts(prefix, expect, found.facts, run)
    for name, counts in expect.streams.items():
        facts = {name: found.facts[name]} if name in found.facts else {}
        yield from judge_traffic.counts(f"{prefix}{name}: ", counts, facts, run)
    if expect.routes_within is not None:
        took = found.failover_time
        value = "no route changed" if took is None else shown(took, "ms")
        passed = took is not None and expect.routes_within.hold(took)
        bound = expect.routes_within.shown("ms")
        yield Check(f"{prefix}from the node to the last router's kernel", passed, value, bound)
    for edge, limits in expect.share.items():
        yield _share(f"{prefix}share of {edge}", limits, found.carried, edge)
    if expect.moved is not None:
        yield number(f"{prefix}flows moved", expect.moved, found.moved)
    yield from _routes(prefix, expect, found.table)
    if expect.session_drops is not None:
        yield number(f"{prefix}BGP sessions dropped", expect.session_drops, found.session_drops)
    if expect.always_routed:
        yield _always_routed(f"{prefix}every router had a next hop always", found)
    yield from _of_fairhop(prefix, expect, found, run)


def _of_fairhop(prefix: str, expect: Expect, found: StepEvidence, run: RunEvidence) -> Iterator[Check]:
    """What only a fairhop edge tells."""
    if "reasons" not in run.left_out:
        for edge, reasons in expect.reasons.items():
            for reason, limits in reasons.items():
                count = _reason_count(found.reasons, edge, reason)
                yield number(f"{prefix}packets of {reason} at {_named(edge)}", limits, count)
    if "events" not in run.left_out:
        for edge, patterns in expect.events.items():
            for pattern, limits in patterns.items():
                told = _event_count(found, edge, pattern)
                yield number(f"{prefix}transitions of '{pattern}' at {_named(edge)}", limits, told)
    if "digests" not in run.left_out and expect.digests is not None:
        wanted = expect.digests if isinstance(expect.digests, Mapping) else dict.fromkeys(run.sites, expect.digests)
        for site, verdict in wanted.items():
            yield _digests(f"{prefix}site {site}", verdict, run.sites.get(site, ()), found.digests)


def _named(edge: str) -> str:
    return "all edges" if edge == ALL else edge


def _share(title: str, limits: Limits, carried: Mapping[str, int], edge: str) -> Check:
    total = sum(carried.values())
    if not total:
        return Check(title, False, "no flow was carried", limits.shown("%"))
    share = carried.get(edge, 0) / total
    return Check(title, limits.hold(share), f"{shown(share, '%')} of {total} flows", limits.shown("%"))


def _routes(prefix: str, expect: Expect, table: Table | None) -> Iterator[Check]:
    for router, rows in expect.routes.items():
        for vip, wanted in rows.items():
            title, bound = f"{prefix}{router} sends {vip} to", " ".join(sorted(wanted)) or "nobody"
            if table is None or router not in table:
                yield Check(title, False, NOT_MEASURED, bound)
            else:
                hops = table[router].get(vip, ())
                yield Check(title, sorted(hops) == sorted(wanted), " ".join(sorted(hops)) or "nobody", bound)


def _always_routed(title: str, found: StepEvidence) -> Check:
    bound = "no moment without"
    if found.before is None or not any(hops for rows in found.before.values() for hops in rows.values()):
        return Check(title, False, NOT_MEASURED, bound)
    without = without_route(found.before, found.changes, found.until)
    if not without:
        prefixes = sum(len(rows) for rows in found.before.values())
        return Check(title, True, f"{prefixes} routes, {len(found.changes)} changes, none to nothing", bound)
    router, prefix, seconds = max(without, key=lambda gap: gap[2])
    value = f"{len(without)} times, longest {shown(seconds, 'ms')}: {router} had none for {prefix}"
    return Check(title, False, value, bound)


def without_route(before: Table, changes: Sequence[Change], until: float) -> list[tuple[str, str, float]]:
    """(router, prefix, seconds) of each time that a router which had next hops for a VIP prefix had none."""
    had = {(router, prefix) for router, rows in before.items() for prefix, hops in rows.items() if hops}
    since: dict[tuple[str, str], float] = {}
    gaps = []
    for change in sorted(changes, key=lambda change: change.time):
        key = change.router, change.prefix
        if change.hops:
            had.add(key)
            if key in since:
                gaps.append((*key, change.time - since.pop(key)))
        elif key in had:
            since.setdefault(key, change.time)
    return gaps + [(*key, max(0.0, until - start)) for key, start in since.items()]


def _reason_count(reasons: Mapping[str, Mapping[str, int]] | None, edge: str, reason: str) -> int | None:
    if not reasons or (edge != ALL and edge not in reasons):
        return None
    rows = [*reasons.values()] if edge == ALL else [reasons[edge]]
    return sum(row.get(reason, 0) for row in rows)


def _event_count(found: StepEvidence, edge: str, pattern: str) -> int | None:
    if not found.events or (edge != ALL and edge not in found.events):
        return None
    rows = [each for name, told in found.events.items() if edge in (ALL, name) for each in told]
    texts = (str(each) if "->" in pattern else each.subject for each in rows)
    return sum(fnmatchcase(text, pattern) for text in texts)


def _digests(title: str, wanted: str, edges: Sequence[str], digests: Mapping[str, Mapping[str, str]] | None) -> Check:
    title = f"{title}: table digests of {', '.join(edges)}"
    if not digests or not edges or any(edge not in digests for edge in edges):
        return Check(title, False, NOT_MEASURED, wanted)
    distinct = {tuple(sorted(digests[edge].items())) for edge in edges}
    words = "; ".join(f"{pool} {digest[:12]}" for pool, digest in sorted(digests[edges[0]].items()))
    value = words if len(distinct) == 1 else f"{len(distinct)} different sets"
    empty = any(not digests[edge] for edge in edges)
    return Check(title, not empty and (len(distinct) == 1) == (wanted == "equal"), value, wanted)
