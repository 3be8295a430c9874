"""The verbs that only show, and the commands that print them: peers, prefixes, checks and the stream of events."""

import asyncio
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from bgp.bmp.readback import Fault, Finding, ReadBack, RouterReport
from bgp.report import PeerStatus, PrefixStatus, SpeakerState
from bgp.rib import UNKNOWN
from bgp.route import GRACEFUL_SHUTDOWN, Prefix, Route
from bgp.supervisor import Phase
from edge.cli import common, events
from edge.cli.bgp import bgp
from edge.cli.health import health
from edge.cli.table import age, columns
from edge.control.ask import Answer, RefusedError, UnreachableError
from edge.control.server import ControlServer, Stream
from edge.control.showing import Showing
from edge.decide.node import Node
from edge.log.events import EventLog
from edge.policy.announce import Decision, Reason, Stance
from edge.policy.health import Health, Rules
from edge.show.status_bgp import bgp_facts
from edge.show.status_health import health_facts
from tests.edge.test_node import BAD, serving

VIP, OTHER = IPv4Network("203.0.113.10/32"), IPv4Network("203.0.113.11/32")
SERVING, DRAINED = Decision(Stance.ANNOUNCED, Reason.SERVING), Decision(Stance.WITHDRAWN, Reason.DRAINED)
DRAINING = Decision(Stance.DEPREFERRED, Reason.DRAINING, 53.5)
UP = PeerStatus("a-r1", IPv4Address("10.0.5.0"), 65101, True, 40.0, "")
DOWN = PeerStatus("a-r2", IPv4Address("10.0.6.0"), 65102, False, 30.0, "hold timer expired")
PLAIN, AVOID = Route(VIP), Route(VIP, communities=(GRACEFUL_SHUTDOWN,))
KNOWN = RouterReport("a-r1", True, 45.0, accepted=frozenset({VIP}), others={VIP: {"node 10.255.0.7": False}})
KNOWN = replace(KNOWN, peers=(UP.address,))
SILENT = RouterReport("a-r2", False, 46.0, reason="its BMP session ended", peers=(DOWN.address,))


def said(route: Route | None) -> PrefixStatus:
    return PrefixStatus(route, route, route, 0)


def speaker(prefixes: Mapping[Prefix, PrefixStatus], *peers: PeerStatus) -> SpeakerState:
    return SpeakerState(Phase.RUNNING, "relay 5 connected", 1.0, 2, 4, 5, 49.0, True, prefixes, peers)


def shown(
    decisions: Mapping[Prefix, Decision] | None = None,
    *peers: PeerStatus,
    read_back: ReadBack | None = None,
    route: Route | None = PLAIN,
) -> dict[str, Any]:
    state = speaker({VIP: said(route), OTHER: said(None)}, *(peers or (UP, DOWN)))
    bfd = {"a-r1": {"state": "up"}}
    return bgp_facts(dict(decisions or {VIP: SERVING, OTHER: DRAINED}), state, 50.0, bfd, read_back)


def test_every_peer_is_shown_with_what_it_was_told_and_why_it_is_down() -> None:
    found = shown()
    assert json.loads(json.dumps(found)) == found
    up, down = found["peers"]
    assert (up["state"], up["since"], up["announced"], up["intended"], up["accepted"]) == (
        "Established",
        10.0,
        1,
        1,
        None,
    )
    assert (down["state"], down["since"], down["announced"], down["reason"]) == ("Down", 20.0, 0, "hold timer expired")
    assert (up["bfd"], down["bfd"], up["read_back"]) == ({"state": "up"}, None, None)


def test_what_a_router_accepted_is_counted_and_what_cannot_be_asked_is_null() -> None:
    found = shown(read_back=ReadBack((KNOWN, SILENT)))
    up, down = found["peers"]
    assert (up["accepted"], down["accepted"]) == (1, None)
    assert down["read_back"] == {"known": False, "since": 4.0, "reason": "its BMP session ended", "refused": []}
    vip, other = found["prefixes"]
    assert vip["accepted"] == {"a-r1": True, "a-r2": None}
    assert other["accepted"] == {"a-r1": False, "a-r2": None}
    assert (vip["other_announcers"], other["other_announcers"]) == (
        {"staying": 1, "leaving": 0},
        {"staying": 0, "leaving": 0},
    )
    assert shown(read_back=ReadBack((SILENT,)))["prefixes"][0]["other_announcers"] is None


def test_a_prefix_is_shown_with_its_attributes_and_until_when() -> None:
    vip = shown({VIP: DRAINING}, route=AVOID)["prefixes"][0]
    assert (vip["stance"], vip["until"], vip["attributes"]["communities"]) == ("de-preferred", 3.5, ["65535:0"])
    assert vip["wanted"] == vip["acked"] == "announced, community 65535:0"


