"""Every IPv4 row of the packet catalogue through the forwarder, the oracle and the row's own statement."""

import dataclasses

import pytest

from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.headers import Outcome
from edge.datapath.oracle import Oracle
from tests.datapath import rows_icmp, rows_link, rows_transport
from tests.datapath import world as w
from tests.datapath.frames import Decapsulated, Drop, EchoReply, Enc, Expectation, Pass, TooBig, echo_reply, too_big
from tests.datapath.rig import Result, Rig
from tests.datapath.row import Row

pytestmark = pytest.mark.kernel
ROWS = [*rows_link.ROWS, *rows_transport.ROWS, *rows_icmp.ROWS]
ORACLE = Oracle(w.STATE, w.INTERFACES)
ELSEWHERE = {
    "L01": "test_forward_more.py: no test run takes such a frame",
    "T15": "IPv6",
    "T24": "an access list is not configured by anything yet",
    "I03": "test_forward_more.py: 65,536 checksums",
    "I09": "IPv6",
    "I10": "test_forward_more.py: four edges, before and after a swap",
    "I11": "needs the other site's table: the carry chain",
    "I24": "test_forward_limits.py",
    "U04": "IPv6",
    "U06": "test_forward_limits.py",
    "U08": "the lab: what a backend's SYN-ACK advertises",
    "U09": "the lab refuses to measure with offloads on",
    "U11": "the program is not frags-aware, so the kernel gives it no such frame",
    "U12": "the lab: a router's path MTU in between",
    "E04": "test_forward_more.py: 10,000 flows",
    "E05": "test_decap_rows.py: a prefix of sources",
    "E07": "test_decap_rows.py",
    "E08": "test_decap_rows.py",
    "E11": "test_forward_more.py: headroom used up",
    "E13": "refused at config (S05)",
    "E14": "IPv6; 4in4 is in every row",
    "E15": "test_forward_fuzz.py: every frame that leaves has its checksum verified",
    "S03": "the planner's rule",
    "S05": "test_encode.py",
    "S09": "the planner's rule",
    "S10": "test_encode.py",
}
CATALOGUE = [
    *(f"L{n:02}" for n in range(1, 14)),
    *(str(n) for n in range(401, 431)),
    *(f"T{n:02}" for n in range(1, 25)),
    *(f"I{n:02}" for n in range(1, 25)),
    *(f"U{n:02}" for n in range(1, 13)),
    *(f"E{n:02}" for n in range(1, 16)),
    *(f"S{n:02}" for n in range(1, 11)),
]


def stated(expect: Expectation, frame: bytes) -> tuple[Verdict, Reason, bytes | None]:
    """Verdict, reason and frame that the row states; the frame of a dropped packet is nobody's business."""
    match expect:
        case Drop():
            return Verdict.DROP, expect.reason, None
        case Pass():
            return Verdict.PASS, Reason.NONE, frame
        case Enc():
            far = Note.REDIRECTED in expect.notes
            return Verdict.REDIRECT if far else Verdict.TX, Reason.NONE, expect.frame(frame)
        case EchoReply():
            return Verdict.TX, Reason.NONE, echo_reply(frame)
        case TooBig():
            return Verdict.TX, Reason.TOOBIG, too_big(frame, expect.mtu)
        case Decapsulated():
            raise AssertionError("a row of the decapsulator")


def holds(result: Result | Outcome, expect: Expectation, frame: bytes) -> None:
    verdict, reason, after = stated(expect, frame)
    assert (result.verdict, result.reason, result.notes) == (verdict, reason, expect.notes)
    if after is not None:
        assert result.frame.hex(" ") == after.hex(" ")


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_forward_row(forwarder: Rig, row: Row) -> None:
    for frame in row.build():
        holds(ORACLE.judge(frame, w.LOOPBACK), row.expect, frame)
        result = forwarder.run(frame)
        holds(result, row.expect, frame)
        counted = (result.rx, result.tx, result.passed, result.dropped)
        verdicts = {Verdict.DROP: (1, 0, 0, 1), Verdict.PASS: (1, 0, 1, 0), Verdict.TX: (1, 1, 0, 0)}
        answered = isinstance(row.expect, TooBig)
        assert counted == verdicts[Verdict.DROP if answered else min(result.verdict, Verdict.TX)]
        assert dataclasses.replace(forwarder.run(frame, poison=0), frame=result.frame) == result


def test_every_row_of_the_catalogue_is_here_or_says_where_it_is() -> None:
    here = {one for row in ROWS for one in row.ids.split()}
    assert [one for one in CATALOGUE if one not in here and one not in ELSEWHERE] == []
    assert sorted(here & set(ELSEWHERE)) == []
