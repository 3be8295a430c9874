"""The traffic process against a server of the test's own: every way to fail is counted as what it is, and once."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lab.observe.inside import inside
from lab.runtime import LabError
from lab.traffic.client import Client
from lab.traffic.evidence import Kind, Reason
from lab.traffic.facts import Facts, total
from lab.traffic.http_reply import Reply, read_reply
from lab.traffic.load import Load, mark_all, stop_all
from lab.traffic.plan import Connections, Plan, Requests, Stream, plan_from_json
from lab.traffic.reactor import Reactor
from tests.lab.fickle import NAME, Fickle
from tests.lab.privatenet import ip, namespace, needs_root, spawn

SOURCE, SERVER, NOWHERE, TARGET = "198.51.100.9", "203.0.113.11", "203.0.113.99", "203.0.113.11:7000"
SOURCE6, SERVER6 = "2001:db8:c::9", "2001:db8:1::11"
COUNT = 20
INTERVAL = 0.1
TIMEOUT = 0.5


@pytest.fixture(scope="module")
def netns() -> Iterator[Path]:
    addresses = [f"address add {address}/32 dev lo" for address in (SOURCE, "198.51.100.10", SERVER)]
    addresses += [f"address add {address}/128 dev lo nodad" for address in (SOURCE6, SERVER6)]
    with namespace("traffic", *addresses, f"route add unreachable {NOWHERE}") as path:
        yield path


@pytest.fixture
def server(netns: Path) -> Iterator[Fickle]:
    with Fickle(netns, SERVER) as fickle:
        yield fickle


def start(netns: Path, plan: Plan) -> Load:
    return Load("client", spawn(netns, [sys.executable, "-m", "lab.traffic.process"]), plan)


def connections(target: str = TARGET, source: str = SOURCE) -> Connections:
    return Connections(source, target, COUNT, INTERVAL, TIMEOUT, retry=0.05)


def requests(address: str = SERVER, source: str = SOURCE) -> Requests:
    return Requests(source, f"http://{address}/", rate=50.0, timeout=TIMEOUT)


def plan_of(*streams: Stream) -> Plan:
    return Plan({stream.kind: stream for stream in streams})


def mark(load: Load, label: str) -> Facts:
    """The facts of all its streams together."""
    return total(load.mark(label))


def until(load: Load, happened: Callable[[Facts], bool]) -> Facts:
    """Mark again and again until the facts since the first mark tell what the test waits for."""
    facts, end = mark(load, "x"), time.monotonic() + 5
    while not happened(facts):
        assert time.monotonic() < end, facts
        time.sleep(0.02)
        facts = facts.then(mark(load, "x"))
    return facts


pytestmark = [pytest.mark.filterwarnings("error")]


@needs_root
def test_steady_traffic_is_answered_and_nothing_fails(netns: Path, server: Fickle) -> None:
    with start(netns, plan_of(requests(), connections())) as load:
        load.wait_ready(5)
        load.mark("start")
        time.sleep(0.6)
        flows = load.flows()
        facts = mark(load, "steady")
        report = load.stop()["connections"]
    assert (facts.broken, facts.failed, facts.open_failed, facts.opened) == ({}, {}, {}, 0)
    assert (facts.established, facts.flows_per_backend) == (COUNT, {NAME: COUNT})
    lasted = facts.until - facts.since
    assert lasted >= 0.6
    assert facts.answers == pytest.approx(lasted / INTERVAL * COUNT, abs=2 * COUNT)
    assert facts.replies == pytest.approx(lasted * 50, abs=10)
    assert facts.requests_per_backend == {NAME: facts.replies}
    assert 0 < facts.longest_gap < TIMEOUT
    assert abs(facts.until - time.monotonic()) < 5, "the clock is CLOCK_MONOTONIC, which both processes share"
    assert set(flows.values()) == {NAME}
    assert {(str(f.client), str(f.vip), f.vip_port, f.protocol) for f in flows} == {(SOURCE, SERVER, 7000, 6)}
    assert len(flows) == COUNT
    assert [window.label for window in report.windows] == ["start", "steady"]
    assert report.total.opened == COUNT


@needs_root
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("reset", Reason.RESET),
        ("eof", Reason.EOF),
        ("stall", Reason.TIMEOUT),
        ("other", Reason.OTHER_BACKEND),
        ("wrong", Reason.WRONG_ANSWER),
        ("endless", Reason.WRONG_ANSWER),
    ],
)
def test_each_way_to_break_a_connection_is_counted_once(netns: Path, server: Fickle, how: str, reason: Reason) -> None:
    with start(netns, plan_of(connections())) as load:
        load.wait_ready(5)
        before = time.monotonic()
        load.mark("start")
        server.spoil(how, 3)
        facts = until(load, lambda f: f.broken_connections >= 3 and f.opened >= 3 and len(f.flows_per_backend) == 1)
        time.sleep(2 * INTERVAL)
        facts = facts.then(mark(load, "after"))
    assert facts.broken == {reason: 3}
    assert (facts.opened, facts.established, facts.flows_per_backend) == (3, COUNT, {NAME: COUNT})
    assert [(f.kind, f.reason, f.backend) for f in facts.failures] == [(Kind.CONNECTION, reason, NAME)] * 3
    assert all(before < failure.time < time.monotonic() for failure in facts.failures)
    if how == "stall":
        assert TIMEOUT <= facts.longest_gap < 2 * TIMEOUT


@needs_root
def test_an_answer_in_pieces_breaks_nothing(netns: Path, server: Fickle) -> None:
    with start(netns, plan_of(connections())) as load:
        load.wait_ready(5)
        load.mark("start")
        server.spoil("split", 5)
        facts = until(load, lambda f: f.answers > COUNT)
    assert (facts.broken, facts.opened) == ({}, 0)
    assert facts.longest_gap >= 0.02


@needs_root
def test_traffic_over_ipv6_is_recorded_alike(netns: Path) -> None:
    plan = plan_of(requests(f"[{SERVER6}]", SOURCE6), connections(f"[{SERVER6}]:7000", SOURCE6))
    with Fickle(netns, SERVER6) as fickle, start(netns, plan) as load:
        load.wait_ready(5)
        load.mark("start")
        time.sleep(0.3)
        flows = load.flows()
        facts = mark(load, "steady")
        fickle.spoil("reset", 3)
        broken = until(load, lambda f: f.broken_connections >= 3)
    assert (facts.broken, facts.failed, facts.established) == ({}, {}, COUNT)
    assert facts.answers > 0
    assert facts.replies > 0
    assert {(str(f.client), str(f.vip), f.vip_port, f.protocol) for f in flows} == {(SOURCE6, SERVER6, 7000, 6)}
    assert f"-> [{SERVER6}]:7000" in str(next(iter(flows)))
    assert {str(failure.flow.client) for failure in broken.failures if failure.flow} == {SOURCE6}


@needs_root
@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("reset", Reason.RESET),
        ("eof", Reason.EOF),
        ("stall", Reason.TIMEOUT),
        ("status", Reason.BAD_STATUS),
        ("cut", Reason.EOF),
        ("wrong", Reason.WRONG_ANSWER),
    ],
)
def test_each_way_to_fail_a_request_is_counted_once(netns: Path, server: Fickle, how: str, reason: Reason) -> None:
    with start(netns, plan_of(requests())) as load:
        load.mark("start")
        server.spoil(how, 3, http=True)
        facts = until(load, lambda f: f.failed_requests >= 3 and f.replies >= 5)
    assert facts.failed == {reason: 3}
    assert {(f.kind, f.reason) for f in facts.failures} == {(Kind.REQUEST, reason)}
    assert all(f.flow and str(f.flow.vip) == SERVER for f in facts.failures)


@needs_root
def test_a_server_that_goes_away_is_refusal_and_its_gap_runs_on(netns: Path, server: Fickle) -> None:
    with start(netns, plan_of(requests(), connections())) as load:
        load.wait_ready(5)
        load.mark("start")
        server.refuse()
        time.sleep(0.5)
        facts = mark(load, "gone")
    assert facts.broken_connections == COUNT
    assert (facts.established, facts.flows_per_backend) == (0, {})
    assert set(facts.open_failed) == {"refused"}
    assert facts.open_failed["refused"] >= COUNT
    assert facts.failed["refused"] >= 10
    assert facts.longest_gap >= 0.4


@needs_root
def test_no_route_is_unreachable_and_no_source_address_is_our_own_fault(netns: Path) -> None:
    with start(netns, plan_of(requests(NOWHERE), connections(f"{NOWHERE}:7000"))) as load:
        facts = until(load, lambda f: f.failed_requests > 0 and len(f.open_failed) > 0)
        assert (set(facts.failed), set(facts.open_failed)) == ({"unreachable"}, {"unreachable"})
    with start(netns, plan_of(requests(source="198.51.100.77"), connections(source="198.51.100.77"))) as load:
        facts = until(load, lambda f: f.failed_requests > 0 and len(f.open_failed) > 0)
        assert (set(facts.failed), set(facts.open_failed)) == ({"local"}, {"local"})


@needs_root
def test_a_packet_that_nobody_answers_is_a_timeout(netns: Path) -> None:
    ip(netns, "link add fh0 type veth peer name fh1")
    for words in ("link set fh0 up", "link set fh1 up", f"neigh add {NOWHERE} dev fh0 lladdr 02:00:00:00:00:01"):
        ip(netns, words)
    ip(netns, f"route replace {NOWHERE}/32 dev fh0")
    try:
        with start(netns, plan_of(requests(NOWHERE), connections(f"{NOWHERE}:7000"))) as load:
            facts = until(load, lambda f: f.failed_requests > 0 and len(f.open_failed) > 0)
    finally:
        ip(netns, "link del fh0")
        ip(netns, f"route replace unreachable {NOWHERE}")
    assert (set(facts.failed), set(facts.open_failed)) == ({"timeout"}, {"timeout"})
    assert facts.slowest_request >= TIMEOUT


@needs_root
def test_several_clients_are_marked_and_stopped_together(netns: Path, server: Fickle) -> None:
    sources = (SOURCE, "198.51.100.10")
    loads = [start(netns, plan_of(connections(source=source))) for source in sources]
    with closing(loads[0]), closing(loads[1]):
        for load in loads:
            load.wait_ready(5)
        facts = total(mark_all(loads, "both"))
        report = stop_all(loads)["connections"]
    assert facts.flows_per_backend == {NAME: 2 * COUNT}
    assert report.total.opened == 2 * COUNT
    assert [window.label for window in report.windows] == ["both"]


@needs_root
def test_commands_as_lines_of_json_and_the_plan_as_an_argument(netns: Path, server: Fickle) -> None:
    plan = json.dumps(plan_of(requests()).to_json())
    argv = ["nsenter", f"--net={netns}", sys.executable, "-m", "lab.traffic.process", plan]
    talk = '{"mark": "one"}\n{"mark": 1}\nnonsense\n{"flows": true, "x": 1}\n{"stop": true}\n'
    done = subprocess.run(argv, input=talk, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    answers.remove({"ready": 0})
    assert [next(iter(answer)) for answer in answers] == ["facts", "error", "error", "error", "reports"]
    assert answers[0]["facts"]["requests"]["label"] == "one"


@needs_root
@pytest.mark.parametrize("way", ["end of input", "SIGTERM"])
def test_the_process_ends_with_its_report_when_its_parent_is_gone(netns: Path, server: Fickle, way: str) -> None:
    process = spawn(netns, [sys.executable, "-m", "lab.traffic.process", "--progress"])
    with process:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(plan_of(connections()).to_json()) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline()) == {"ready": COUNT}
        if way == "SIGTERM":
            process.terminate()
        else:
            process.stdin.close()
        assert "reports" in json.loads(process.stdout.readline())
        assert process.wait(5) == 0


@needs_root
def test_what_is_closed_at_the_end_is_not_counted_as_broken(netns: Path, server: Fickle) -> None:
    def go() -> Facts:
        reactor = Reactor()
        client, told = Client(plan_of(requests(), connections()), reactor), []
        end = time.monotonic() + 5
        client.run(lambda: told.append(1), lambda: not told and time.monotonic() < end)
        assert told
        client.close()
        time.sleep(0.05)
        reactor.close()
        return total({name: report.total for name, report in client.report().items()})

    facts = inside(netns, go)
    assert (facts.established, facts.broken, facts.failed, facts.open_failed) == (COUNT, {}, {}, {})


@needs_root
def test_a_load_says_what_its_process_said(netns: Path) -> None:
    with start(netns, Plan()) as load:
        load._process.kill()
        with pytest.raises(LabError, match=r"client: its traffic ended with code -9"):
            mark(load, "x")
    process = spawn(netns, [sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit('no such thing')"])
    with Load("client", process, Plan()) as load, pytest.raises(LabError, match="code 1: no such thing"):
        load.wait_ready(5)


WEB = {"kind": "requests", "source": SOURCE, "url": "http://203.0.113.10/", "rate": 1}
HELD = {"kind": "connections", "source": SOURCE, "target": TARGET, "count": 1}
BULK = {"kind": "bulk", "source": SOURCE, "url": "http://203.0.113.10/upload"}
PING = {"kind": "datagrams", "source": SOURCE, "target": TARGET, "count": 1}
QUIC = PING | {"kind": "quic"}


@pytest.mark.parametrize(
    ("stream", "complaint"),
    [
        ([], "s: expected an object with 'kind', one of requests, connections, bulk, datagrams, quic"),
        ({"kind": "bulky"}, "s: expected an object with 'kind'"),
        ({"kind": "quic"}, "s: .*missing 3 required"),
        (WEB | {"source": 3}, "s.source: 3 is no str"),
        (WEB | {"source": "x"}, "s.source: 'x' is no IP address"),
        (WEB | {"more": 1}, "s: unknown key 'more'"),
        (WEB | {"url": "https://203.0.113.10/"}, "s.url: .*no http URL"),
        (WEB | {"rate": 0}, "s.rate: 0 is outside 0..1000"),
        (WEB | {"rate": "9"}, "s.rate: '9' is no"),
        (WEB | {"url": "http://203.0.113.10/a b"}, "characters"),
        (WEB | {"url": "http://example.com/"}, "'example.com' is no IP address"),
        (WEB | {"url": "http://[2001:db8:1::10]/"}, "family, IPv4"),
        (HELD | {"target": "1.2.3.4"}, "s.target: '1.2.3.4' is not address:port"),
        (HELD | {"target": "1.2.3.4:0"}, "is not address:port"),
        (HELD | {"source": SOURCE6, "target": "2001:db8:1::11:70"}, "is not address:port"),
        (HELD | {"source": SOURCE6, "target": "[1.2.3.4]:70"}, "is not address:port"),
        (HELD | {"source": SOURCE6}, "not of the source's family, IPv6"),
        (HELD | {"count": 0}, "s.count: 0"),
        (HELD | {"count": True}, "s.count: True"),
        (HELD | {"interval": 0}, "s.interval: 0 is not positive"),
        (BULK | {"direction": "sideways"}, "s.direction: 'sideways'"),
        (BULK | {"bytes": 1 << 30}, "s.bytes: .* is outside 1.."),
        (BULK | {"interval": -1}, "s.interval: -1 is negative"),
        (PING | {"roaming": 1}, "s.roaming: 1 is no bool"),
        (PING | {"timeout": 0}, "s.timeout: 0 is not positive"),
        (QUIC | {"migrate": -1}, "s.migrate: -1 is negative"),
        (QUIC | {"roaming": True}, "s: unknown key 'roaming'"),
    ],
)
def test_a_stream_that_cannot_be_used_is_refused(stream: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        plan_from_json({"streams": {"s": stream}})


@pytest.mark.parametrize("plan", [[], {}, {"streams": []}, {"streams": {}, "more": 1}])
def test_a_plan_that_is_none_is_refused(plan: object) -> None:
    with pytest.raises(ValueError, match="the object 'streams' and nothing else"):
        plan_from_json(plan)


@pytest.mark.parametrize("stream", [WEB, HELD, BULK, PING, QUIC])
def test_the_least_of_each_kind_is_enough(stream: dict[str, object]) -> None:
    plan = plan_from_json({"streams": {"s": stream}})
    assert plan.to_json()["streams"]["s"].items() >= stream.items()
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_a_plan_reads_back() -> None:
    plan = plan_of(requests(), connections())
    assert plan_from_json(json.loads(json.dumps(plan.to_json()))) == plan


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Backend: a-b1 \r\n\r\nok"


def test_a_reply_is_whole_at_its_last_byte_and_not_before() -> None:
    for length in range(len(OK)):
        assert read_reply(OK[:length]) is None
    assert read_reply(OK) == Reply(200, {"content-length": "2", "x-backend": "a-b1"}, b"ok")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (OK + b"!", Reason.WRONG_ANSWER),
        (OK.replace(b"200 OK", b"204 No"), Reason.BAD_STATUS),
        (OK.replace(b"HTTP/1.1", b"HTTP/2"), Reason.WRONG_ANSWER),
        (OK.replace(b"200", b"2x0"), Reason.WRONG_ANSWER),
        (OK.replace(b": 2\r", b": -2\r"), Reason.WRONG_ANSWER),
        (OK.replace(b"Content-Length: 2\r\n", b""), Reason.WRONG_ANSWER),
        (OK.replace(b"Content-Length: 2\r\n", b"Content-Length: 2\r\ncontent-length: 1\r\n"), Reason.WRONG_ANSWER),
        (OK.replace(b"X-Backend", b"Transfer-Encoding"), Reason.WRONG_ANSWER),
        (OK.replace(b"X-Backend:", b"X-Backend"), Reason.WRONG_ANSWER),
        (b"x" * 20000, Reason.WRONG_ANSWER),
    ],
)
def test_a_reply_that_is_none_fails_for_its_reason(data: bytes, reason: Reason) -> None:
    assert read_reply(data) is reason
