"""Differential fuzz: mutants of every row's frames, the program against its oracle. The same mutants every run."""

import struct
from collections.abc import Callable, Iterator

import pytest

from edge.datapath.abi import Verdict
from edge.datapath.decap_oracle import judge_decap
from edge.datapath.headers import Outcome, checksum
from edge.datapath.oracle import Oracle
from tests.datapath import rows_decap, rows_icmp, rows_link, rows_transport
from tests.datapath import world as w
from tests.datapath.frames import with_checksum
from tests.datapath.mutate import mutants, with_sum
from tests.datapath.rig import Rig
from tests.datapath.row import Row

pytestmark = pytest.mark.kernel
MUTANTS = 12_000
LONGEST = 3400


def seeds(rows: list[Row]) -> list[bytes]:
    return [frame for row in rows for frame in row.build()[:12] if 14 <= len(frame) <= LONGEST]


def compare(rig: Rig, judge: Callable[[bytes], Outcome], frames: Iterator[bytes]) -> dict[str, int]:
    """Run every frame through both; returns how often each reason or verdict came up."""
    seen: dict[str, int] = {}
    for frame in frames:
        wanted, result = judge(frame), rig.run(frame)
        same = (result.verdict, result.reason, result.notes) == (wanted.verdict, wanted.reason, wanted.notes)
        same = same and (wanted.verdict is Verdict.DROP or result.frame == wanted.frame)
        assert same, f"{frame.hex()}\n{result}\n{wanted}"
        assert result.rx == 1 == result.tx + result.passed + result.dropped
        if wanted.verdict in (Verdict.TX, Verdict.REDIRECT):
            assert checksum(result.frame[14:34]) == 0
        name = wanted.reason.label if wanted.reason else wanted.verdict.name
        seen[name] = seen.get(name, 0) + 1
    return seen


def test_h01_p1_e15_forwarder_and_oracle_agree_on_mutants(forwarder: Rig) -> None:
    oracle = Oracle(w.STATE, w.INTERFACES)
    given = seeds([*rows_link.ROWS, *rows_transport.ROWS, *rows_icmp.ROWS])
    seen = compare(forwarder, lambda frame: oracle.judge(frame, w.LOOPBACK), mutants(given, MUTANTS, 1))
    assert len(seen) >= 30, seen  # the mutants reach nearly every reason
    assert seen["TX"] > MUTANTS // 20


def test_h01_decapsulator_and_oracle_agree_on_mutants(decapsulator: Rig) -> None:
    frames = mutants(seeds(rows_decap.ROWS), MUTANTS, 2)
    seen = compare(decapsulator, lambda frame: judge_decap(frame, w.DECAP_STATE), frames)
    assert len(seen) >= 18, seen
    assert seen["PASS"] > MUTANTS // 10


def test_p2_what_the_forwarder_wraps_the_decapsulator_unwraps(forwarder: Rig, decapsulator: Rig) -> None:
    """Backend 10.0.9.1 gives back, byte for byte, every packet that the edge sends it, without the frame's padding."""
    oracle = Oracle(w.STATE, w.INTERFACES)
    checked = 0
    for frame in mutants(seeds(rows_transport.ROWS), 3000, 3):
        there = forwarder.run(frame)
        served = frame[30:34] in (bytes((203, 0, 113, 10)), bytes((203, 0, 113, 11)))
        if there.verdict is not Verdict.TX or there.frame[30:34] != bytes((10, 0, 9, 1)) or not served:
            continue
        back = decapsulator.run(there.frame)
        length = struct.unpack_from("!H", frame, 16)[0]
        assert back.verdict is Verdict.PASS
        assert back.frame[14:] == frame[14 : 14 + length]
        assert oracle.judge(frame, w.LOOPBACK).verdict is Verdict.TX
        checked += 1
    assert checked > 200


def test_the_quick_checksum_is_the_one_scapy_computes() -> None:
    for frame in mutants(seeds(rows_transport.ROWS), 200, 4):
        if len(frame) >= 34 and frame[14] & 15 == 5:
            assert with_sum(frame) == with_checksum(frame)