class FakeDaemon:
    """A node and its event log, behind the verbs, asked without a socket."""

    def __init__(self) -> None:
        self.node: Node = serving()
        self.local: dict[str, Health] = {}
        self.facts = shown()

    def ask(self, _: str, verb: str, **__: Any) -> Answer:
        if verb == "health":
            return health_facts(self.node, self.local, 50.0)
        return {"node": "a-e1", **self.facts}


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    fake = FakeDaemon()
    monkeypatch.setattr(common, "ask", fake.ask)
    return fake


def call(command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_bgp_status_exits_1_while_a_peer_is_down_and_shows_it(daemon: FakeDaemon) -> None:
    result = call(bgp, "status")
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[3] == ["a-r1", "10.0.5.0", "65101", "Established", "10s", "1/1/?", "up", "-", "-"]
    assert lines[4][:7] == ["a-r2", "10.0.6.0", "65102", "Down", "20s", "0/1/?", "-"]
    assert result.stdout.splitlines()[4].endswith("hold timer expired")
    daemon.facts = shown({VIP: SERVING}, UP)
    assert call(bgp, "status").exit_code == 0
    assert json.loads(call(bgp, "status", "--json").stdout)["peers"][0]["name"] == "a-r1"


def test_a_finding_is_an_alert_and_exit_code_1(daemon: FakeDaemon) -> None:
    missing = Finding(Fault.MISSING, "a-r1", VIP, 30.0)
    daemon.facts = shown({VIP: SERVING}, UP, read_back=ReadBack((KNOWN,), (missing,)))
    result = call(bgp, "status")
    assert result.exit_code == 1
    assert f"ALERT {VIP} at a-r1, 20s: missing: the router holds no such route from us" in result.stdout


def test_bgp_routes_exits_0_when_all_that_is_wanted_has_arrived(daemon: FakeDaemon) -> None:
    daemon.facts = shown(read_back=ReadBack((KNOWN, SILENT)))
    result = call(bgp, "routes")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == ["PREFIX", "WANTED", "SENT", "ACKED", "A-R1", "A-R2"]
    assert result.stdout.splitlines()[1].split()[-2:] == ["accepted", "?"]
    daemon.facts = shown(read_back=ReadBack((replace(KNOWN, accepted=frozenset()),)))
    assert call(bgp, "routes").exit_code == 1
    daemon.facts = bgp_facts({VIP: SERVING}, speaker({VIP: PrefixStatus(PLAIN, PLAIN, UNKNOWN, 1)}, UP), 50.0, {}, None)
    result = call(bgp, "routes", "--json")
    assert (result.exit_code, json.loads(result.stdout)[0]["acked"]) == (1, "unknown")


def test_health_shows_each_check_and_exits_1_unless_all_are_up(daemon: FakeDaemon) -> None:
    result = call(health)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "3/3 up")
    daemon.node.observe("web", "b1", BAD, 49.0)
    first = json.loads(call(health, "--json").stdout)["checks"][0]
    assert (first["name"], first["state"], first["streak"], first["ok"]) == ("b1", "up", 1, False)
    assert first["streak"] < first["streak_needed"]
    for moment in range(3):
        daemon.node.observe("web", "b1", BAD, 49.0 + moment / 4)
    result = call(health)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "2/3 up")
    row = next(line for line in result.stdout.splitlines() if "web/b1" in line)
    assert " down " in row
    assert row.endswith("connection refused")


def test_a_service_with_local_checks_has_a_line_for_each(daemon: FakeDaemon) -> None:
    daemon.local["web"] = Health([Rules(fall=3, label="tcp", interval=2.0), Rules(label="exec")], 40.0)
    daemon.local["web"].observe(replace(BAD, check=1), 49.0)
    facts = json.loads(call(health, "--json").stdout)
    tcp, program = facts["checks"][3:]
    assert (tcp["kind"], tcp["name"], tcp["check"], tcp["state"], tcp["last"]) == (
        "service", "web", "tcp", "unknown", None,
    )  # fmt: skip
    assert (program["state"], program["whole"], program["since"], program["streak_needed"]) == ("down", "down", 1.0, 1)
    assert facts["well"] == 3
    assert "service web" in call(health).stdout


class Logged:
    """A daemon of which only the events are asked."""

    def __init__(self) -> None:
        self.events = EventLog(io.StringIO())


