"""`fairhop lab`: verbs, exit codes, JSON; and the drawing of a topology."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
from click.testing import CliRunner, Result

from lab.cli.commands import lab
from lab.job.bring_up import bring_up
from lab.netns import state
from lab.netns.runtime import destroy
from lab.runtime import LabError, Progress, Runtime
from lab.runtimes.files import find_topology, named_topology, read_topology, runtime_for
from lab.topology.graph import dot, mermaid
from lab.topology.parse import Topology
from tests.lab.machine import marks, traces

FAIRHOP = Path(sys.executable).with_name("fairhop")
NAME = f"fhns-cli-{os.getpid()}"
BODY = f"""name: {NAME}
topology:
  defaults: {{kind: linux, network-mode: none}}
  nodes:
    hub: {{labels: {{colour: red}}}}
    leaf: {{group: leaves, labels: {{fairhop.site: a}}}}
  links: [{{endpoints: ["hub:fhns1", "leaf:fhns1"], mtu: 1500}}]
"""


@pytest.fixture(name="path")
def _path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "containerlab").mkdir()
    path = tmp_path / "containerlab" / "t.clab.yml"
    path.write_text(BODY)
    return path


@pytest.fixture(name="clean")
def _clean() -> Iterator[None]:
    yield
    destroy(NAME)
    assert traces(NAME) == []


def call(*argv: str) -> Result:
    return CliRunner().invoke(lab, argv, catch_exceptions=False)


def test_the_topology_is_found_in_the_folder_or_in_containerlab(path: Path) -> None:
    assert find_topology(Path.cwd()) == path
    nearer = Path.cwd() / "near.clab.yaml"
    nearer.write_text(BODY)
    assert find_topology(Path.cwd()) == nearer
    (Path.cwd() / "other.clab.yml").write_text(BODY)
    with pytest.raises(LabError, match=r"several topology files in .*: near, other; pick one with --topology NAME"):
        find_topology(Path.cwd())
    assert find_topology(Path.cwd(), "other").name == "other.clab.yml"
    assert named_topology("t", Path.cwd()) == path
    assert named_topology("near.clab.yaml", Path.cwd()) == Path("near.clab.yaml")
    with pytest.raises(LabError, match=r"no topology 'tt' in .*containerlab: t; pick one"):
        find_topology(Path.cwd(), "tt")
    (Path.cwd() / "two-site.clab.yml").write_text(BODY)
    assert find_topology(Path.cwd()).name == "two-site.clab.yml"
    with pytest.raises(LabError, match=r"no \*.clab.yml in "):
        find_topology(path.parent / "nowhere")


def test_a_topology_knows_where_it_was_read(path: Path) -> None:
    read = read_topology(path.relative_to(Path.cwd()))
    assert (read.folder, read.file) == (str(path.parent), str(path))


def test_an_unknown_runtime_is_named() -> None:
    with pytest.raises(LabError, match="runtime 'podman' is unknown: expected netns or containerlab"):
        runtime_for("podman", Topology("t", {}))


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("name: t\n", 78, "containerlab/t.clab.yml:1:1: the file lacks the key 'topology'\n"),
        (None, 1, "fairhop: no *.clab.yml in "),
    ],
)
def test_errors_and_their_exit_codes(path: Path, text: str | None, code: int, message: str) -> None:
    path.write_text(text) if text else path.unlink()
    done = call("status")
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr


def test_without_root_the_code_is_77(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = call("up")
    assert done.exit_code == 77
    assert done.stderr == "fairhop: a lab of namespaces needs root: run this with sudo\n"


def test_graph_in_each_form(path: Path) -> None:
    path.write_text(BODY.replace("colour: red", "fairhop.role: router"))
    topology = read_topology(path)
    assert mermaid(topology) == "\n".join(
        [
            "graph TD",
            '  n0["hub<br/>router"]',
            '  subgraph site_a["site a"]',
            '    n1["leaf"]',
            "  end",
            '  n0 ---|"fhns1 fhns1"| n1',
        ]
    )
    assert dot(topology) == "\n".join(
        [
            f'graph "{NAME}" {{',
            "  node [shape=box];",
            '  "hub" [label="hub\\nrouter"];',
            '  subgraph "cluster_a" { label="site a"; "leaf" [label="leaf"]; }',
            '  "hub" -- "leaf" [taillabel="fhns1", headlabel="fhns1"];',
            "}",
        ]
    )
    assert call("graph").stdout == mermaid(topology) + "\n"
    assert call("graph", "--format", "dot").stdout == dot(topology) + "\n"
    facts = json.loads(call("graph", "--json").stdout)
    assert facts["links"] == [{"a": "hub:fhns1", "b": "leaf:fhns1", "mtu": 1500}]


class Follower:
    """The lines of `lab events --json`; each `until` looks on from where the one before stopped."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._lines: SimpleQueue[dict[str, object]] = SimpleQueue()
        self._process = process
        threading.Thread(target=self._read, daemon=True).start()
        self._unseen: list[dict[str, object]] = []

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(json.loads(line))

    def until(self, kind: str, action: str, **facts: str) -> None:
        """Return once such an event was told; those before it that nobody asked for stay to be asked for."""
        wanted = {"type": kind, "action": action, "lab": NAME, **facts}
        deadline = time.monotonic() + 15
        while not (found := [event for event in self._unseen if wanted.items() <= event.items()]):
            assert time.monotonic() < deadline, f"{wanted} not in {self._unseen}"
            with suppress(Empty):
                self._unseen.append(self._lines.get(timeout=0.2))
        self._unseen.remove(found[0])


