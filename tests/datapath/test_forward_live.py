"""X01: on a real interface, native and generic, every row meets what it meets in a test run."""

import collections
import dataclasses
import socket
import struct
import time
from collections.abc import Callable, Iterable

import pytest

from edge.datapath import xdp
from edge.datapath.abi import Reason, Verdict
from edge.datapath.decap_oracle import DecapOracle
from edge.datapath.model import ForwarderState, NextHop
from edge.datapath.oracle import Oracle
from edge.datapath.outcome import Outcome
from edge.datapath.xdp import Link, Mode
from tests.datapath import kernel, rows
from tests.datapath import world as w
from tests.datapath.conftest import Pair
from tests.datapath.fuzzing import decapsulator_in, forwarder_in
from tests.datapath.rig import Rig
from tests.datapath.row import Row

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("programs")]
BATCH = 20  # frames sent before their answers are read, few enough for any socket buffer
MOST_OF_A_ROW = 12
PATIENCE = 2.0
SOL_PACKET, PACKET_AUXDATA, TAG_TAKEN = 263, 8, 1 << 4  # linux/if_packet.h
AUXDATA = struct.Struct("=3I4H")  # struct tpacket_auxdata


def frames_of(table: Iterable[Row], world: str) -> list[bytes]:
    """What a 1500-byte link carries: with room for a tag, which counts as payload there."""
    built = (frame for row in table if row.world == world for frame in row.build()[:MOST_OF_A_ROW])
    return [frame for frame in built if 14 <= len(frame) <= 1514]


def on_interface(state: ForwarderState, index: int) -> ForwarderState:
    """The state with next hops behind this interface instead of the loopback."""

    def moved(hop: NextHop | None) -> NextHop | None:
        return dataclasses.replace(hop, ifindex=index) if hop and hop.ifindex == w.LOOPBACK else hop

    backends = tuple(dataclasses.replace(b, next_hop=moved(b.next_hop)) for b in state.backends)
    return dataclasses.replace(state, backends=backends)


@pytest.mark.parametrize("world", w.STATES)
@pytest.mark.parametrize("mode", list(Mode))
def test_x01_rows_of_the_edge_meet_the_same_on_a_live_interface(pair: Pair, mode: Mode, world: str) -> None:
    rig, index = forwarder_in(world), interface(pair)
    state = on_interface(w.STATES[world], index)
    rig.install(state, {index: w.OWN_MAC})
    rig.remove_pool(w.ABSENT_POOL_INDEX)
    oracle = Oracle(state, {index: w.OWN_MAC}, w.Blocked())
    run(rig, pair, mode, frames_of(rows.FORWARD, world), lambda frame: oracle.judge(frame, index))


@pytest.mark.parametrize("world", w.DECAP_STATES)
@pytest.mark.parametrize("mode", list(Mode))
def test_x01_rows_of_the_backend_meet_the_same_on_a_live_interface(pair: Pair, mode: Mode, world: str) -> None:
    interface(pair)
    oracle = DecapOracle(w.DECAP_STATES[world])
    run(decapsulator_in(world), pair, mode, frames_of(rows.DECAP, world), oracle.judge)


def interface(pair: Pair) -> int:
    """The edge's end of the link, with the MAC that the rows send to."""
    pair.edge.ip("link", "set", "e0", "address", w.OWN_MAC.hex(":"))
    with pair.edge.inside():
        return xdp.interface_index("e0")


def run(rig: Rig, pair: Pair, mode: Mode, frames: list[bytes], judge: Callable[[bytes], Outcome]) -> None:
    """Send the frames; what comes back and what was counted must be what the oracle says."""
    with pair.edge.inside():
        link = Link.create(rig.program, "e0", mode)
    judged = [(f, outcome) for f in frames if (outcome := judge(f)).verdict is not Verdict.REDIRECT]
    before = rig.totals()
    with link, kernel.packet_socket(pair.router, "r0") as raw:
        for start in range(0, len(judged), BATCH):
            batch = judged[start : start + BATCH]
            known = collections.Counter(outcome.frame for _, outcome in batch if outcome.verdict is Verdict.TX)
            for frame, _ in batch:
                raw.send(frame)
            assert collections.Counter(collect(raw, known.total(), known)) == known
        expected = wanted(outcome for _, outcome in judged)
        counted = counts(rig, before)
        deadline = time.monotonic() + PATIENCE
        while counted != expected and time.monotonic() < deadline:
            counted = counts(rig, before)
    rig.close()
    assert counted == expected
    assert expected["rx"] == len(judged) > 20


def collect(raw: socket.socket, count: int, known: collections.Counter[bytes]) -> list[bytes]:
    """Frames that came back, out of those that may: the interface also has noise of its own."""
    found: list[bytes] = []
    raw.settimeout(PATIENCE)
    raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    while len(found) < count:
        try:
            data, beside, _, address = raw.recvmsg(2048, socket.CMSG_SPACE(AUXDATA.size))
        except TimeoutError:
            break
        frame = with_tag(data, beside)
        if address[2] != socket.PACKET_OUTGOING and frame in known:
            found.append(frame)
    return found


def with_tag(data: bytes, beside: list[tuple[int, int, bytes]]) -> bytes:
    """The frame as it was on the link: the kernel takes the outermost tag off and tells it beside."""
    for _, kind, value in beside:
        if kind == PACKET_AUXDATA:
            status, _, _, _, _, control, protocol = AUXDATA.unpack(value[: AUXDATA.size])
            if status & TAG_TAKEN:
                return data[:12] + struct.pack("!HH", protocol, control) + data[12:]
    return data


def wanted(outcomes: Iterable[Outcome]) -> collections.Counter[str]:
    """What must be counted: rx = tx + passed + drops."""
    total: collections.Counter[str] = collections.Counter()
    for outcome in outcomes:
        total["rx"] += 1
        verdict = "passed" if outcome.verdict is Verdict.PASS else "tx"
        total[outcome.reason.label if outcome.reason else verdict] += 1
    return total


def counts(rig: Rig, before: tuple[int, ...]) -> collections.Counter[str]:
    """What was counted since `before`."""
    more = [now - then for now, then in zip(rig.totals(), before, strict=True)]
    total = collections.Counter({"rx": more[0], "tx": more[1], "passed": more[2]})
    total.update({reason.label: more[3 + reason] for reason in Reason if reason})
    return +total


def test_there_are_rows_of_every_reason_that_a_live_frame_can_have() -> None:
    reasons = {getattr(row.expect, "reason", None) for row in (*rows.FORWARD, *rows.DECAP)} - {None}
    absent = {Reason.NONE, Reason.SHORT, Reason.ENCAP_FAIL, Reason.ENCAP_TYPE, Reason.ICMP_LIMIT, Reason.ECHO_LIMIT}
    absent |= {Reason.SOURCE_LIMIT, Reason.VIP_LIMIT}
    assert set(Reason) - reasons - absent == {Reason.TOOBIG} - reasons