def test_the_stream_begins_where_it_was_asked_to_and_loses_nothing_before_it_is_read() -> None:
    async def story() -> None:
        logged = Logged()
        handler = Showing(logged).table()["events"]  # type: ignore[arg-type]
        logged.events.record("one", "a", "b", "")
        stream = await handler({"follow": True}, 0)
        assert isinstance(stream, Stream)
        logged.events.record("two", "a", "b", "")
        assert (await anext(stream.rows))["subject"] == "two"
        await stream.rows.aclose()
        again = await handler({"follow": True, "since": 0}, 0)
        assert isinstance(again, Stream)
        assert [(await anext(again.rows))["number"] for _ in range(2)] == [1, 2]
        await again.rows.aclose()
        answer = await handler({"since": 1}, 0)
        assert ([event["subject"] for event in answer["events"]], answer["missed"]) == (["two"], 0)
        for wrong in (-1, "5", True):
            with pytest.raises(RefusedError, match="since is"):
                await handler({"since": wrong}, 0)

    asyncio.run(story())


EVENT = {"number": 7, "at": "2026-01-01T00:00:00Z", "monotonic": 1.5, "subject": "backend web/b1", "old": "up"}
EVENT |= {"new": "down", "reason": "refused", "evidence": {"latency": 0.001}}


def followed(monkeypatch: pytest.MonkeyPatch, *arguments: str, newest: int = 7) -> Result:
    def rows(*_: Any, **__: Any) -> Any:
        yield {"number": newest}
        yield {"missed": 3}
        yield EVENT
        raise UnreachableError("the daemon ended the stream")

    monkeypatch.setattr(events, "follow", rows)
    return call(events.events, "-f", *arguments)


def test_a_followed_event_is_one_line_and_the_end_of_the_daemon_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    result = followed(monkeypatch)
    line = "7 2026-01-01T00:00:00Z backend web/b1: up -> down, refused latency=0.001\n"
    assert (result.exit_code, result.stdout) == (3, line)
    assert "3 event(s) are no longer kept" in result.stderr
    told = [json.loads(line) for line in followed(monkeypatch, "--json").stdout.splitlines()]
    assert told == [{"missed": 3}, EVENT]
    assert "numbered from 1" in followed(monkeypatch, "--since", "9").stderr


def test_columns_are_never_cut_and_ages_are_for_people() -> None:
    assert columns([("A", "B"), ("x" * 90, "y")]) == ["A" + " " * 91 + "B", "x" * 90 + "  y"]
    assert [age(value) for value in (None, 0.4, 42, 187, 7500)] == ["-", "0s", "42s", "3m07s", "2h05m"]


COMMANDS: list[tuple[click.Command, list[str]]] = [
    (bgp, ["status"]),
    (bgp, ["routes"]),
    (health, []),
    (events.events, []),
    (events.events, ["-f"]),
]


@pytest.mark.parametrize(("command", "arguments"), COMMANDS)
def test_where_no_daemon_answers_the_exit_code_is_3(
    tmp_path: Path, command: click.Command, arguments: list[str]
) -> None:
    result = call(command, *arguments, "--socket", str(tmp_path / "none.sock"))
    assert (result.exit_code, result.stdout) == (3, "")
    assert "none.sock: no such file or directory: is `fairhop run` up on this node?" in result.stderr


def test_the_commands_are_answered_over_the_socket(tmp_path: Path) -> None:
    """The real server, verbs and commands; ExaBGP and the forwarder alone are missing."""
    path = tmp_path / "control.sock"
    node, log = serving(), EventLog(io.StringIO())

    class Daemon:
        pass

    served: Any = Daemon()
    served.node, served.events = node, log
    served.speaker = Daemon()
    served.speaker.state = lambda: speaker({VIP: said(PLAIN)}, UP)
    log.record("backend web/b1", "unknown", "up", "connected", {"latency": 0.001})

    def commands() -> None:
        told = json.loads(call(bgp, "status", "--json", "--socket", str(path)).stdout)
        assert (told["schema_version"], told["peers"][0]["name"]) == (1, "a-r1")
        told = json.loads(call(health, "--json", "--socket", str(path)).stdout)
        assert [check["name"] for check in told["checks"]] == ["b1", "b2", "b3"]
        result = call(events.events, "--json", "--socket", str(path))
        assert [json.loads(line)["subject"] for line in result.stdout.splitlines()] == ["backend web/b1"]
        assert call(events.events, "--since", "1", "--socket", str(path)).stdout == ""

    async def serve() -> None:
        server = ControlServer(path, Showing(served).table())
        await server.start()
        try:
            await asyncio.to_thread(commands)
            following = asyncio.create_task(
                asyncio.to_thread(call, events.events, "-f", "--json", "--since", "0", "--socket", str(path))
            )
            async with asyncio.timeout(10):
                while not log._followers:
                    await asyncio.sleep(0.01)
            log.record("backend web/b1", "up", "down", "refused")
            await asyncio.sleep(0.1)
            await server.stop()
            result = await asyncio.wait_for(following, 10)
        finally:
            await server.stop()
        assert result.exit_code == 3
        assert [json.loads(line)["new"] for line in result.stdout.splitlines()] == ["up", "down"]

    asyncio.run(serve())
    assert not log._followers
