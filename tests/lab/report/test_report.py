"""The report without a browser: the contract, what is left out and said so, scales and layouts."""

import itertools
import json
import re
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lab.main import cli
from lab.report import assets, cdf, failover, html, layout, marks, page, rates, result, timeline
from lab.report.result import Mark, Result, ResultError, Topology
from lab.report.scale import Scale, decades, nice, percentile, quantity, seconds, ticks
from lab.report.svg import el, fit, width_of
from tests.lab.report import sample

SCHEMA = Path(result.__file__).with_name("schema.json")


def one(**parameters: Any) -> Result:
    return result.read(sample.result(**parameters))[0]


def render(*results: Result) -> str:
    return page.render(results, "", "")


def test_the_schema_file_is_the_contract() -> None:
    assert json.loads(SCHEMA.read_text()) == result.schema(), "write it again: python -m tests.lab.report --schema"
    jsonschema.Draft202012Validator.check_schema(result.schema())


@pytest.mark.parametrize(
    "document", [sample.result(), sample.results(), sample.large()], ids=["one", "several", "large"]
)
def test_a_sample_keeps_the_contract(document: dict[str, Any]) -> None:
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))


def test_the_schema_refuses_what_it_does_not_know() -> None:
    document = sample.result(repetitions=1)
    document["runs"][0]["routechanges"] = []
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, result.schema())
    assert result.read(document)[0].runs[0].number == 1, "reading passes over it"


def test_all_that_is_wrong_is_told_with_its_place() -> None:
    document = sample.result(repetitions=1)
    document["runs"][0]["steps"][1]["t"] = "soon"
    del document["kernel"]
    with pytest.raises(ResultError) as told:
        result.read(document)
    assert sorted(str(told.value).splitlines()) == [
        "kernel is missing",
        "runs.0.steps.1.t is 'soon': expected a valid number, unable to parse string as a number",
    ]


def test_another_version_is_refused() -> None:
    with pytest.raises(ResultError, match="schema_version is 2, expected 1"):
        result.read({"schema_version": 2})


def test_the_command_writes_a_report(tmp_path: Path) -> None:
    file, output = tmp_path / "r.json", tmp_path / "out" / "r.html"
    file.write_text(json.dumps(sample.results()))
    done = CliRunner().invoke(cli, ["lab", "report", str(file), "--html", str(output)])
    assert done.exit_code == 0, done.output
    text = output.read_text()
    assert text.startswith("<!doctype html>")
    assert "1 of 2 scenarios passed." in text
    assert not re.search(r"(src|href)=\"(?!#)", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "r.json:1:2"),
        ("[]", "expected an object"),
        ('{"schema_version": 1}', "fairhop is missing"),
        ("\xff", "r.json"),
    ],
)
def test_the_command_names_what_is_wrong(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "r.json"
    file.write_text(text, encoding="latin-1")
    done = CliRunner().invoke(cli, ["lab", "report", str(file), "--html", str(tmp_path / "r.html")])
    assert done.exit_code == 78
    assert words in done.output
    assert not (tmp_path / "r.html").exists()


def test_every_verdict_of_the_result_is_in_the_report() -> None:
    found = one()
    text = render(found)
    failed = [(where, check) for where, check in found.all_checks() if not check.passed]
    assert failed
    table = text[text.index("Verdict") : text.index("Topology sample")]
    for where, check in failed:
        assert f"<td>{where}</td><td>{check.name}</td><td>{check.value}</td><td>{check.bound}</td>" in table
    passed = sum(check.passed for _, check in found.all_checks())
    assert f"{passed:,} checks of single runs and steps passed" in table
    assert table.count("✓ PASS") == passed


def test_a_run_without_anything_is_drawn() -> None:
    bare = {"number": 1, "duration": 0.0, "passed": True}
    document = sample.result() | {"runs": [bare], "checks": []}
    assert "Run 1" in render(*result.read(document))
    assert "Runs" in render(*result.read(document | {"runs": []}))


def test_runs_that_failed_are_drawn_and_the_others_counted() -> None:
    text = render(one(repetitions=30, broken_run=29))
    drawn = re.findall(r"<summary>Run (\d+) ", text)
    assert "29" in drawn
    assert f"{30 - len(drawn)} more are in this table alone" in text


def test_marks_at_one_place_are_one_symbol_that_says_how_many() -> None:
    scale = Scale(0, 10, 100, 1100)
    crowd = [Mark(t=5.0 + i / 1000, kind="gap", length=0.1 + i / 100, stream="web") for i in range(7)]
    drawn, count = marks.lane([*crowd, Mark(t=9.0, kind="gap", flow="f", edge="a-e1")], 10, scale)
    assert count == 2
    assert "7 x gap, 5.000 to 5.006 s, longest 160 ms; web 7" in drawn[0]
    assert "gap at 9.000 s; f; edge a-e1" in drawn[1]


@given(st.lists(st.floats(0, 300), max_size=300))
def test_no_mark_is_lost_and_no_symbol_covers_another(times: list[float]) -> None:
    scale = Scale(0, 300, 0, 1000)
    found = marks.clusters(times, lambda t: t, scale)
    assert sum(cluster.count for cluster, _ in found) == len(times)
    starts = [scale.at(cluster.first) for cluster, _ in found]
    assert all(after - before > 9.99 for before, after in itertools.pairwise(starts))


@given(st.integers(0, 10**6), st.integers(481, 3000))
def test_a_thinned_line_keeps_its_peaks(seed: int, count: int) -> None:
    chance = Random(seed)
    values = [chance.uniform(0, 1e6) for _ in range(count)]
    points = [(float(t), value) for t, value in enumerate(values)]
    thin = rates.thin(points, len(values))
    assert len(thin) <= 500
    assert max(v for _, v in thin) == max(values)
    assert min(v for _, v in thin) == min(values)
    assert set(thin) <= set(points)
    assert [t for t, _ in thin] == sorted(t for t, _ in thin)


def test_the_timeline_says_what_it_drew_together() -> None:
    _, notes = timeline.draw(result.read(sample.large())[0].runs[0])
    assert re.fullmatch(r"10,000 marks are \d+ symbols: .*", notes[0])
    assert re.fullmatch(r"10,000 route changes are drawn as \d+ ticks: .*", notes[1])


def test_a_bound_of_a_step_is_one_too() -> None:
    document = sample.result(repetitions=1)
    step = document["runs"][0]["steps"][0]
    name = "from the node to the last router's kernel"
    step["checks"] = [{"name": f"edge drain: {name}", "passed": True, "value": "58 ms", "bound": "at most 200 ms"}]
    found = result.read(document)[0]
    assert (f"{name}: at most 200 ms", 0.2) in failover.bounds_of(found)
    assert ("run 1, edge drain", name) in [(where, check.name) for where, check in found.all_checks()]


def test_what_could_not_be_judged_is_said() -> None:
    document = sample.result(repetitions=1)
    run = document["runs"][0]
    run["left_out"] = {"share": "only one edge is there"}
    run["steps"][0]["error"] = "a-e1 did not answer"
    text = render(*result.read(document))
    assert "Not judged: share: only one edge is there" in text
    assert "not finished: a-e1 did not answer" in text


def test_bounds_are_taken_from_checks() -> None:
    assert failover.bounds_of(one()) == [("failover_time p99: at most 300 ms", 0.3)]
    curve = cdf.draw({"kill": [0.05, 0.2]}, [("p99 at most 300 ms", 0.3)])
    assert "p99 at most 300 ms" in curve
    assert "kill: 2 events, median 50 ms, p99 200 ms, longest 200 ms" in curve


@pytest.mark.parametrize(("share", "wanted"), [(0.5, 15), (0.9, 27), (0.99, 30), (1.0, 30)])
def test_percentiles_are_values_that_were_measured(share: float, wanted: int) -> None:
    assert percentile([float(v) for v in range(30, 0, -1)], share) == wanted


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0 s"), (0.0004, "400 µs"), (0.0694, "69.4 ms"), (1.234, "1.23 s"), (300.0, "300 s"), (None, "-")],
)
def test_durations(value: float | None, words: str) -> None:
    assert seconds(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(7, "7"), (0.25, "0.25"), (1234, "1,234"), (45_600, "45.6 k"), (3e6, "3 M")]
)
def test_quantities(value: float, words: str) -> None:
    assert quantity(value) == words


