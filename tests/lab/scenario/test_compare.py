"""A scenario on several labs: its bounds decide on its own lab alone, and one table shows all."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge.text.strictyaml import ConfigError
from lab.cli.commands import lab
from lab.cli.test import code_of
from lab.report import compare as side_by_side
from lab.report.result import ResultError, read
from lab.scenario import junit, parse
from lab.scenario.engine import Engine
from lab.scenario.evidence import Surroundings
from lab.scenario.parse import Case, NoTopologyError
from lab.scenario.result import Result, of_many, topology_json
from lab.scenario.suite import Findings
from lab.scenario.text import brief, verdict
from lab.topology.model import Topology
from tests.lab import other_labs
from tests.lab.scenario.fake_stage import FakeStage
from tests.lab.two_site import two_site

ROOT = Path(__file__).parents[3]
TEXT = """\
version: 1
name: both
title: An edge is drained
topology: two-site
against: [haproxy]
traffic: {held: {kind: connections, to: echo, count: 300, from: [client-a]}}
steps:
  - name: edge drain
    do: {drain: {nodes: [a-e1]}}
    announcing: {without: [a-e1]}
    expect: {broken: 0, routes_within: 0.2}
expect: {broken: 0}
"""


def topology_of(name: str) -> Topology:
    if name == "two-site":
        return two_site()
    if name in other_labs.LABS:
        return other_labs.topology(name)
    raise NoTopologyError(f"there is no topology '{name}'")


def cases(text: str = TEXT) -> tuple[Case, ...]:
    return parse.load(text, "scenarios/both.yml", topology_of)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        cases(text)
    return [str(problem).removeprefix("scenarios/both.yml:") for problem in error.value.problems]


def played(case: Case, breaks: int, deaf: frozenset[str] = frozenset()) -> Result:
    around = Surroundings(
        "1", "6.18", "netns", "2026-01-01T00:00:00Z", 2, {}, "both.yml",
        topology_json(case.topology, [case.plan.nodes["a-e1"].target]),
    )  # fmt: skip
    run = Engine(case, FakeStage(case, breaks=breaks, deaf=deaf), lambda _: None).run()
    return Result(case.scenario, around, (run,))


def both(breaks: int = 3) -> list[Result]:
    own, other = cases()
    return [played(own, 0), played(other, breaks)]


def test_each_lab_is_a_case_and_only_the_first_is_judged() -> None:
    assert [(case.name, case.topology.name, case.judged) for case in cases()] == [
        ("both", "two-site", True),
        ("both on haproxy", "haproxy", False),
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[haproxy]", "[haprozy]", "5:11: there is no topology 'haprozy'"),
        ("[haproxy]", "[two-site]", "5:11: 'two-site' is named before: expected each topology once"),
        ("from: [client-a]", "from: [client-b]", "6:66: on haproxy: there is no client 'client-b'; did you mean"),
        ("{nodes: [a-e1]}", "{nodes: [b-e1]}", "9:26: on haproxy: there is no edge 'b-e1'; did you mean"),
        ("{nodes: [a-e1]}", "{vip: web}", "9:23: on haproxy: drain of a vip: edges that are haproxy cannot do it"),
        ("drain: {", "reload: {", "9:18: on haproxy: reload: edges that are haproxy cannot do it"),
    ],
)
def test_what_one_of_the_labs_lacks_is_an_error_of_the_file(old: str, new: str, message: str) -> None:
    (found,) = problems(TEXT.replace(old, new))
    assert found.startswith(message), found


def test_a_bound_that_another_system_misses_is_told_and_decides_nothing() -> None:
    own, other = both()
    assert own.passed
    assert other.passed
    lines = list(brief(other))
    assert lines[0] == "both on haproxy: An edge is drained"
    assert "[NOTE] edge drain: connections broken: 3 of 603 (expected 0 of at least 300): not met" in lines
    assert "[PASS] the run came to its end: 1 of 1 steps done (expected 1 steps)" in lines
    assert verdict(other).startswith("VERDICT PASS: 1 of 1 checks passed")
    assert code_of(Findings([own, other])) == 0
    assert "<failure" not in junit.document([own, other])


def test_the_same_on_the_labs_own_fails() -> None:
    own, _ = cases()
    failed = played(own, 3)
    assert not failed.passed
    assert code_of(Findings([failed])) == 1


def test_half_a_comparison_has_failed() -> None:
    _, other = cases()
    stopped = played(other, 0, deaf=frozenset({"a-e1"}))
    assert not stopped.passed
    failed = [check.name for check in stopped.every_check if not check.holds]
    assert failed == ["edge drain: done"]


def document(results: list[Result]) -> Any:
    return json.loads(json.dumps(of_many(results)))


def test_the_table_has_a_column_for_each_lab() -> None:
    broken, *others = side_by_side.tables(read(document(both())))
    assert broken.rows == [["step", "fairhop (two-site)", "haproxy"], ["edge drain", *broken.rows[1][1:]]]
    assert broken.rows[1][1].startswith("0 of ")
    assert broken.rows[1][2].startswith("3 of ")
    failover = others[-1]
    assert failover.title.startswith("Failover_time")
    assert failover.rows[1] == ["edge drain", "60 ms", "60 ms"]
    markdown = "\n".join(side_by_side.as_markdown([failover]))
    assert "| edge drain | 60 ms | 60 ms |" in markdown
    text = "\n".join(side_by_side.as_text([failover]))
    assert "edge drain  60 ms               60 ms" in text


def test_one_lab_alone_is_no_comparison(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="expected one scenario on several labs, not both on two-site"):
        side_by_side.tables(read(document(both()[:1])))
    file = tmp_path / "one.json"
    file.write_text(json.dumps(of_many(both()[:1])))
    done = CliRunner().invoke(lab, ["compare", str(file)])
    assert done.exit_code == 78, done.output


def test_the_command_prints_either_form(tmp_path: Path) -> None:
    file = tmp_path / "two.json"
    file.write_text(json.dumps(of_many(both())))
    done = CliRunner().invoke(lab, ["compare", str(file), "--markdown"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("**Flows broken")


def commands() -> list[list[str]]:
    text = (ROOT / "docs" / "comparison.md").read_text()
    return [shlex.split(line) for line in re.findall(r"^# (fairhop lab .*)$", text, flags=re.M)]


def test_the_commands_beside_the_numbers_parse() -> None:
    found = commands()
    assert [command[2] for command in found] == ["test", "compare", "report"]
    for _, group, verb, *arguments in found:
        assert group == "lab"
        command = lab.commands[verb]
        context = command.make_context(verb, [word.replace("compare.json", __file__) for word in arguments])
        assert context.params
    assert (ROOT / "containerlab" / "scenarios" / f"{found[0][3]}.yml").is_file()


def test_the_document_tells_what_each_step_is() -> None:
    from lab.scenario import files  # noqa: PLC0415 - reads topologies too

    text = (ROOT / "docs" / "comparison.md").read_text()
    told = {name for row in re.findall(r"^\| ([^|]+) \|", text, flags=re.M) for name in row.split(", ")}
    own, *others = files.read([ROOT / "containerlab" / "scenarios" / "compare.yml"])
    assert {step.name for step in own.scenario.steps} <= told
    assert [case.topology.name for case in others] == ["haproxy", "nft"]
    assert all(f"`{case.topology.name}.clab.yml`" in text for case in others)
