"""X01: on a real interface, native and generic, the rows meet what they meet in a test run."""

import collections
import dataclasses
import socket
import time
from collections.abc import Iterator

import pytest

from edge.datapath import xdp
from edge.datapath.abi import Reason, Verdict
from edge.datapath.oracle import Oracle
from edge.datapath.xdp import Link, Mode
from tests.datapath import kernel, rows_icmp, rows_link, rows_transport
from tests.datapath import world as w
from tests.datapath.conftest import Pair
from tests.datapath.frames import Pass
from tests.datapath.rig import Rig

pytestmark = pytest.mark.kernel
ROWS = [row for row in (*rows_link.ROWS, *rows_transport.ROWS, *rows_icmp.ROWS) if not isinstance(row.expect, Pass)]
BATCH = 20  # frames sent before their answers are read, few enough for any socket buffer
PATIENCE = 2.0


@pytest.fixture
def rig(programs: None) -> Iterator[Rig]:
    made = Rig.forwarder(w.TABLE_SIZE)
    yield made
    made.close()


def collect(raw: socket.socket, wanted: int, known: collections.Counter[bytes]) -> list[bytes]:
    """Frames that came back, out of those that may: the interface also has noise of its own."""
    found: list[bytes] = []
    raw.settimeout(PATIENCE)
    while len(found) < wanted:
        try:
            frame, address = raw.recvfrom(2048)
        except TimeoutError:
            break
        if address[2] != socket.PACKET_OUTGOING and frame in known:
            found.append(frame)
    return found


@pytest.mark.parametrize("mode", list(Mode))
def test_x01_rows_meet_the_same_on_a_live_interface(rig: Rig, pair: Pair, mode: Mode) -> None:
    pair.edge.ip("link", "set", "e0", "address", w.OWN_MAC.hex(":"))
    with pair.edge.inside():
        index = xdp.interface_index("e0")
        link = Link.create(rig.program, "e0", mode)
    hops = {w.LOOPBACK: index, w.ELSEWHERE: w.ELSEWHERE}
    backends = tuple(
        dataclasses.replace(
            b, next_hop=b.next_hop and dataclasses.replace(b.next_hop, ifindex=hops[b.next_hop.ifindex])
        )
        for b in w.BACKENDS
    )
    state = dataclasses.replace(w.STATE, backends=backends)
    rig.install(state, {index: w.OWN_MAC})
    rig.remove_pool(w.ABSENT_POOL_INDEX)
    oracle = Oracle(state, {index: w.OWN_MAC})
    frames = [frame for row in ROWS for frame in row.build()[:12] if 14 <= len(frame) <= 1514]
    judged = [
        (frame, outcome) for frame in frames if (outcome := oracle.judge(frame, index)).verdict is not Verdict.REDIRECT
    ]
    before = rig.totals()
    with link, kernel.packet_socket(pair.router, "r0") as raw:
        for start in range(0, len(judged), BATCH):
            batch = judged[start : start + BATCH]
            known = collections.Counter(outcome.frame for _, outcome in batch if outcome.verdict is Verdict.TX)
            for frame, _ in batch:
                raw.send(frame)
            assert collections.Counter(collect(raw, known.total(), known)) == known
        dropped = collections.Counter(outcome.reason for _, outcome in judged if outcome.reason)
        counted = counts(rig, before)
        deadline = time.monotonic() + PATIENCE
        while counted != dropped and time.monotonic() < deadline:
            counted = counts(rig, before)
    assert counted == dropped
    rx, tx, passed = (now - then for now, then in zip(rig.totals()[:3], before[:3], strict=True))
    assert rx == tx + passed + dropped.total()
    assert tx == sum(outcome.verdict is Verdict.TX and not outcome.reason for _, outcome in judged)


def counts(rig: Rig, before: tuple[int, ...]) -> collections.Counter[Reason]:
    """Drops since `before`, by reason."""
    now = rig.totals()
    drops = {reason: now[3 + reason] - before[3 + reason] for reason in Reason}
    return +collections.Counter(drops)


def test_there_are_rows_of_every_reason_that_a_live_frame_can_have() -> None:
    reasons = {getattr(row.expect, "reason", None) for row in ROWS} - {None}
    assert len(reasons) >= 28