class TestLive:
    pytestmark = marks

    def test_up_status_exec_check_down(self, path: Path, clean: None) -> None:
        up = call("up")
        assert (up.exit_code, up.stdout) == (0, "")
        assert f"lab {NAME} is up: 2 nodes, 1 links" in up.stderr
        assert call("up").exit_code == 0

        shown = call("status")
        assert shown.exit_code == 0
        assert [line.split()[:2] for line in shown.stdout.splitlines()] == [
            ["NODE", "STATE"],
            ["hub", "running"],
            ["leaf", "running"],
        ]
        facts = json.loads(call("status", "--json").stdout)
        assert (facts["schema_version"], facts["lab"], facts["runtime"]) == (1, NAME, "netns")
        assert [(node["name"], node["state"]) for node in facts["nodes"]] == [("hub", "running"), ("leaf", "running")]
        assert facts["nodes"][0]["labels"]["colour"] == "red"
        assert NAME in call("status", "--all").stdout
        assert NAME in [each["lab"] for each in json.loads(call("status", "--all", "--json").stdout)["labs"]]

        done = call("exec", "hub", "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (done.exit_code, done.stdout, done.stderr) == (7, "out\n", "err\n")
        done = call("exec", "--json", "hub", "--", "ls", "-d", "/")
        assert json.loads(done.stdout)["stdout"] == "/\n"
        assert call("exec", "nobody", "true").exit_code == 1

        assert call("check").exit_code == 1
        found = json.loads(call("check", "--json").stdout)["findings"]
        assert {finding["reason"] for finding in found} == {"offload-on"}
        for node in ("hub", "leaf"):
            call("exec", node, "ethtool", "-K", "fhns1", "gso", "off")
        assert call("check").stdout == "[PASS] 1 links are honest\n"

        path.write_text(BODY.replace("1500", "1400"))
        assert "runs as an older description: links changed since" in call("up").stderr
        assert call("up", "--reconfigure").exit_code == 0
        assert call("down").exit_code == 0
        assert call("status").exit_code == 1
        assert traces(NAME) == []
        assert call("down", "--name", NAME).stderr == f"there is no lab {NAME}\n"

    def test_the_verbs_of_a_running_lab(self, path: Path, clean: None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FAIRHOP_LAB_TOPOLOGY", "t")
        deployed = call("deploy")
        assert deployed.exit_code == 0
        assert "nodes and links were up after " in deployed.stderr
        rows = list(csv.DictReader(io.StringIO(call("inspect", "-f", "csv").stdout)))
        assert [(row["name"], row["kind"], row["state"]) for row in rows] == [
            ("hub", "linux", "running"),
            ("leaf", "linux", "running"),
        ]
        named = json.loads(call("inspect", "--name", NAME, "-f", "json").stdout)["labs"][NAME]
        assert [str(each["pid"]) for each in named] == [row["pid"] for row in rows]
        assert call("inspect").stdout.splitlines()[1].split()[:3] == [NAME, "hub", "linux"]

        link = ("exec", "leaf", "cat", "/sys/class/net/fhns1/ifindex", "/sys/class/net/fhns1/address")
        index_and_mac = call(*link).stdout
        assert call("restart", "leaf").exit_code == 0
        assert call(*link).stdout == index_and_mac
        pids = {each["name"]: each["pid"] for each in json.loads(call("status", "--json").stdout)["nodes"]}
        assert str(pids["hub"]) == rows[0]["pid"] and str(pids["leaf"]) != rows[1]["pid"]
        assert call("stop", "leaf").exit_code == 0
        assert call("status").exit_code == 1
        assert call("start", "leaf").exit_code == 0
        assert call("status").exit_code == 0
        assert call("save").stderr == "hub: runs no FRR: nothing to save\nleaf: runs no FRR: nothing to save\n"
        assert call("destroy", "--name", NAME).stderr == f"lab {NAME} is gone\n"
        assert call("inspect").exit_code == 1

    def test_all_labs_are_destroyed_at_once(
        self, path: Path, clean: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """All of this test's: what else this machine runs is not told to the command."""
        other = f"fhns-too-{os.getpid()}"
        file = tmp_path / "elsewhere" / "other.clab.yml"
        file.parent.mkdir()
        file.write_text(BODY.replace(NAME, other))
        try:
            assert (call("deploy").exit_code, call("deploy", "-t", str(file)).exit_code) == (0, 0)
            assert {NAME, other} <= {*state.labs()}
            monkeypatch.setattr(state, "labs", lambda: [NAME, other])
            assert call("destroy", "--all").stderr == f"lab {NAME} is gone\nlab {other} is gone\n"
            assert (traces(NAME), traces(other)) == ([], [])
            assert call("destroy", "--all").stderr == f"there is no lab {NAME}\nthere is no lab {other}\n"
        finally:
            call("destroy", "--name", other)

    def test_events_tell_of_another_processs_lab(self, path: Path, clean: None) -> None:
        argv = [str(FAIRHOP), "lab", "events", "-f", "--json", "--name", NAME]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as follower:
            try:
                seen = Follower(follower)
                call("deploy")
                seen.until("node", "ready", node="hub")
                seen.until("node", "ready", node="leaf")
                call("exec", "leaf", "ip", "link", "set", "fhns1", "down")
                seen.until("link", "down", node="leaf", interface="fhns1")
                call("exec", "leaf", "ip", "link", "set", "fhns1", "up")
                seen.until("link", "up", node="leaf", interface="fhns1")
                call("restart", "hub")
                seen.until("node", "ended", node="hub")
                seen.until("node", "started", node="hub")
                call("down")
                seen.until("lab", "destroyed")
            finally:
                follower.kill()

    def test_up_waits_for_convergence_and_leaves_the_lab_for_a_look_if_there_is_none(
        self, path: Path, clean: None
    ) -> None:
        def never(runtime: Runtime, topology: Topology, progress: Progress) -> None:
            assert runtime.exec("hub", ["true"]).returncode == 0
            raise TimeoutError("not converged")

        topology = read_topology(path)
        with pytest.raises(TimeoutError):
            bring_up(runtime_for("netns", topology), topology, lambda _: None, converge=never)
        assert call("status").exit_code == 0
