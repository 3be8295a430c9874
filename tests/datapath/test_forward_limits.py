"""Rates: echo (I01), too big (U06), relayed errors of each VIP (I24). The clock is the kernel's, so bounds are wide."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.model import NO_LIMITS, ForwarderState, Limits, Protection, Rate
from edge.datapath.oracle import Oracle
from tests.datapath import world as w
from tests.datapath.frames import echo, error, sent_by, tcp, udp
from tests.datapath.rig import Result, Rig
from tests.datapath.rows_icmp import sized
from tests.datapath.rows_ipv6 import sized6

pytestmark = pytest.mark.kernel
SLOW = Rate(per_second=1, burst=5)
ORACLE = Oracle(w.STATE, w.INTERFACES)


@pytest.fixture
def rig(programs: None) -> Iterator[Rig]:
    made = Rig.forwarder(w.TABLE_SIZE)
    yield made
    made.close()


def flood(rig: Rig, frame: bytes, count: int = 100) -> list[Result]:
    return [rig.run(frame) for _ in range(count)]


CASES: dict[str, tuple[Limits, Callable[[], bytes], Reason, frozenset[Note]]] = {
    "I01 echo": (replace(NO_LIMITS, echo=SLOW), echo, Reason.ECHO_LIMIT, frozenset()),
    "U06 too big": (
        replace(NO_LIMITS, too_big=SLOW),
        lambda: sized(1500),
        Reason.TOOBIG,
        frozenset({Note.PTB_LIMITED}),
    ),
    "I24 errors": (replace(NO_LIMITS, errors=SLOW), lambda: error(sent_by(w.WEB)), Reason.ICMP_LIMIT, frozenset()),
    "I01 echo of IPv6": (replace(NO_LIMITS, echo=SLOW), lambda: echo(w.WEB6), Reason.ECHO_LIMIT, frozenset()),
    "U06 too big in IPv6": (
        replace(NO_LIMITS, too_big=SLOW),
        lambda: sized6(1500),
        Reason.TOOBIG,
        frozenset({Note.PTB_LIMITED}),
    ),
    "I24 errors of IPv6": (
        replace(NO_LIMITS, errors=SLOW),
        lambda: error(sent_by(w.WEB6), w.WEB6),
        Reason.ICMP_LIMIT,
        frozenset(),
    ),
}
PER_SOURCE = replace(w.STATE, protection=Protection(per_source=SLOW))
PER_VIP = replace(w.STATE, protection=Protection(per_vip=SLOW))
BOTH = replace(w.STATE, protection=Protection(per_source=SLOW, per_vip=SLOW))


@pytest.mark.parametrize("name", CASES)
def test_above_the_rate_packets_are_dropped_and_told_apart(rig: Rig, name: str) -> None:
    limits, build, reason, notes = CASES[name]
    frame = build()
    rig.install(w.STATE, w.INTERFACES, limits)
    results = flood(rig, frame)
    refused = [result for result in results if (result.reason, result.notes) == (reason, notes)]
    answered = ORACLE.judge(frame, w.LOOPBACK)
    allowed = [result for result in results if (result.reason, result.notes) == (answered.reason, answered.notes)]
    assert len(allowed) + len(refused) == len(results)
    assert 5 <= len(allowed) <= 7  # the burst, and what a second or two bring
    limited = ORACLE.judge(frame, w.LOOPBACK, within_rate=False)
    assert (limited.reason, limited.notes) == (reason, notes)
    assert [result.verdict for result in refused] == [limited.verdict] * len(refused)


def test_u06_over_a_second_the_rate_is_kept(rig: Rig) -> None:
    rig.install(w.STATE, w.INTERFACES, replace(NO_LIMITS, too_big=Rate(per_second=200, burst=10)))
    frame, sent, begin = sized(1500), 0, time.monotonic()
    while time.monotonic() < begin + 0.5:
        sent += Note.PTB_SENT in rig.run(frame).notes
    elapsed = time.monotonic() - begin
    assert 60 <= sent <= 10 + 200 * elapsed + 1


def test_i24_a_flood_of_errors_to_one_vip_leaves_others_their_rate(rig: Rig) -> None:
    rig.install(w.STATE, w.INTERFACES, replace(NO_LIMITS, errors=SLOW))
    flood(rig, error(sent_by(w.WEB)))
    assert rig.run(error(sent_by(w.WEB))).reason is Reason.ICMP_LIMIT
    assert rig.run(error(sent_by(w.ECHO, 17, 7000), w.ECHO)).notes == {Note.ICMP_RELAYED}


def test_i24_u06_used_up_rates_do_not_touch_ordinary_packets(rig: Rig) -> None:
    rig.install(w.STATE, w.INTERFACES, Limits(SLOW, SLOW, SLOW))
    for frame in (echo(), sized(1500), error(sent_by(w.WEB))):
        flood(rig, frame, 20)
    assert [result.reason for result in flood(rig, tcp(), 20)] == [Reason.NONE] * 20


KINDS: dict[str, Callable[[], bytes]] = {
    "tcp": tcp,
    "tcp of IPv6": lambda: tcp(w.WEB6),
    "udp": lambda: udp(w.WEB, 443),
    "echo": echo,
    "an error": lambda: error(sent_by(w.WEB)),
    "an error of IPv6": lambda: error(sent_by(w.WEB6), w.WEB6),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("state", "reason"),
    [(PER_SOURCE, Reason.SOURCE_LIMIT), (PER_VIP, Reason.VIP_LIMIT), (BOTH, Reason.SOURCE_LIMIT)],
    ids=["source", "vip", "both"],
)
def test_h05_above_the_rate_of_a_source_or_a_vip_everything_is_dropped(
    rig: Rig, state: ForwarderState, reason: Reason, kind: str
) -> None:
    rig.install(state, w.INTERFACES)
    frame = KINDS[kind]()
    reasons = [result.reason for result in flood(rig, frame, 60)]
    assert 5 <= reasons.count(Reason.NONE) <= 7
    assert set(reasons[8:]) <= {reason, Reason.NONE}
    assert Oracle(state, w.INTERFACES).judge(frame, w.LOOPBACK, within_rate=False).reason is reason


def test_h05_a_flood_from_one_source_leaves_others_their_rate(rig: Rig) -> None:
    rig.install(PER_SOURCE, w.INTERFACES)
    flood(rig, tcp())
    flood(rig, tcp(w.WEB6))
    assert rig.run(tcp()).reason is Reason.SOURCE_LIMIT
    others = [tcp(ip={"src": f"198.51.100.{n}"}) for n in range(10, 40)]
    others += [tcp(w.WEB6, ip={"src": f"2001:db8:c::{n}"}) for n in range(10, 40)]
    refused = [rig.run(frame).reason is Reason.SOURCE_LIMIT for frame in others]
    assert sum(refused) <= 2  # two sources may share a place in the table


def test_h05_a_flood_to_one_vip_leaves_others_their_rate(rig: Rig) -> None:
    rig.install(PER_VIP, w.INTERFACES)
    flood(rig, tcp())
    assert rig.run(tcp()).reason is Reason.VIP_LIMIT
    assert rig.run(tcp(ip={"src": "198.51.100.9"})).reason is Reason.VIP_LIMIT
    assert [rig.run(frame).reason for frame in (tcp(w.WEB6), udp(), tcp("198.18.7.1"))] == [Reason.NONE] * 3


def test_h05_a_vip_prefix_has_one_rate(rig: Rig) -> None:
    rig.install(PER_VIP, w.INTERFACES)
    reasons = [rig.run(tcp(f"198.18.7.{n}")).reason for n in range(1, 60)]
    assert 5 <= reasons.count(Reason.NONE) <= 7


def test_h06_the_hosts_traffic_has_no_rate(rig: Rig) -> None:
    rig.install(BOTH, w.INTERFACES)
    flood(rig, tcp())
    for frame in (tcp(w.HOST, 179), tcp(w.HOST6, 179), udp(w.HOST, 3784)):
        assert {result.verdict for result in flood(rig, frame)} == {Verdict.PASS}