@given(st.floats(1e-3, 1e9), st.integers(2, 15))
def test_ticks_are_round_and_within(high: float, count: int) -> None:
    found = ticks(high, count)
    assert found[0] == 0
    assert 2 <= len(found) <= count + 1
    assert found[-1] <= high * 1.001
    assert high <= nice(high) <= 2 * high


def test_decades() -> None:
    assert decades(0.03, 0.6) == pytest.approx([0.05, 0.1, 0.2, 0.5])


def test_markup_is_escaped() -> None:
    assert el("p", "<b>&", title='"<') == '<p title="&quot;&lt;">&lt;b&gt;&amp;</p>'


@given(st.text(max_size=60), st.floats(5, 300))
def test_words_are_cut_to_their_room(words: str, room: float) -> None:
    assert not (cut := fit(words, room)) or width_of(cut) <= room


@pytest.mark.parametrize(
    "lab",
    [
        sample.topology(n, e, b, t, c)
        for n, e, b, t, c in [(1, 1, 1, 0, 1), (2, 2, 3, 1, 1), (3, 3, 6, 2, 2), (4, 4, 3, 2, 1)]
    ]
    + [sample.spine_leaf(), {"name": "empty", "nodes": [], "links": []}],
)
def test_boxes_and_lines_of_a_layout(lab: dict[str, Any]) -> None:
    plan = layout.plan(Topology.model_validate(lab))
    assert len(plan.nodes) == len(lab["nodes"])
    assert len(plan.wires) == len(lab["links"])
    spots = sorted(plan.nodes.values(), key=lambda spot: (spot[1], spot[0]))
    for (x, y), (other_x, other_y) in itertools.pairwise(spots):
        assert y != other_y or other_x - x >= layout.BOX_WIDTH + 4
        assert layout.BOX_WIDTH / 2 <= x <= plan.width - layout.BOX_WIDTH / 2
    for wire in plan.wires:
        for x, y in wire.points[1:-1]:
            hidden = [
                n for n, (bx, by) in plan.nodes.items() if abs(x - bx) < layout.BOX_WIDTH / 2 and abs(y - by) < 17
            ]
            assert not hidden, f"{wire} passes under {hidden}"


def test_links_to_what_is_no_node_are_not_drawn() -> None:
    lab = {"name": "t", "nodes": [{"name": "a"}], "links": [{"a": "a:eth1", "b": "host:eth1"}]}
    assert layout.plan(Topology.model_validate(lab)).wires == []


def test_the_assets_are_shipped() -> None:
    assert "svg.topology" in assets.shared_sheet()


def test_the_same_result_gives_the_same_file(tmp_path: Path) -> None:
    html.write(sample.result(), tmp_path / "a.html")
    html.write(sample.result(), tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
