"""The core of the scenarios on real containerlab: the same files and steps, the same verdicts as on namespaces."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.containerlab import tier
from tests.containerlab.conftest import MakeRuntime

pytestmark = [pytest.mark.containerlab, pytest.mark.timeout(1800), pytest.mark.calm]

TOPOLOGY = tier.ROOT / "containerlab" / "two-site.clab.yml"


CORE = ("acceptance", "edge-drain", "edge-kill", "edge-restart")  # on two-site, which is deployed once for all of them


@pytest.fixture(scope="module")
def results(make_runtime: MakeRuntime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """By scenario, what `fairhop lab test --json` wrote; its progress and verdict stand in the failure's text."""
    written = tmp_path_factory.mktemp("core") / "results.json"
    command: list[str | Path] = [Path(sys.executable).with_name("fairhop"), "lab", "test", *CORE]
    try:
        done = subprocess.run(
            [*command, "--runtime", "containerlab", "--json", written],
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            cwd=tier.ROOT,
        )
        assert written.exists(), f"exit code {done.returncode}\n{done.stderr[-4000:]}\n{done.stdout[-4000:]}"
        yield {result["scenario"]["name"]: result for result in json.loads(written.read_text())["results"]}
    finally:
        make_runtime(TOPOLOGY).destroy(lambda _: None)


@pytest.fixture
def report(results: dict[str, Any]) -> dict[str, Any]:
    """The main job's."""
    found: dict[str, Any] = results["acceptance"]
    return found


@pytest.mark.parametrize("name", CORE)
def test_a_core_scenario_passes(results: dict[str, Any], name: str) -> None:
    steps = [step for run in results[name]["runs"] for step in run["steps"]]
    failed = [check for step in steps for check in step["checks"] if not check["passed"]]
    assert failed == []
    assert results[name]["passed"], [run["checks"] for run in results[name]["runs"]]


def test_every_check_passes(report: dict[str, Any]) -> None:
    (run,) = report["runs"]
    checks = [*run["checks"], *(check for step in run["steps"] for check in step["checks"])]
    assert len(checks) == 12
    assert [check for check in checks if not check["passed"]] == []
    assert report["passed"]


def test_it_ran_on_containerlab_with_a_full_population(report: dict[str, Any]) -> None:
    assert report["runtime"] == "containerlab"
    steps = report["runs"][0]["steps"]
    assert steps[0]["traffic"]["held"]["established_before"] >= 2000
    assert [step["action"].split()[0] for step in steps] == ["drain", "undrain", "kill", "start", "drain", "undrain"]


def test_the_lab_is_gone_afterwards(report: dict[str, Any]) -> None:
    left = tier.run("docker", "ps", "--all", "--filter", "label=containerlab=two-site", "--format", "{{.Names}}")
    assert left == ""
