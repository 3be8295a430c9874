"""The main job's steps and verdict: what must fail does."""

from dataclasses import replace

import pytest

from lab.addressing import Role
from lab.job import scenario
from lab.job.demo import Amount, traffic_of
from lab.job.scenario import Action, Bounds, Step, StepResult, judge, judge_digests
from lab.traffic.facts import Facts
from lab.traffic.plan import Connections, Requests
from tests.lab.two_site import two_site_plan

STEP = Step("edge drain", Action.DRAIN, ("a-e1",), Bounds(broken=0, failed_requests=0, routes=0.2))
FACTS = Facts("edge drain", 0.0, 3.0, established_before=2000, established=2000, requests=600, replies=600)
GOOD = StepResult(STEP, 0.17, 0.1, {"a-r1": 0.07}, FACTS, 500, {"a-e2": 1000})


def verdicts(result: StepResult) -> list[bool]:
    return [check.passed for check in judge([result], 2000)]


def test_a_good_step_passes_every_check() -> None:
    assert verdicts(GOOD) == [True, True, True]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (replace(FACTS, broken={"reset": 1}), [False, True, True]),
        (replace(FACTS, established_before=1999), [False, True, True]),
        (replace(FACTS, failed={"timeout": 1}), [True, False, True]),
        (replace(FACTS, requests=0), [True, False, True]),
    ],
)
def test_what_breaks_fails_its_own_check(facts: Facts, expected: list[bool]) -> None:
    assert verdicts(replace(GOOD, facts=facts)) == expected


@pytest.mark.parametrize("routes", [None, 0.301])
def test_routes_that_came_late_or_never_fail(routes: float | None) -> None:
    assert verdicts(replace(GOOD, routes=routes)) == [True, True, False]


def test_what_is_not_promised_is_not_judged() -> None:
    step = replace(STEP, bounds=Bounds(None, None, None))
    assert judge([replace(GOOD, step=step, facts=replace(FACTS, broken={"reset": 900}))], 2000) == ()


def test_a_digest_that_differs_within_a_site_fails_that_site_only() -> None:
    plan = two_site_plan()
    digests = {edge: {"web": "x", "echo": "y"} for edge in ("a-e1", "a-e2", "b-e1", "b-e2")}
    assert [check.passed for check in judge_digests(digests, plan)] == [True, True]
    digests["b-e2"] = {"web": "x", "echo": "z"}
    assert [check.passed for check in judge_digests(digests, plan)] == [True, False]


def test_a_fifth_of_the_traffic_runs_over_ipv6_and_all_of_it_over_ipv4_where_a_service_has_no_ipv6_vip() -> None:
    plan = two_site_plan()
    client = plan.having(Role.CLIENT)[0]
    web, echo = plan.services
    both = [*traffic_of(client, web, echo, Amount(1000, 100.0)).streams.values()]
    only = [*traffic_of(client, web, replace(echo, vip6=None), Amount(1000, 100.0)).streams.values()]
    for streams, sources, counts, rates in (
        (both, ["198.51.100.11", "2001:db8:c::11"], [800, 200], [80.0, 20.0]),
        (only, ["198.51.100.11"], [1000], [100.0]),
    ):
        assert list(dict.fromkeys(each.source for each in streams)) == sources
        assert [each.count for each in streams if isinstance(each, Connections)] == counts
        assert [each.rate for each in streams if isinstance(each, Requests)] == rates


def test_the_main_job_promises_nothing_broken_for_every_change_of_an_edge() -> None:
    steps = scenario.main_job(two_site_plan())
    assert [step.name for step in steps] == [
        "edge drain", "edge return", "edge kill", "edge restart", "site drain", "site return",
    ]  # fmt: skip
    assert all(step.bounds.broken == 0 for step in steps if step.name.startswith("edge"))
    assert steps[4].nodes == ("a-e1", "a-e2")
    assert all(step.remark for step in steps if step.bounds.broken is None)
