"""What the announcer's times compute: percentiles, verdicts, the JSON of a run, its lists of tasks, its picture."""

import json
import math
from pathlib import Path

import pytest

from lab.announce.figures import HEADINGS, Outcome, outcome_from_json, percentile
from lab.announce.measures import Effort
from lab.announce.plan import KINDS
from lab.announce.plot import draw
from lab.announce.recipes import RECIPES
from lab.announce.rows import BY_NAME, ROWS
from lab.announce.run import Report, tasks


@pytest.mark.parametrize(("values", "share", "expected"), [(range(1, 31), 0.99, 30), (range(1, 101), 0.99, 99),
                                                           (range(1, 201), 0.99, 198), ([7.0], 0.99, 7.0),
                                                           (range(1, 31), 0.01, 1)])  # fmt: skip
def test_the_percentile_is_a_value_that_was_measured(values: range, share: float, expected: float) -> None:
    assert percentile(list(values), share) == expected


def test_the_slowest_of_thirty_decides() -> None:
    values = [3.0] * 29
    assert Outcome("exabgp-killed", "bird", (*values, 10.0)).verdict == "PASS"
    assert Outcome("exabgp-killed", "bird", (*values, 10.1)).verdict == "FAIL"
    assert Outcome("exabgp-killed", "frr", (*values, 80.0)).verdict == "PASS"


def test_an_event_without_effect_fails_and_is_said() -> None:
    outcome = Outcome("detached", "frr", (60.0, math.inf))
    assert outcome.verdict == "FAIL"
    assert "never" in outcome.cells()
    assert outcome.to_json()["values"] == [60.0, None]
    assert outcome_from_json(json.loads(json.dumps(outcome.to_json()))) == outcome


def test_where_more_is_better_the_least_decides() -> None:
    assert Outcome("all-down", "frr", (1.0, 0.99)).verdict == "PASS"
    assert Outcome("all-down", "frr", (1.0, 0.98)).verdict == "FAIL"


def test_what_was_not_measured_is_no_pass() -> None:
    outcome = Outcome("node-dead-bfd", "frr", reason="there is no BFD")
    assert outcome.verdict == "NOT MEASURED"
    assert outcome.cells()[-1] == "NOT MEASURED: there is no BFD"
    assert len(outcome.cells()) == len(HEADINGS)
    assert not Report([outcome], {}).failed
    assert Report([Outcome("detached", "frr", (math.inf,))], {}).failed


def test_a_row_without_a_bound_is_a_reference() -> None:
    assert Outcome("floor-update", "frr", (50.0,)).verdict == "REFERENCE"
    assert Outcome("drain-vip", "gobgp", (3.0,)).verdict == "REFERENCE"


def test_the_bounds_are_those_of_the_issue() -> None:
    bounds = {row.name: (row.bounds["bird"], row.bounds["frr"]) for row in ROWS if row.bounds}
    written = {
        "drain-vip": (5, 60),
        "all-vips": (20, 95),
        "process-dies": (8, 75),
        "detached": (8, 75),
        "exabgp-killed": (10, 80),
        "daemon-wedged-bfd": (100, 100),
        "node-dead-bfd": (35, 100),
        "site-failover": (6, 115),
        "planned-drain": (0, 0),
        "upgrade": (0, 0),
        "alternating": (2, 2),
        "all-down": (0.99, 0.99),
    }
    assert {name: bounds[name] for name in written} == written
    assert {name for name, most in bounds.items() if most == (3000, 3000)} == {
        "relay-killed", "daemon-killed", "checker-killed", "exabgp-stopped", "relay-stopped", "daemon-stopped",
        "relay-babbles", "exabgp-babbled", "checker-stopped",
    }  # fmt: skip


def test_every_recipe_is_of_a_row_and_lays_out_for_every_router() -> None:
    assert set(RECIPES) <= set(BY_NAME)
    for name, (layout, _) in RECIPES.items():
        for kind in BY_NAME[name].kinds:
            assert layout(kind).kind == kind


def test_tasks_are_the_rows_asked_for_router_by_router() -> None:
    some = [(row.name, kind) for row, kind in tasks(["drain-node", "drain-vip"], ["bird", "gobgp", "frr"])]
    assert some == [("drain-vip", "frr"), ("drain-node", "frr"), ("drain-vip", "bird"), ("drain-node", "bird"),
                    ("drain-vip", "gobgp")]  # fmt: skip
    assert len(tasks([], [])) == sum(len(row.kinds) for row in ROWS)


def test_an_earlier_report_is_kept_but_for_what_was_measured_again() -> None:
    old = [Outcome("detached", "frr", (math.inf,)), Outcome("drain-node", "frr", (53.0,))]
    report = Report([Outcome("detached", "frr", (9.0,))], {}).with_earlier(old)
    assert [(outcome.row, outcome.values) for outcome in report.outcomes] == [
        ("drain-node", (53.0,)),
        ("detached", (9.0,)),
    ]


def test_a_hundred_drains_for_thirty_repetitions() -> None:
    assert (Effort(30).drains, Effort(1).drains) == (100, 4)


def test_the_picture_has_a_line_for_each_row_in_milliseconds(tmp_path: Path) -> None:
    outcomes = [Outcome("drain-vip", kind, (3.0, 4.0)) for kind in KINDS]
    outcomes += [Outcome("detached", "frr", (5.0, math.inf)), Outcome("upgrade", "frr", (0.0,))]
    draw(outcomes, tmp_path / "times.svg")
    drawn = (tmp_path / "times.svg").read_text()
    for label in ("drain-vip, frr", "drain-vip, bird", "drain-vip, gobgp", "detached, frr"):
        assert f"<!-- {label} -->" in drawn
    assert "upgrade" not in drawn
