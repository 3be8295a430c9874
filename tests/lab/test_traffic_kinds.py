"""Transfers, datagrams and QUIC-like flows of the traffic process against servers of the test's own."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.traffic import quic_wire
from lab.traffic.evidence import Kind, Reason
from lab.traffic.facts import Facts
from lab.traffic.flow import UDP
from lab.traffic.plan import Bulk, Datagrams, Plan, Quic, Requests
from tests.lab import answering
from tests.lab.answering import NAME, Files
from tests.lab.fickle import Fickle
from tests.lab.privatenet import namespace, needs_root
from tests.lab.test_traffic import SERVER, SERVER6, SOURCE, SOURCE6, start, until

COUNT = 10
INTERVAL = 0.05
TIMEOUT = 0.4
TARGET = f"{SERVER}:7000"
PING = Datagrams(SOURCE, TARGET, COUNT, INTERVAL, TIMEOUT)
QUIC = Quic(SOURCE, f"{SERVER}:4433", COUNT, INTERVAL, TIMEOUT, migrate=0.2)
SIZE = 3_000_000
DOWN = Bulk(SOURCE, f"http://{SERVER}/files/bytes", "down", SIZE, 2, interval=0.2, timeout=TIMEOUT)
UP = Bulk(SOURCE, f"http://{SERVER}/upload", "up", SIZE, 2, interval=0.2, timeout=TIMEOUT)

pytestmark = [pytest.mark.filterwarnings("error")]


@pytest.fixture(scope="module")
def netns() -> Iterator[Path]:
    addresses = [f"address add {address}/32 dev lo" for address in (SOURCE, SERVER)]
    addresses += [f"address add {address}/128 dev lo nodad" for address in (SOURCE6, SERVER6)]
    with namespace("kinds", *addresses) as path:
        yield path


@pytest.fixture
def echo(netns: Path) -> Iterator[answering.Datagrams]:
    with answering.Datagrams(netns, SERVER, 7000, answering.echo) as server:
        yield server


@pytest.fixture
def quic(netns: Path) -> Iterator[answering.Datagrams]:
    with answering.Datagrams(netns, SERVER, 4433, answering.quic) as server:
        yield server


@pytest.fixture
def files(netns: Path) -> Iterator[Files]:
    with Files(netns, SERVER) as server:
        yield server


@needs_root
def test_datagrams_are_answered_and_counted(netns: Path, echo: answering.Datagrams) -> None:
    with start(netns, Plan({"ping": PING})) as load:
        load.wait_ready(5)
        load.mark("start")
        time.sleep(0.5)
        flows = load.flows()
        facts = load.mark("steady")["ping"]
        series = load.series()
    assert (facts.broken, facts.open_failed, facts.opened, facts.established) == ({}, {}, 0, COUNT)
    assert facts.flows_per_backend == {NAME: COUNT}
    assert facts.sent == pytest.approx((facts.until - facts.since) / INTERVAL * COUNT, abs=2 * COUNT)
    assert abs(facts.sent - facts.received) <= COUNT
    assert (facts.duplicated, facts.pings, facts.answers) == (0, 0, 0)
    assert 0 < facts.longest_gap < 0.3
    assert {(flow.protocol, str(flow.client)) for flow in flows} == {(UDP, SOURCE)}
    assert set(flows.values()) == {NAME}
    assert {(sample.stream, sample.backend, sample.failed) for sample in series} == {("ping", NAME, 0)}
    assert sum(sample.answered for sample in series) >= facts.received


@needs_root
def test_lost_and_doubled_datagrams_break_nothing(netns: Path, echo: answering.Datagrams) -> None:
    with start(netns, Plan({"ping": PING})) as load:
        load.wait_ready(5)
        load.mark("start")
        echo.spoil("lose", 5)
        echo.spoil("twice", 7)
        facts = until(load, lambda f: f.duplicated >= 7 and f.lost >= 5)
    assert (facts.broken, facts.duplicated, facts.lost) == ({}, 7, 5)


@needs_root
def test_what_is_under_way_when_traffic_stops_is_awaited_and_not_lost(netns: Path) -> None:
    def late(name: str, data: bytes) -> bytes:
        time.sleep(0.05)
        return answering.echo(name, data)

    with (
        answering.Datagrams(netns, SERVER, 7000, late),
        start(netns, Plan({"ping": Datagrams(SOURCE, TARGET, 2, interval=0.2)})) as load,
    ):
        load.wait_ready(5)
        until(load, lambda f: f.under_way > 0)
        total = load.stop()["ping"].total
    assert (total.lost, total.under_way, total.received) == (0, 0, total.sent)


@needs_root
def test_what_nobody_answers_is_lost_when_traffic_stops_and_no_longer_a_gap_for_it(
    netns: Path, echo: answering.Datagrams
) -> None:
    with start(netns, Plan({"ping": Datagrams(SOURCE, TARGET, COUNT, INTERVAL)})) as load:
        load.wait_ready(5)
        echo.mute = True
        silent = until(load, lambda f: f.under_way >= 2 * COUNT)
        total = load.stop()["ping"].total
    assert silent.lost == 0
    assert 2 * COUNT <= total.lost == total.sent - total.received
    assert total.longest_gap < 0.9, "the second that was waited for answers is no part of it"


@needs_root
@pytest.mark.parametrize(("how", "reason"), [("other", Reason.OTHER_BACKEND), ("wrong", Reason.WRONG_ANSWER)])
def test_a_wrong_answer_breaks_a_flow_and_another_takes_its_place(
    netns: Path, echo: answering.Datagrams, how: str, reason: Reason
) -> None:
    with start(netns, Plan({"ping": PING})) as load:
        load.wait_ready(5)
        load.mark("start")
        echo.spoil(how, 1)  # a second one could meet the flow that takes its place, before it is established
        facts = until(load, lambda f: f.broken_connections >= 1 and f.opened >= 1)
    assert (facts.broken, facts.opened, facts.established) == ({reason: 1}, 1, COUNT)
    assert [(f.kind, f.reason, f.backend) for f in facts.failures] == [(Kind.CONNECTION, reason, NAME)]


@needs_root
def test_a_roaming_flow_may_change_its_backend(netns: Path, echo: answering.Datagrams) -> None:
    with start(netns, Plan({"ping": Datagrams(SOURCE, TARGET, COUNT, INTERVAL, TIMEOUT, roaming=True)})) as load:
        load.wait_ready(5)
        load.mark("start")
        echo.spoil("other", 3)
        facts = until(load, lambda f: f.received > 5 * COUNT)
        series = load.series()
    assert facts.broken == {}
    assert sum(sample.answered for sample in series if sample.backend == "a-b2") == 3


@needs_root
def test_silence_is_a_gap_and_beyond_the_time_limit_breaks_every_flow(netns: Path, echo: answering.Datagrams) -> None:
    with start(netns, Plan({"ping": PING})) as load:
        load.wait_ready(5)
        load.mark("start")
        echo.mute = True
        time.sleep(0.25)
        echo.mute = False
        short = until(load, lambda f: len(f.gaps) >= COUNT)
        echo.mute = True
        broken = until(load, lambda f: f.broken_connections >= COUNT)
        failed = until(load, lambda f: sum(f.open_failed.values()) >= COUNT)
        echo.mute = False
        after = until(load, lambda f: f.established == COUNT)
    assert short.broken == {}
    assert all(0.1 < gap.length < TIMEOUT and gap.backend == NAME and gap.flow for gap in short.gaps)
    assert broken.broken == {"timeout": COUNT}
    assert set(failed.open_failed) == {"timeout"}
    assert TIMEOUT <= broken.longest_gap < TIMEOUT + 0.3
    assert after.longest_gap > 2 * TIMEOUT, "the gap runs on over the attempts that failed"


@needs_root
def test_a_closed_port_is_refusal(netns: Path) -> None:
    with start(netns, Plan({"ping": PING})) as load:
        facts = until(load, lambda f: sum(f.open_failed.values()) >= COUNT)
    assert set(facts.open_failed) == {"refused"}


@needs_root
def test_a_quic_flow_goes_on_from_other_ports_with_the_id_that_the_server_chose(
    netns: Path, quic: answering.Datagrams
) -> None:
    with start(netns, Plan({"quic": QUIC})) as load:
        load.wait_ready(5)
        load.mark("start")
        first = set(load.flows())
        time.sleep(0.7)
        later = set(load.flows())
        facts = load.mark("steady")["quic"]
    assert (facts.broken, facts.opened, facts.established) == ({}, 0, COUNT)
    assert facts.lost == 0, "what was on its way to a port left behind arrived"
    assert not first & later
    assert len(quic.clients) >= 3 * COUNT


@needs_root
def test_a_quic_flow_that_another_backend_answers_is_broken(netns: Path, quic: answering.Datagrams) -> None:
    with start(netns, Plan({"quic": QUIC})) as load:
        load.wait_ready(5)
        load.mark("start")
        quic.spoil("other", 1)
        facts = until(load, lambda f: f.broken_connections >= 1 and f.opened >= 1)
    assert facts.broken == {"other_backend": 1}


@needs_root
@pytest.mark.parametrize("plan", [DOWN, UP], ids=["down", "up"])
def test_transfers_are_whole_and_their_content_is_counted(netns: Path, files: Files, plan: Bulk) -> None:
    with start(netns, Plan({"bulk": plan})) as load:
        facts = until(load, lambda f: f.transfers >= 6)
        done = load.requests()
        again = load.requests()
    assert (facts.transfers_failed, facts.broken, facts.requests) == ({}, {}, 0)
    assert facts.transfers * SIZE <= facts.transferred_bytes <= (facts.transfers + 2) * SIZE
    assert facts.transfers <= 2 + (facts.until - facts.since) / plan.interval * plan.streams, "they keep their interval"
    assert {(each.stream, each.backend, each.reason) for each in done} == {("bulk", NAME, None)}
    assert len(again) < len(done), "what was told is not told again"


@needs_root
@pytest.mark.parametrize("plan", [DOWN, UP], ids=["down", "up"])
@pytest.mark.parametrize(
    ("how", "down", "up"),
    [
        ("status", Reason.BAD_STATUS, Reason.BAD_STATUS),
        ("cut", Reason.EOF, None),
        ("short", Reason.WRONG_ANSWER, None),
        ("lie", None, Reason.WRONG_ANSWER),
        ("stall", Reason.TIMEOUT, Reason.TIMEOUT),
    ],
)
def test_each_way_to_fail_a_transfer_is_counted(
    netns: Path, files: Files, plan: Bulk, how: str, down: Reason | None, up: Reason | None
) -> None:
    reason = down if plan.direction == "down" else up
    if reason is None:
        return
    files.how = how
    with start(netns, Plan({"bulk": plan})) as load:
        facts = until(load, lambda f: f.failed_transfers >= 2)
    assert (set(facts.transfers_failed), facts.transfers) == ({reason}, 0)
    assert {(f.kind, f.reason) for f in facts.failures} == {(Kind.TRANSFER, reason)}


@needs_root
@pytest.mark.parametrize("plan", [DOWN, UP], ids=["down", "up"])
def test_a_transfer_that_pauses_is_a_gap(netns: Path, files: Files, plan: Bulk) -> None:
    files.how = "late"
    with start(netns, Plan({"bulk": plan})) as load:
        facts = until(load, lambda f: f.transfers >= 1 and len(f.gaps) > 0)
    assert facts.transfers_failed == {}
    assert all(0.2 < gap.length < 0.6 for gap in facts.gaps)


@needs_root
def test_every_request_is_told_with_its_flow_and_backend(netns: Path) -> None:
    plan = Plan({"web": Requests(SOURCE, f"http://{SERVER}/", 50.0, TIMEOUT)})
    with Fickle(netns, SERVER) as server, start(netns, plan) as load:
        server.spoil("status", 2, http=True)
        facts = until(load, lambda f: f.replies >= 10)
        done = load.requests()
    assert len(done) >= facts.replies + facts.failed_requests
    assert sum(each.reason is Reason.BAD_STATUS for each in done) == 2
    assert {each.backend for each in done if each.reason is None} == {NAME}
    assert len({each.flow for each in done if each.flow}) == len(done)
    assert [each.time for each in done] == sorted(each.time for each in done)


@needs_root
def test_one_process_sends_all_streams_of_both_families(netns: Path, quic: answering.Datagrams) -> None:
    six = Datagrams(SOURCE6, f"[{SERVER6}]:7000", COUNT, INTERVAL, TIMEOUT)
    with answering.Datagrams(netns, SERVER6, 7000, answering.echo), start(netns, Plan({"a": QUIC, "b": six})) as load:
        load.wait_ready(5)
        facts: dict[str, Facts] = load.mark("x")
        flows = load.flows()
    assert {name: each.flows_per_backend for name, each in facts.items()} == {key: {NAME: COUNT} for key in "ab"}
    assert {flow.vip.version for flow in flows} == {4, 6}


def test_the_octets_of_a_quic_like_flow_are_those_of_the_description() -> None:
    choice, theirs = bytes(range(8)), bytes(range(8, 16))
    assert quic_wire.first(choice, b"hi") == bytes.fromhex("c0 fa1c0001 08 0001020304050607 00") + b"hi"
    assert quic_wire.later(theirs, b"hi") == b"\x40" + theirs + b"hi"
    assert quic_wire.read_answer(b"a-b1 08090a0b0c0d0e0f ping 1") == ("a-b1", theirs, b"ping 1")


@pytest.mark.parametrize(
    "data", [b"", b"a-b1", b"a-b1 xx ping 1", b"a-b1 0809 ping 1", b" 08090a0b0c0d0e0f x", b"\xff \xff"]
)
def test_what_is_no_answer_of_a_quic_like_server_is_none(data: bytes) -> None:
    assert quic_wire.read_answer(data) is None
