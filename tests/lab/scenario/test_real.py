"""Two scenarios in a row on one lab of namespaces, one of which must fail: `fairhop lab test` and what it writes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.lab import machine
from tests.lab.scenario.cases import DRAIN

pytestmark = [*machine.marks, pytest.mark.timeout(240), pytest.mark.calm]

ROOT = Path(__file__).parents[3]
FAIRHOP = Path(sys.executable).with_name("fairhop")
# The same drain, held to what cannot be: no flow moves, and the routers are quicker than they are.
IMPOSSIBLE = DRAIN.replace("name: drain", "name: impossible").replace(
    "broken: 0, failed: 0, routes_within: 0.2", "broken: 0, moved: 0, routes_within: 0.001"
)
Run = tuple[subprocess.CompletedProcess[str], dict[str, Any], ET.Element]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("lab")
    scenarios = folder / "scenarios"
    scenarios.mkdir()
    for source in ("two-site.clab.yml", "two-site", "images"):
        (folder / source).symlink_to(ROOT / "containerlab" / source)
    (scenarios / "drain.yml").write_text(DRAIN)
    (scenarios / "impossible.yml").write_text(IMPOSSIBLE)
    command: list[str | Path] = [FAIRHOP, "lab", "test", "-t", scenarios, "--json", folder / "r.json"]
    command += ["--junit-xml", folder / "r.xml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert (folder / "r.json").exists(), done.stderr
    return done, json.loads((folder / "r.json").read_text()), ET.fromstring((folder / "r.xml").read_text())


def test_the_exit_code_says_that_one_failed(run: Run) -> None:
    done, facts, _ = run
    assert done.returncode == 1, done.stderr
    assert {each["scenario"]["name"]: each["passed"] for each in facts["results"]} == {
        "drain": True,
        "impossible": False,
    }
    assert done.stdout.splitlines()[-1] == "VERDICT FAIL: 1 of 2 scenarios passed"


def test_only_what_cannot_be_has_failed(run: Run) -> None:
    done, _, root = run
    failed = [line for line in done.stdout.splitlines() if line.startswith("[FAIL]")]
    assert [line.split(": ")[1] for line in failed] == ["from the node to the last router's kernel", "flows moved"]
    assert [suite.attrib["failures"] for suite in root] == ["0", "2"]


def test_one_lab_served_both(run: Run) -> None:
    done, facts, _ = run
    assert done.stderr.count("bringing two-site up") == 1, done.stderr
    assert [each["runs"][0]["up"] is None for each in facts["results"]] == [False, True]


def test_edges_backends_and_seconds_are_told(run: Run) -> None:
    _, facts, _ = run
    (only,) = facts["results"][0]["runs"]
    assert {"a-b1", "b-b1"} <= set(only["rates"]["backends"])
    assert sum(row[1] for row in only["rates"]["streams"]["web"]) > 500
    assert {change["router"] for change in only["route_changes"]} == {"a-r1", "a-r2"}


def test_nothing_of_the_lab_is_left(run: Run) -> None:
    machine.wait_for_nothing("two-site")
