"""The engine on a stage without a lab: order, times, what is collected, and what ends a run."""

import pytest

from lab.scenario import routing
from lab.scenario.engine import Engine
from lab.scenario.judge import all_checks
from lab.scenario.routing import Standing
from tests.lab.scenario.cases import DRAIN, case
from tests.lab.scenario.fake_stage import PREFIX, FakeStage


def test_steps_are_done_in_order_at_their_times_and_pass() -> None:
    stage = FakeStage(case())
    run = Engine(stage.case, stage, lambda _: None).run()
    assert stage.log == ["prepare", "traffic", "drain a-e1", "undrain a-e1"]
    assert [check for check in all_checks(run) if not check.passed] == []
    drain, back = run.steps
    assert drain.began == pytest.approx(1.0), "`after`"
    assert back.began == pytest.approx(drain.until), "nothing between the steps"
    assert drain.until - drain.began == pytest.approx(0.16 + 2.5)
    assert drain.taken == pytest.approx(0.1)
    assert drain.routes == pytest.approx(0.16)
    assert drain.failover_time == pytest.approx(0.06)
    assert drain.routers.keys() == {"a-r1", "a-r2"}, "transit stays with site a, whose other edge serves"
    assert drain.table is not None
    assert drain.table["a-r1"]["203.0.113.10/32"] == ("a-e2",)
    assert drain.moved == 50
    assert drain.carried == {"a-e2": 100}
    assert [step for step, _ in run.failover_times] == ["edge drain", "edge return"]
    assert [time for _, time in run.failover_times] == pytest.approx([0.06, 0.06])
    assert run.whole.facts["web"].requests == round(run.whole.until * 200)
    assert run.rates["streams"]["web"][0][0] == pytest.approx(run.whole.until)


def test_the_time_before_a_step_belongs_to_the_run_and_not_to_the_step() -> None:
    stage = FakeStage(case())
    run = Engine(stage.case, stage, lambda _: None).run()
    assert run.steps[0].facts["web"].requests == round(2.66 * 200)
    assert sum(step.facts["web"].requests for step in run.steps) < run.whole.facts["web"].requests


def test_what_breaks_is_judged_at_its_step_and_in_the_run() -> None:
    stage = FakeStage(case(), breaks=3)
    run = Engine(stage.case, stage, lambda _: None).run()
    failed = [(check.name, check.value) for check in all_checks(run) if not check.passed]
    assert failed == [("edge drain: connections broken", "3 of 603"), ("connections broken", "3 of 603")]


def test_a_late_route_fails_its_bound() -> None:
    stage = FakeStage(case(), delay=0.21)
    run = Engine(stage.case, stage, lambda _: None).run()
    failed = [check for check in all_checks(run) if not check.passed]
    assert [(check.name, check.value) for check in failed] == [
        ("edge drain: from the node to the last router's kernel", "210 ms")
    ]


def test_routes_that_do_not_come_end_the_run_and_fail_it() -> None:
    stage = FakeStage(case(), deaf=frozenset({"a-e1"}))
    run = Engine(stage.case, stage, lambda _: None).run()
    assert len(run.steps) == 1
    failed = {check.name: check.value for check in all_checks(run) if not check.passed}
    assert failed["edge drain: done"] == "the routers did not converge within 30 s"
    assert failed["the run came to its end"].startswith("1 of 2 steps done")
    assert failed["edge drain: from the node to the last router's kernel"] == "no route changed"


def test_the_code_of_a_command_is_judged() -> None:
    text = DRAIN.replace(
        "do: {undrain: {nodes: [a-e1]}}\n    announcing: all", "do: {exec: {node: a-e1, command: 'false'}}"
    )
    stage = FakeStage(case(text))
    run = Engine(stage.case, stage, lambda _: None).run()
    failed = [(check.name, check.value) for check in all_checks(run) if not check.passed]
    assert failed == [("edge return: a-e1: false", "exit code 1")]


def test_nodes_are_asked_only_for_what_is_judged_and_waits_count_in_the_run() -> None:
    quiet = Engine(case(), FakeStage(case()), lambda _: None).run()
    assert {quiet.steps[0].session_drops, quiet.steps[0].events, quiet.steps[0].digests, quiet.whole.events} == {None}
    asked = DRAIN.replace(
        "expect: {broken: 0, always_routed: true}", "expect: {reasons: {a-e1: {ttl: 5}}, session_drops: 0}"
    )
    stage = FakeStage(case(asked))
    run = Engine(stage.case, stage, lambda _: None).run()
    assert run.steps[0].reasons == {"a-e1": {"ttl": 1}}
    assert run.whole.reasons == {"a-e1": {"ttl": 5}}, "two steps, what was before each of them, and the end"
    failed = [check.name for check in all_checks(run) if not check.passed]
    assert failed == ["BGP sessions dropped"], "nothing tells of sessions here"


def test_a_target_that_is_not_fairhop_leaves_out_what_only_fairhop_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    text = DRAIN.replace("expect: {broken: 0, always_routed: true}", "expect: {digests: equal, broken: 0}")
    found = case(text)
    run = Engine(found, FakeStage(found), lambda _: None).run()
    assert run.left_out == {}
    monkeypatch.setattr(routing, "target_of", lambda plan, edge: "haproxy")
    run = Engine(found, FakeStage(found), lambda _: None).run()
    assert run.left_out["digests"] == "the edges of two-site are haproxy, not fairhop"
    assert all("digests" not in check.name for check in all_checks(run))


def test_standing_follows_edges_services_and_lost_links() -> None:
    plan = case().plan
    text = DRAIN.replace("announcing: {without: [a-e1]}", "announcing: {without: [a-e1], vip: web}")
    standing = Standing.of(plan).after(plan, case(text).scenario.steps[0].announcing)
    assert standing.services["web"] == {"a-e2", "b-e1", "b-e2"}
    assert standing.services["echo"] == {"a-e1", "a-e2", "b-e1", "b-e2"}
    text = DRAIN.replace("announcing: {without: [a-e1]}", 'announcing: {without: ["a-r1:eth3"]}')
    lost = Standing.of(plan).after(plan, case(text).scenario.steps[0].announcing).expected(plan)
    assert lost["a-r1"][PREFIX] == ("10.0.7.1",)
    assert lost["a-r2"][PREFIX] == ("10.0.6.1", "10.0.8.1")
    assert Standing.of(plan).after(plan, None) == Standing.of(plan)
