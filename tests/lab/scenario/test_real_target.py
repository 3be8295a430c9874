"""One event of a comparison on a lab that HAProxy serves: engine, traffic and faults need no fairhop at the edge."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab import machine

pytestmark = [*machine.marks, pytest.mark.timeout(240), pytest.mark.calm]

ROOT = Path(__file__).parents[3]
FAIRHOP = Path(sys.executable).with_name("fairhop")
TEXT = """\
version: 1
name: one-event
title: An edge dies
topology: one-site
against: [haproxy]
traffic:
  web: {kind: requests, to: web, rate: 20, from: [client-a]}
  held: {kind: connections, to: echo, count: 60, interval: 0.2, from: [client-a]}
steps:
  - name: backend drained
    do: {drain: {backend: a-b3, on: [a-e1, a-e2]}}
    expect: {broken: 0}
  - name: edge killed
    do: {fault: {kill: {node: a-e1}, name: dead}}
    announcing: {without: [a-e1]}
    observe: 9
    expect: {broken: 0, routes_within: 5, reasons: {all: {no_backend: 0}}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "scenarios").mkdir()
    for source in ("one-site.clab.yml", "one-site", "haproxy.clab.yml", "haproxy", "images"):
        (folder / source).symlink_to(ROOT / "containerlab" / source)
    (folder / "scenarios" / "one-event.yml").write_text(TEXT)
    command: list[str | Path] = [FAIRHOP, "lab", "test", "-t", folder / "scenarios", "--on", "haproxy"]
    command += ["--json", folder / "r.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    return done, json.loads((folder / "r.json").read_text()) if (folder / "r.json").exists() else {}


def test_what_haproxy_breaks_is_told_and_fails_nothing(
    run: tuple[subprocess.CompletedProcess[str], dict[str, Any]],
) -> None:
    done, facts = run
    assert done.returncode == 0, done.stderr + done.stdout
    assert not facts["judged"]
    assert facts["topology"]["target"] == "haproxy"
    (only,) = facts["runs"]
    assert "reasons" in only["left_out"], "what fairhop alone tells"
    drained, killed = only["steps"]
    assert sum(killed["traffic"]["held"]["broken"].values()) > 0, "connections of a dead HAProxy are gone"
    assert killed["routes"] is not None
    (bound,) = [check for check in killed["checks"] if check["name"].endswith("connections broken")]
    assert (bound["passed"], bound["judged"]) == (False, False)
    assert any(line.startswith("[NOTE] edge killed: connections broken") for line in done.stdout.splitlines())
    assert drained["taken"] is not None, "node-start told when HAProxy had the order"


def test_the_drained_backend_got_no_new_connection(
    run: tuple[subprocess.CompletedProcess[str], dict[str, Any]],
) -> None:
    _, facts = run
    _, killed = facts["runs"][0]["steps"]
    answered = killed["traffic"]["web"]["requests_per_backend"]
    assert answered.keys() == {"a-b1", "a-b2"}, answered


def test_nothing_of_the_lab_is_left(run: tuple[subprocess.CompletedProcess[str], dict[str, Any]]) -> None:
    assert run
    machine.wait_for_nothing("haproxy")
