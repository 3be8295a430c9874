"""Every row of the packet catalogue through the oracles alone: no kernel, no privilege."""

import pytest

from edge.datapath.decap_oracle import DecapOracle
from edge.datapath.oracle import Oracle
from tests.datapath import rows
from tests.datapath import world as w
from tests.datapath.expect import holds
from tests.datapath.row import Row

FORWARD = {name: Oracle(state, w.INTERFACES, w.Blocked()) for name, state in w.STATES.items()}
DECAP = {name: DecapOracle(state) for name, state in w.DECAP_STATES.items()}


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in rows.FORWARD])
def test_forward_row(row: Row) -> None:
    for frame in row.build():
        holds(FORWARD[row.world].judge(frame, w.LOOPBACK), row.expect, frame)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in rows.DECAP])
def test_decap_row(row: Row) -> None:
    for frame in row.build():
        holds(DECAP[row.world].judge(frame), row.expect, frame)
