"""Every row of the packet catalogue for the backend: the decapsulator, the oracle and the row itself must agree."""

import pytest

from edge.datapath.abi import Reason, Verdict
from edge.datapath.decap_oracle import judge_decap
from edge.datapath.headers import Outcome
from edge.datapath.model import DecapState, Encap
from tests.datapath import rows_decap
from tests.datapath import world as w
from tests.datapath.frames import Decapsulated, Drop, Expectation, Pass
from tests.datapath.rig import Result, Rig
from tests.datapath.row import Row

pytestmark = pytest.mark.kernel
ELSEWHERE = {
    "B15": "below: another state",
    "B16": "the lab: a backend without the VIP fails its check",
    "B17": "the lab: rp_filter",
    "B18": "the lab: ARP",
    "B19": "the lab: what a capture at the edge sees",
    "B20": "the lab: the UDP echo's reply source",
    "B21": "the network's filter; a forged edge address is a legitimate source here",
}


def holds(result: Result | Outcome, expect: Expectation, frame: bytes) -> None:
    reason = expect.reason if isinstance(expect, Drop) else Reason.NONE
    verdict = Verdict.DROP if isinstance(expect, Drop) else Verdict.PASS
    assert (result.verdict, result.reason, result.notes) == (verdict, reason, expect.notes)
    if isinstance(expect, Pass):
        assert result.frame == frame
    if isinstance(expect, Decapsulated):
        assert result.frame.hex(" ") == expect.frame(frame).hex(" ")


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in rows_decap.ROWS])
def test_decap_row(decapsulator: Rig, row: Row) -> None:
    for frame in row.build():
        holds(judge_decap(frame, w.DECAP_STATE), row.expect, frame)
        result = decapsulator.run(frame)
        holds(result, row.expect, frame)
        dropped = int(isinstance(row.expect, Drop))
        assert (result.rx, result.tx, result.passed, result.dropped) == (1, 0, 1 - dropped, dropped)


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("accepted", list(Encap))
def test_b15_a_tunnel_type_that_is_not_configured_is_dropped(accepted: Encap) -> None:
    state = DecapState(w.DECAP_STATE.address, w.DECAP_STATE.vips, w.DECAP_STATE.edges, frozenset({accepted}))
    rig = Rig.decapsulator()
    rig.install_decap(state)
    for encap in Encap:
        frame = rows_decap.wrapped(rows_decap.client(), encap)
        expect = Decapsulated(24 if encap is Encap.GRE else 20) if encap is accepted else Drop(Reason.ENCAP_TYPE)
        holds(judge_decap(frame, state), expect, frame)
        holds(rig.run(frame), expect, frame)
    rig.close()


def test_every_row_of_the_catalogue_is_here_or_says_where_it_is() -> None:
    here = {one for row in rows_decap.ROWS for one in row.ids.split()}
    wanted = [f"B{n:02}" for n in range(1, 24)] + ["E07", "E08"]
    assert [one for one in wanted if one not in here and one not in ELSEWHERE] == []


@pytest.mark.usefixtures("programs")
def test_a_backend_without_a_directory_passes_everything_and_says_so() -> None:
    rig = Rig.decapsulator()
    result = rig.run(rows_decap.wrapped(rows_decap.client()))
    assert (result.verdict, [note.label for note in result.notes]) == (Verdict.PASS, ["unconfigured"])
    rig.close()
