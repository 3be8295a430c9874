"""Rates: echo (I01), too big (U06), relayed errors of each VIP (I24). The clock is the kernel's, so bounds are wide."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from edge.datapath.abi import Note, Reason
from edge.datapath.model import NO_LIMITS, Limits, Rate
from edge.datapath.oracle import Oracle
from tests.datapath import world as w
from tests.datapath.frames import echo, error, sent_by, tcp
from tests.datapath.rig import Result, Rig
from tests.datapath.rows_icmp import sized

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
}


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
