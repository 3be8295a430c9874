"""Every row of the packet catalogue for the edge, through the program."""

import dataclasses

import pytest

from edge.datapath.abi import Verdict
from tests.datapath import rows
from tests.datapath.expect import TooBig, holds
from tests.datapath.rig import Rig
from tests.datapath.row import Row

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in rows.FORWARD])
def test_forward_row(forwarders: dict[str, Rig], row: Row) -> None:
    forwarder = forwarders[row.world]
    for frame in row.build():
        result = forwarder.run(frame)
        holds(result, row.expect, frame)
        counted = (result.rx, result.tx, result.passed, result.dropped)
        verdicts = {Verdict.DROP: (1, 0, 0, 1), Verdict.PASS: (1, 0, 1, 0), Verdict.TX: (1, 1, 0, 0)}
        answered = isinstance(row.expect, TooBig)
        assert counted == verdicts[Verdict.DROP if answered else min(result.verdict, Verdict.TX)]
        assert dataclasses.replace(forwarder.run(frame, poison=0), frame=result.frame) == result
