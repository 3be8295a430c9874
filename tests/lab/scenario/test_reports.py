"""What a result becomes: JSON, JUnit XML that parses back, text, exit codes."""

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from lab.cli.test import code_of
from lab.scenario import junit, text
from lab.scenario.engine import Engine
from lab.scenario.evidence import Surroundings
from lab.scenario.junit import NotRun
from lab.scenario.result import Result, of_many, topology_json
from lab.scenario.suite import Findings, obstacle
from tests.lab.scenario.cases import DRAIN, case
from tests.lab.scenario.fake_stage import FakeStage

AROUND = Surroundings(
    "0.1.0", "6.18", "netns", "2026-11-30T09:00:00Z", 2, {"python": "3.11"}, "scenarios/drain.yml",
    topology_json(case().topology),
)  # fmt: skip


def result_of(*stages: FakeStage) -> Result:
    runs = (Engine(stage.case, stage, lambda _: None).run(number) for number, stage in enumerate(stages, 1))
    return Result(stages[0].case.scenario, AROUND, tuple(runs))


GOOD = result_of(FakeStage(case()))
BAD = result_of(FakeStage(case()), FakeStage(case(), breaks=2))


def test_the_json_has_the_run_s_own_time_and_every_check() -> None:
    facts = json.loads(json.dumps(GOOD.to_json()))
    (run,) = facts["runs"]
    assert (facts["schema_version"], facts["passed"], facts["scenario"]["name"]) == (1, True, "drain")
    assert facts["topology"]["links"][0] == {"a": "transit:eth1", "b": "a-r1:eth1"}
    assert {"name": "a-e1", "role": "edge", "site": "a"} in facts["topology"]["nodes"]
    drain = run["steps"][0]
    assert (drain["action"], drain["t"]) == ("drain a-e1", pytest.approx(1.0))
    assert drain["traffic"]["held"]["established"] == 600
    change = run["route_changes"][0]
    assert (change["t"], change["hops"]) == (pytest.approx(1.16), ["a-e2"])
    assert run["failover_times"][0] == {"step": "edge drain", "seconds": pytest.approx(0.06)}
    assert run["faults"] == [{"name": "loss", "text": "30 %", "t": pytest.approx(run["duration"]), "until": None}]
    names = [check["name"] for step in run["steps"] for check in step["checks"]] + [c["name"] for c in run["checks"]]
    assert names == [check.name for check in GOOD.every_check]


def test_several_results_stand_in_a_list_and_one_alone() -> None:
    assert of_many([GOOD]) == GOOD.to_json()
    assert [each["passed"] for each in of_many([GOOD, BAD])["results"]] == [True, False]


def test_one_bad_run_of_two_fails_the_result() -> None:
    assert (GOOD.passed, BAD.passed) == (True, False)
    assert [run["passed"] for run in BAD.to_json()["runs"]] == [True, False]


def test_junit_reads_back_with_its_counts() -> None:
    skipped, error = NotRun("bird", "not installed: bird", True), NotRun("broken", "no \x00 lab", False)
    root = ET.fromstring(junit.document([GOOD, BAD], [skipped, error]))
    assert root.tag == "testsuites"
    cases = root.findall("testsuite/testcase")
    assert int(root.attrib["tests"]) == len(cases) == len(GOOD.every_check) + len(BAD.every_check) + 2
    assert int(root.attrib["failures"]) == len(root.findall(".//failure")) == 2
    assert (root.attrib["errors"], root.attrib["skipped"]) == ("1", "1")
    for suite in root:
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
        assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    failure = root.find(".//failure")
    assert failure is not None
    assert failure.attrib["message"] == "2 of 602 (expected 0 of at least 600)"
    assert (root.find(".//skipped") is not None, root.find(".//error") is not None) == (True, True)


def test_a_brief_report_has_a_line_for_each_check_and_ends_with_nothing_else() -> None:
    lines = [*text.brief(BAD)]
    assert lines[0] == "drain: An edge is drained"
    assert sum(line.startswith("[FAIL] run 2: ") for line in lines) == 2
    assert sum(line.startswith("[PASS]") for line in lines) == len(BAD.every_check) - 2


def test_a_full_report_shows_routes_steps_checks_and_the_verdict_last() -> None:
    lines = [*text.report(GOOD)]
    assert "  a-r1     203.0.113.10/32    10.0.5.1 dev eth3 (a-e1)" in lines
    (row,) = [line for line in lines if line.startswith("edge drain  ")]
    assert row.split()[2:6] == ["100", "ms", "160", "ms"]
    assert lines[-1].startswith(f"VERDICT PASS: {len(GOOD.every_check)} of {len(GOOD.every_check)} checks passed; ")
    assert [*text.report(BAD)][-1].startswith("VERDICT FAIL")


def test_what_is_left_out_is_said() -> None:
    (run,) = GOOD.runs
    told = replace(GOOD, runs=(replace(run, left_out={"reasons": "no edge of x is fairhop"}),))
    assert "not judged: reasons (no edge of x is fairhop)" in [*text.brief(told)]
    assert "not judged: reasons (no edge of x is fairhop)" in [*text.report(told)]


@pytest.mark.parametrize(
    ("results", "not_run", "code"),
    [
        ([GOOD], [], 0),
        ([GOOD, BAD], [], 1),
        ([GOOD], [NotRun("x", "not installed: bird", True)], 3),
        ([BAD], [NotRun("x", "no lab", False)], 1),
        ([], [], 3),
    ],
)
def test_the_exit_code(results: list[Result], not_run: list[NotRun], code: int) -> None:
    assert code_of(Findings(results, not_run)) == code


def test_what_a_machine_lacks_is_named() -> None:
    needs = DRAIN.replace("traffic:", "needs: [sh, no-such-program]\ntraffic:")
    assert obstacle(case(needs), "netns") == "not installed: no-such-program"
    assert obstacle(case(needs), "containerlab") == "", "the images have what nodes need"
    only = DRAIN.replace("traffic:", "runtimes: [containerlab]\ntraffic:")
    assert obstacle(case(only), "netns") == "it runs on containerlab, not on netns"
    assert obstacle(case(), "netns") == ""
