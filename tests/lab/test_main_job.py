"""The main job from the command line on network namespaces: `fairhop lab demo`, as `make lab` runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab import machine
from tests.lab.two_site import FILE

pytestmark = [*machine.marks, pytest.mark.calm]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    written = tmp_path_factory.mktemp("demo") / "report.json"
    fairhop = Path(sys.executable).with_name("fairhop")
    done = subprocess.run(
        [fairhop, "lab", "demo", "--topology", FILE, "--json", written],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert written.exists(), done.stderr
    return done, json.loads(written.read_text())


Run = tuple[subprocess.CompletedProcess[str], dict[str, Any]]


def steps_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    return list(report["runs"][0]["steps"])


def test_every_check_passes_and_the_exit_code_says_so(run: Run) -> None:
    done, report = run
    (only,) = report["runs"]
    checks = [*only["checks"], *(check for step in only["steps"] for check in step["checks"])]
    assert [check for check in checks if not check["passed"]] == []
    assert len(checks) == 12
    assert (done.returncode, report["passed"]) == (0, True)


def test_no_change_of_an_edge_breaks_one_of_two_thousand_connections(run: Run) -> None:
    _, report = run
    edge_steps = [step for step in steps_of(report) if step["name"].startswith("edge")]
    assert len(edge_steps) == 4
    for step in edge_steps:
        held = step["traffic"]["held"]
        assert held["established_before"] + held["opened"] >= 2000
        assert held["broken"] == {}
        assert step["moved"] > 100, "the edge that changed carried nothing, so nothing was shown"
    for name in ("edge drain", "edge return", "edge restart"):
        assert next(step for step in edge_steps if step["name"] == name)["traffic"]["web"]["failed"] == {}


def test_a_site_drain_breaks_what_it_says_and_nothing_at_the_other_site(run: Run) -> None:
    _, report = run
    drain = next(step for step in steps_of(report) if step["name"] == "site drain")
    held = drain["traffic"]["held"]
    broken = sum(held["broken"].values())
    assert 0 < broken <= 1100, "the thousand of client-a, and few that were on their way"
    assert set(held["broken"]) == {"reset"}
    assert set(drain["edges"]) == {"b-e1", "b-e2"}, drain


def test_each_router_balances_over_both_edges_of_its_site(run: Run) -> None:
    _, report = run
    hops = {(row["router"], row["prefix"]): row["next_hops"] for row in report["runs"][0]["next_hops"]}
    for site in ("a", "b"):
        for router in (f"{site}-r1", f"{site}-r2"):
            for vip in ("203.0.113.10/32", "203.0.113.11/32", "2001:db8:1::10/128", "2001:db8:1::11/128"):
                assert {f"({site}-e1)", f"({site}-e2)"} <= set(hops[router, vip].replace(",", "").split())


def test_progress_goes_to_stderr_and_the_verdict_ends_the_report(run: Run) -> None:
    done, _ = run
    assert "edge kill" in done.stderr
    assert done.stdout.rstrip().splitlines()[-1].startswith("VERDICT PASS")
    assert "Nothing carries established TCP between sites yet" in done.stdout


def test_nothing_of_the_lab_is_left(run: Run) -> None:
    machine.wait_for_nothing("two-site")
