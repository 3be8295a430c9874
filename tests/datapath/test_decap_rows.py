"""Every row of the packet catalogue for the backend, through the program."""

import dataclasses

import pytest

from edge.datapath.abi import Reason, Verdict
from edge.datapath.decap_oracle import judge_decap
from edge.datapath.model import Encap
from tests.datapath import rows, rows_decap
from tests.datapath import world as w
from tests.datapath.expect import Decapsulated, Drop, holds
from tests.datapath.rig import Rig
from tests.datapath.row import Row

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in rows.DECAP])
def test_decap_row(decapsulators: dict[str, Rig], row: Row) -> None:
    for frame in row.build():
        result = decapsulators[row.world].run(frame)
        holds(result, row.expect, frame)
        dropped = int(isinstance(row.expect, Drop))
        assert (result.rx, result.tx, result.passed, result.dropped) == (1, 0, 1 - dropped, dropped)


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("accepted", list(Encap))
def test_b15_a_tunnel_type_that_is_not_configured_is_dropped(accepted: Encap) -> None:
    state = dataclasses.replace(w.DECAP_STATE, encaps=frozenset({accepted}))
    rig = Rig.decapsulator()
    rig.install_decap(state)
    for encap in Encap:
        frame = rows_decap.wrapped(rows_decap.client(), encap)
        expect = Decapsulated(24 if encap is Encap.GRE else 20) if encap is accepted else Drop(Reason.ENCAP_TYPE)
        holds(judge_decap(frame, state), expect, frame)
        holds(rig.run(frame), expect, frame)
    rig.close()


@pytest.mark.usefixtures("programs")
def test_a_backend_without_a_directory_passes_everything_and_says_so() -> None:
    rig = Rig.decapsulator()
    result = rig.run(rows_decap.wrapped(rows_decap.client()))
    assert (result.verdict, [note.label for note in result.notes]) == (Verdict.PASS, ["unconfigured"])
    rig.close()
