"""The commands of a node: exit codes, what is printed where, and what a wait waits for."""

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from bgp.process import ProcessError
from bgp.report import PrefixStatus
from bgp.route import Route
from edge.backend.host import HostError
from edge.cli import common
from edge.cli import drain as drain_module
from edge.cli.backend import backend
from edge.cli.check import check
from edge.cli.drain import drain, undrain
from edge.cli.reload import reload
from edge.cli.run import run
from edge.cli.status import status
from edge.cli.why import why
from edge.control.ask import Answer, RefusedError
from edge.datapath.blocklist import parse
from edge.datapath.bpf_error import BpfError, Step
from edge.decide.intent import Drain, Intent
from edge.show.status import facts
from tests.edge.test_config import GOOD
from tests.edge.test_node import serving
from tests.edge.test_status import speaker, view

VIP = IPv4Network("203.0.113.10/32")
FLOW = ["198.51.100.7:40000", "203.0.113.10:80/tcp"]
BAD = GOOD.replace("encap: gre", "encap: grr").replace("seed: 7", "seed: -1")


def call(command: click.Command, *arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


class FakeDaemon:
    """Answers as a node does; a drain is done after `polls` looks at its status."""

    def __init__(self) -> None:
        self.node = serving()
        self.asked: list[dict[str, Any]] = []
        self.polls = 2
        self.refusal: RefusedError | None = None
        self.agree: bool | None = True
        self.untold: list[str] = []
        self.view = view()

    def ask(self, path: str, verb: str, **arguments: Any) -> Answer:
        self.asked.append({"verb": verb} | arguments)
        if self.refusal:
            raise self.refusal
        answers: dict[str, Callable[[], Answer]] = {"status": self._status, "why": self._why}
        if verb in answers:
            return answers[verb]()
        kept = Drain("2026-01-01T00:00:00Z", 7, "new line card")
        self.node.set_intent(Intent(node=kept if verb == "drain" else None), 0.0)
        node = {"node": "a-e1", "quiet_packets": 0, "quiet_for": 0.02, "untold": self.untold}
        return {"at": 1.0, "slots_moving": {"web": 34}, "table_size": 101, "file": "f.yaml", "changes": ""} | node

    def _status(self) -> Answer:
        self.polls -= 1
        route = None if self.node.intent.node else Route(VIP)
        done = PrefixStatus(route, route, route if self.polls < 0 else Route(VIP, med=5), 0)
        found = facts(self.node, self.view, speaker(done), [], 50.0)
        found["forwarder"]["current"] = self.polls < 0
        return found

    def _why(self) -> Answer:
        path = {"verdict": "tx", "reason": "none", "address": "10.0.9.2", "encap": "gre"}
        here = {"flow": " ".join(FLOW), "slot": 5, "backend": "b2", "oracle": path, "program": path}
        return here | {"agree": self.agree}


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    fake = FakeDaemon()
    monkeypatch.setattr(common, "ask", fake.ask)
    monkeypatch.setattr(drain_module, "_POLL", 0.005)
    return fake


COMMANDS: list[tuple[click.Command, list[str]]] = [
    (status, []),
    (drain, ["node"]),
    (drain, ["backend", "b1"]),
    (undrain, ["node"]),
    (undrain, ["backend", "b1"]),
    (reload, []),
    (why, FLOW),
]
NAMES = ["status", "drain node", "drain backend", "undrain node", "undrain backend", "reload", "why"]


@pytest.mark.parametrize(("command", "arguments"), COMMANDS, ids=NAMES)
def test_where_no_daemon_answers_the_exit_code_is_3(
    tmp_path: Path, command: click.Command, arguments: list[str]
) -> None:
    result = call(command, *arguments, "--socket", tmp_path / "none.sock")
    assert (result.exit_code, result.stdout) == (3, "")
    assert (
        result.stderr
        == f"fairhop: {tmp_path}/none.sock: no such file or directory: is `fairhop run` up on this node?\n"
    )


@pytest.mark.parametrize("code", [1, 2, 5, 78])
@pytest.mark.parametrize(("command", "arguments"), COMMANDS, ids=NAMES)
def test_a_refusal_is_printed_and_its_code_is_the_exit_code(
    daemon: FakeDaemon, command: click.Command, arguments: list[str], code: int
) -> None:
    daemon.refusal = RefusedError("a guard says no", code)
    result = call(command, *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", "fairhop: a guard says no\n")


@pytest.mark.parametrize(("command", "arguments"), [c for c in COMMANDS if c[0] in (drain, undrain)], ids=NAMES[1:5])
def test_a_wait_that_takes_too_long_ends_with_4_and_says_that_the_intent_stands(
    daemon: FakeDaemon, command: click.Command, arguments: list[str]
) -> None:
    daemon.polls = 10**6
    result = call(command, *arguments, "--wait", "--timeout", "0.02")
    assert result.exit_code == 4
    assert "fairhop: not done after 0.02 s; the intent stands" in result.stderr


@pytest.mark.parametrize(("command", "arguments"), [c for c in COMMANDS if c[0] in (drain, undrain)], ids=NAMES[1:5])
def test_a_wait_looks_until_it_is_done(daemon: FakeDaemon, command: click.Command, arguments: list[str]) -> None:
    result = call(command, *arguments, "--wait")
    assert result.exit_code == 0
    assert len(daemon.asked) >= 4
    assert daemon.polls < 0


def test_a_drain_of_the_node_says_how_to_undo_it_and_asks_for_what_was_given(daemon: FakeDaemon) -> None:
    result = call(drain, "node", "a-e1", "--reason", "new line card")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "draining node a-e1; survives restart; undo with: fairhop undrain node\n"
    assert daemon.asked == [{"verb": "drain", "kind": "node", "name": "a-e1", "reason": "new line card"}]


def test_a_drain_of_a_backend_says_what_moves_what_breaks_and_how_to_undo_it(daemon: FakeDaemon) -> None:
    result = call(drain, "backend", "b1", "--force")
    assert result.stderr.splitlines() == [
        "pool web: 34 of 101 slots move",
        "established connections in those slots will break: nothing carries them over yet",
        "draining backend b1; survives restart; undo with: fairhop undrain backend b1",
    ]
    assert (daemon.asked[0]["name"], daemon.asked[0]["force"]) == ("b1", True)


def test_a_drain_in_json_is_json_alone_on_stdout(daemon: FakeDaemon) -> None:
    result = call(drain, "node", "--json")
    told = json.loads(result.stdout)
    assert (told["at"], told["status"]["verdict"]) == (1.0, "DRAINED")


def test_status_exits_0_only_when_serving(daemon: FakeDaemon) -> None:
    result = call(status)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "a-e1: SERVING")
    daemon.node.set_intent(Intent(node=Drain("2026-01-01T00:00:00Z", 7, "new line card")), 0.0)
    result = call(status)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (1, "a-e1: DRAINED")
    assert "drained: node since 2026-01-01T00:00:00Z by uid 7 new line card" in result.stdout
    result = call(status, "--json")
    assert (result.exit_code, json.loads(result.stdout)["verdict"]) == (1, "DRAINED")


def test_status_marks_what_is_asked_and_not_yet_acked(daemon: FakeDaemon) -> None:
    daemon.polls = 1
    assert "ASKED" in call(status).stdout
    assert "acked" in call(status).stdout


def test_status_names_backends_that_wait_for_a_next_hop(daemon: FakeDaemon) -> None:
    lines = call(status).stdout.splitlines()
    assert "  b1 waits for a next hop: no MAC address known for any of its gateways" in lines


def test_status_names_what_is_blocked_and_why_an_interface_is_generic(daemon: FakeDaemon) -> None:
    listed = parse(["192.0.2.0/24", "198.51.100.0/24"], "b.txt", dry_run=True)
    daemon.view = replace(view(), blocked=listed, hits={1: 7}, remarks={"eth1": "cannot attach"})
    lines = call(status).stdout.splitlines()
    assert "  eth1: cannot attach" in lines
    at = lines.index("  block list: 2 prefixes, dry run, 7 packet(s) met it")
    assert lines[at + 1] == "    198.51.100.0/24 7"


def test_status_that_waits_in_vain_ends_with_4(daemon: FakeDaemon) -> None:
    daemon.node.set_fault("tables", "stale")
    result = call(status, "--wait", "--timeout", "0.05")
    assert result.exit_code == 4
    assert result.stderr.startswith("fairhop: still NOT SERVING (")


def test_status_that_waits_returns_when_the_node_serves(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon.node.set_fault("tables", "stale")
    monkeypatch.setattr("edge.cli.status.time.sleep", lambda _: daemon.node.set_fault("tables", ""))
    assert call(status, "--wait").exit_code == 0
    assert len(daemon.asked) == 2


def test_why_says_one_sentence_and_exits_1_when_the_program_differs(daemon: FakeDaemon) -> None:
    result = call(why, *FLOW)
    assert result.exit_code == 0
    assert result.stdout.endswith("slot 5 -> backend b2 (10.0.9.2) in gre (program and oracle agree)\n")
    daemon.agree = False
    result = call(why, *FLOW)
    assert result.exit_code == 1
    assert "THE PROGRAM SAYS" in result.stdout
    assert "please report this flow" in result.stderr


def test_what_is_no_flow_is_refused_before_anybody_is_asked(daemon: FakeDaemon) -> None:
    result = call(why, "198.51.100.7", FLOW[1])
    assert (result.exit_code, daemon.asked) == (2, [])
    assert "expected SRC:PORT" in result.stderr


def test_reload_says_what_changed(daemon: FakeDaemon) -> None:
    assert call(reload).stdout == "reloaded f.yaml: no change\n"


READERS: list[tuple[click.Command, Callable[[Path], list[str | Path]]]] = [
    (check, lambda file: [file]),
    (run, lambda file: ["--config", file]),
    (why, lambda file: [*FLOW, "--config", file]),
    (backend, lambda file: ["--config", file]),
]


@pytest.mark.parametrize(("command", "arguments"), READERS, ids=["check", "run", "why", "backend"])
@pytest.mark.parametrize(
    "text", [BAD.encode(), b"version: 1\n", b"[", b"\xff\xfe"], ids=["wrong", "empty", "yaml", "utf-8"]
)
def test_a_file_with_errors_ends_with_78_and_every_error_is_printed_at_its_place(
    tmp_path: Path, command: click.Command, arguments: Callable[[Path], list[str | Path]], text: bytes
) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(text)
    result = call(command, *arguments(file))
    assert (result.exit_code, result.stdout) == (78, "")
    *problems, last = result.stderr.splitlines()
    assert last == f"fairhop: {file}: {len(problems)} error(s)" or "codec can't decode" in last
    assert all(line.startswith(f"{file}:") for line in problems)


def test_two_errors_are_both_printed(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(BAD)
    places = [line.split(":")[1] for line in call(check, file).stderr.splitlines()[:-1]]
    assert places == ["3", "11"]


@pytest.mark.parametrize(
    ("command", "arguments"), [r for r in READERS if r[0] is not why], ids=["check", "run", "backend"]
)
def test_a_file_that_is_not_there_ends_with_78(
    tmp_path: Path, command: click.Command, arguments: Callable[[Path], list[str | Path]]
) -> None:
    result = call(command, *arguments(tmp_path / "none.yaml"))
    assert result.exit_code == 78
    assert "none.yaml: [Errno 2] No such file or directory" in result.stderr


def test_a_good_file_is_ok_and_answers_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = BpfError(Step.LOAD, "load the program", 1)

    def refuse(*_: object) -> None:
        raise refusal

    monkeypatch.setattr("edge.cli.why.LoadedForwarder", refuse)
    file = tmp_path / "f.yaml"
    file.write_text(GOOD)
    assert call(check, file).stdout == f"{file}: ok: node a-e1, 1 service(s), 1 backend(s)\n"
    told = call(why, *FLOW, "--config", file)
    assert f"backend a-b1 (10.0.9.1) in gre (by the oracle alone: {refusal})" in told.stdout
    assert told.exit_code == 0
    assert json.loads(call(why, *FLOW, "--config", file, "--json").stdout)["unasked"] == str(refusal)


@pytest.mark.parametrize("stored", [b"{", b'{"version": 2}', b"\xff\xfe"])
def test_an_intent_that_cannot_be_read_ends_the_daemon_with_78(tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "f.yaml").write_text(GOOD)
    (tmp_path / "intent.json").write_bytes(stored)
    result = call(run, "--config", tmp_path / "f.yaml", "--intent", tmp_path / "intent.json")
    assert result.exit_code == 78
    assert result.stderr.startswith(f"fairhop: {tmp_path}/intent.json: ")


REFUSALS = [
    (BpfError(Step.LOAD, "load the program", 1), 77),
    (PermissionError(13, "Permission denied"), 77),
    (BpfError(Step.ATTACH, "attach XDP to eth1", 19), 1),
    (OSError(98, "Address already in use"), 1),
    (ProcessError("no account is called 'nobody'"), 78),
]


@pytest.mark.parametrize(("error", "code"), REFUSALS, ids=str)
def test_a_daemon_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    async def cannot(_: object) -> None:
        raise error

    monkeypatch.setattr("edge.cli.run.Daemon.run", cannot)
    (tmp_path / "f.yaml").write_text(GOOD)
    result = call(run, "--config", tmp_path / "f.yaml", "--intent", tmp_path / "intent.json")
    assert (result.exit_code, result.stderr) == (code, f"fairhop: {error}\n")


@pytest.mark.parametrize(
    ("error", "code"), [(PermissionError(1, "Operation not permitted"), 77), (HostError("tunl0 is taken"), 1)]
)
def test_a_backend_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    async def cannot(_: object) -> None:
        raise error

    monkeypatch.setattr("edge.cli.backend.serve", cannot)
    monkeypatch.setattr("edge.cli.backend.read_config", lambda path, load: None)
    result = call(backend, "--config", tmp_path / "backend.yaml")
    assert result.exit_code == code
    assert result.stderr.startswith(f"fairhop: {error}")
