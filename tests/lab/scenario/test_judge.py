"""The verdict: what exceeds a bound fails, what was not measured fails, and nothing else does."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.scenario.bounds import Limits
from lab.scenario.checks import Check
from lab.scenario.evidence import Change, Outcome, RunEvidence, StepEvidence, Transition
from lab.scenario.judge import all_checks, run_checks, step_checks, without_route
from lab.scenario.judge_repetitions import percentile, repetition_checks
from lab.scenario.model import Counts, Expect, OverRepetitions, Step
from lab.scenario.moves import Nothing
from lab.traffic.facts import Facts
from tests.lab.scenario.cases import case

SCENARIO = case().scenario
HELD = Facts("x", 0.0, 3.0, established_before=300, established=300, pings=900, answers=900, longest_gap=0.1)
WEB = Facts("x", 0.0, 3.0, requests=300, replies=300, slowest_request=0.2)
BEFORE = {"a-r1": {"203.0.113.10/32": ("a-e1", "a-e2")}}
GOOD: dict[str, Any] = {
    "taken": 0.1, "routes": 0.16, "facts": {"web": WEB, "held": HELD}, "carried": {"a-e2": 60, "b-e1": 40},
    "moved": 100, "reasons": {"a-e1": {"ttl": 1}, "a-e2": {}}, "before": BEFORE,
    "table": {"a-r1": {"203.0.113.10/32": ("a-e2",)}}, "session_drops": 0,
    "events": {"a-e1": (Transition("vip 203.0.113.10", "announced", "withdrawn", "drained"),)},
    "digests": {edge: {"web": "x"} for edge in ("a-e1", "a-e2", "b-e1", "b-e2")},
}  # fmt: skip
EXPECT: dict[str, Any] = {
    "broken": 0, "failed": 0, "gap": 0.3, "slowest": 0.5, "answered": {"min": 100}, "held": 300, "opened": 0,
    "streams": {"held": {"broken": 0}}, "routes_within": 0.2, "share": {"a-e2": {"min": 0.3, "max": 0.7}},
    "moved": {"min": 30}, "reasons": {"all": {"no_backend": 0, "ttl": 1}, "a-e1": {"ttl": 1}},
    "routes": {"a-r1": {"203.0.113.10/32": ["a-e2"]}}, "session_drops": 0, "always_routed": True,
    "events": {"a-e1": {"vip *": 1, "vip *: announced -> withdrawn, drained": 1}, "all": {"vip *": 1}},
    "digests": "equal", "keeps": ["a-e2"],
}  # fmt: skip


def run_of(*steps: StepEvidence, **values: Any) -> RunEvidence:
    whole = StepEvidence(Step(name="drain", do=(), expect=Expect()), 0.0, 30.0)
    sites = {"a": ["a-e1", "a-e2"], "b": ["b-e1", "b-e2"]}
    kept: dict[str, Any] = {"asked": {"held": 300}, "sites": sites, "whole": whole} | values
    return RunEvidence(SCENARIO, 1, steps=steps, **kept)


def step(expect: Mapping[str, Any] = EXPECT, **values: Any) -> StepEvidence:
    described = Step(name="edge drain", do=(Nothing(),), expect=Expect.model_validate(dict(expect)))
    return StepEvidence(described, 1.0, 4.0, **(GOOD | values))


def failed(found: StepEvidence, **values: Any) -> list[str]:
    checks = step_checks(found, run_of(found, **values))
    assert checks
    return [check.name.removeprefix("edge drain: ") for check in checks if not check.passed]


def test_a_good_step_passes_every_check() -> None:
    assert failed(step()) == []
    assert len(step_checks(step(), run_of())) == 23


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"facts": {"web": WEB, "held": replace(HELD, broken={"reset": 1})}}, ["connections broken"] * 2),
        ({"facts": {"web": WEB, "held": replace(HELD, established_before=299)}}, ["connections broken"] * 2),
        ({"facts": {"web": replace(WEB, failed={"timeout": 1}), "held": HELD}}, ["requests failed"]),
        ({"facts": {"web": replace(WEB, replies=0), "held": HELD}}, ["requests failed", "requests answered"]),
        ({"facts": {"web": WEB, "held": replace(HELD, longest_gap=0.301)}}, ["longest gap"]),
        ({"facts": {"web": WEB, "held": replace(HELD, pings=0)}}, ["longest gap"]),
        ({"routes": 0.301}, ["from the node to the last router's kernel"]),
        ({"carried": {"a-e2": 71, "b-e1": 29}}, ["share of a-e2"]),
        ({"moved": 29}, ["flows moved"]),
        ({"reasons": {"a-e1": {"ttl": 1, "no_backend": 1}}}, ["packets of no_backend at all edges"]),
        ({"table": {"a-r1": {"203.0.113.10/32": ("a-e1", "a-e2")}}}, ["a-r1 sends 203.0.113.10/32 to"]),
        ({"session_drops": 1}, ["BGP sessions dropped"]),
        (
            {"changes": [Change(2.0, "a-r1", "203.0.113.10/32", ())]},
            ["every router had a next hop always", "every router that sent to a-e2 always did"],
        ),
        (
            {"changes": [Change(2.0, "a-r1", "203.0.113.10/32", ("a-e1",))]},
            ["every router that sent to a-e2 always did"],
        ),
        ({"digests": GOOD["digests"] | {"b-e2": {"web": "y"}}}, ["site b: table digests of b-e1, b-e2"]),
        ({"outcomes": [Outcome("a-e1: x", 1, 0)]}, ["a-e1: x"]),
        ({"outcomes": [Outcome("a-e1: x", 0, 0, "said", "expected")]}, ["a-e1: x: output"]),
        ({"error": "the routers did not converge"}, ["done"]),
    ],
)
def test_what_is_wrong_fails_its_own_check(values: dict[str, Any], wrong: list[str]) -> None:
    assert [name.removeprefix("held: ") for name in failed(step(**values))] == wrong


MISSING: dict[str, Any] = {
    "routes": None, "facts": {}, "carried": {}, "moved": None, "reasons": None, "before": None, "table": None,
    "session_drops": None, "events": None, "digests": None,
}  # fmt: skip


@pytest.mark.parametrize("name", MISSING)
def test_what_was_not_measured_fails_and_never_passes(name: str) -> None:
    assert failed(step(**{name: MISSING[name]}))


def test_without_any_measurement_every_check_fails() -> None:
    checks = step_checks(step(**MISSING), run_of())
    assert [check for check in checks if check.passed] == []


def test_an_edge_that_tells_nothing_is_no_evidence_for_itself() -> None:
    found = failed(step(reasons={"a-e2": {"ttl": 1}}, events={"b-e1": ()}))
    assert "packets of ttl at a-e1" in found
    assert "transitions of 'vip *' at a-e1" in found


def test_only_what_fairhop_tells_is_left_out_for_other_targets() -> None:
    reasons = dict.fromkeys(("reasons", "events", "digests"), "haproxy")
    found = step(reasons=None, events=None, digests=None)
    assert failed(found, left_out=reasons) == []
    assert len(step_checks(found, run_of(left_out=reasons))) == 15


def test_a_run_that_did_not_come_to_its_end_or_judges_nothing_has_failed() -> None:
    for run in (run_of(step()), run_of(step(), step(), error="it broke")):
        assert [check.passed for check in run_checks(run) if check.name == "the run came to its end"] == [False]
    assert all(check.name != "the run came to its end" for check in run_checks(run_of(step(), step())))
    nothing = step({})
    silent = replace(run_of(nothing, nothing), scenario=SCENARIO.model_copy(update={"expect": Expect()}))
    assert [check.passed for check in all_checks(silent)] == [False]


numbers = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False)


@given(value=numbers, low=numbers, high=numbers)
def test_a_value_passes_exactly_within_its_bounds(value: float, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)
    assert Limits(min=low, max=high).hold(value) == (low <= value <= high)
    assert Limits(min=low).hold(value) == (value >= low)
    assert Limits(max=high).hold(value) == (value <= high)
    assert not Limits(min=low).hold(math.nan)
    assert not Limits(max=high).hold(math.nan)


@given(
    name=st.sampled_from(("broken", "failed", "gap", "slowest", "answered", "held", "opened")),
    amount=st.integers(0, 400),
    low=st.integers(0, 400),
    high=st.integers(0, 400),
)
def test_a_count_outside_its_bound_always_fails(name: str, amount: int, low: int, high: int) -> None:
    low, high = min(low, high), max(low, high)
    facts = {
        "broken": replace(HELD, broken={"reset": amount}), "failed": replace(WEB, failed={"timeout": amount}),
        "gap": replace(HELD, longest_gap=float(amount)), "slowest": replace(WEB, slowest_request=float(amount)),
        "answered": replace(WEB, replies=amount), "held": replace(HELD, established=amount),
        "opened": replace(HELD, opened=amount),
    }[name]  # fmt: skip
    stream = "web" if facts.requests else "held"
    found = step({"streams": {stream: {name: {"min": low, "max": high}}}}, facts={stream: facts})
    (check,) = step_checks(found, run_of())
    assert check.passed == (low <= amount <= high)


changes = st.lists(st.tuples(st.floats(0, 30, allow_nan=False), st.booleans()), max_size=12)


@given(changes=changes)
def test_always_routed_fails_exactly_when_a_router_lost_its_last_next_hop(changes: list[tuple[float, bool]]) -> None:
    told = [Change(time, "a-r1", "203.0.113.10/32", ("a-e2",) if any_hop else ()) for time, any_hop in changes]
    found = step({"always_routed": True}, changes=told)
    (check,) = step_checks(found, run_of())
    assert check.passed == all(any_hop for _, any_hop in changes)


@given(hops=st.lists(st.sets(st.sampled_from(("a-e1", "a-e2"))), max_size=6))
def test_a_node_is_kept_unless_a_router_that_sent_to_it_ceased_to(hops: list[set[str]]) -> None:
    told = [Change(float(number), "a-r1", "203.0.113.10/32", tuple(each)) for number, each in enumerate(hops)]
    elsewhere = Change(0.5, "b-r1", "203.0.113.10/32", ())
    for node in ("a-e1", "a-e2"):
        (check,) = step_checks(step({"keeps": [node]}, changes=[*told, elsewhere]), run_of())
        assert check.passed == all(node in each for each in hops)


def test_a_node_that_no_router_sent_to_was_not_kept() -> None:
    (check,) = step_checks(step({"keeps": ["b-e1"]}), run_of())
    assert (check.passed, check.value) == (False, "not measured")


def test_a_router_that_never_had_a_next_hop_has_lost_none_and_gaps_end_with_the_next_hop() -> None:
    lost = Change(1.0, "a-r1", "203.0.113.10/32", ())
    back = replace(lost, time=1.25, hops=("a-e2",))
    other = replace(lost, router="b-r1")
    assert without_route(BEFORE, [lost, back, other], 9.0) == [("a-r1", "203.0.113.10/32", 0.25)]
    assert without_route(BEFORE, [lost], 9.0) == [("a-r1", "203.0.113.10/32", 8.0)]


@given(values=st.lists(numbers, min_size=1, max_size=60), share=st.sampled_from((0.5, 0.99, 1.0)))
def test_a_percentile_is_a_value_that_its_share_does_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert share < 1.0 or found == max(values)


def over(bounds: Mapping[str, Any], *runs: RunEvidence) -> list[Check]:
    asked = SCENARIO.model_copy(update={"over_repetitions": OverRepetitions.model_validate(dict(bounds))})
    return [*repetition_checks([replace(run, scenario=asked) for run in runs])]


def test_percentiles_and_sums_are_over_all_runs() -> None:
    whole = replace(run_of().whole, facts={"held": HELD, "web": replace(WEB, failed={"timeout": 1})}, session_drops=0)
    quick, slow = (run_of(step(routes=0.1 + time), whole=whole) for time in (0.05, 0.5))
    bounds = {"failover_time": {"p50": 0.1, "p99": 0.3}, "broken": 0, "failed": 1, "session_drops": 0}
    passed = {check.name: check.passed for check in over(bounds, quick, slow)}
    assert passed == {
        "failover_time p50": True, "failover_time p99": False, "all runs: connections broken": True,
        "all runs: requests failed": False, "all runs: BGP sessions dropped": True,
    }  # fmt: skip


def test_a_run_without_the_measurement_fails_what_is_over_all_runs() -> None:
    bounds = {"failover_time": {"p99": 0.3}, "steps": {"edge drain": {"max": 0.3}}, "failed": 0, "session_drops": 0}
    blind = run_of(step(routes=None))
    assert [check.passed for check in over(bounds, run_of(step()), blind)] == [False] * 4
    assert [check.passed for check in repetition_checks([])] == [False]


def test_every_bound_of_the_language_is_judged() -> None:
    """A bound that the judge forgot would pass unseen."""
    unjudged = {*Expect.model_fields, *Counts.model_fields} - {*EXPECT, "transfers_failed", "lost"}
    assert unjudged == set()
    bulk = replace(WEB, transfers=5, transfers_failed={"reset": 1})
    data = replace(WEB, sent=10, received=9)
    for facts, name, stream in (
        (bulk, "transfers_failed", "{kind: bulk, to: web}"),
        (data, "lost", "{kind: datagrams, to: echo, count: 1}"),
    ):
        head = "version: 1\nname: drain\ntitle: t\ntopology: two-site\n"
        scenario = case(f"{head}traffic: {{s: {stream}}}\nsteps: [{{name: x, do: nothing}}]\n").scenario
        (check,) = step_checks(step({name: 0}, facts={"s": facts}), replace(run_of(), scenario=scenario))
        assert not check.passed
