"""Differential fuzz, the gate: the same 100,000 mutants every run, the programs against their oracles (H01)."""

from ipaddress import ip_address

import pytest

from edge.datapath.abi import Reason, Verdict
from tests.datapath import fuzzing
from tests.datapath import world as w
from tests.datapath.differ import Differ, Reached
from tests.datapath.frames import packet_of, tcp, udp, with_checksum
from tests.datapath.fuzzing import Target, seeds
from tests.datapath.hunt import hunt, unreached
from tests.datapath.mutate import mend_header, mutants
from tests.datapath.rig import Rig

pytestmark = pytest.mark.kernel
MUTANTS = 100_000
REACHED: dict[str, Reached] = {}


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("target", fuzzing.TARGETS, ids=lambda target: target.name)
def test_h01_p1_p8_e15_program_and_oracle_agree_on_mutants(target: Target) -> None:
    rig = target.rig()
    count = MUTANTS * target.share // fuzzing.SHARES
    frames = mutants(seeds(target.decap), count, 1 + fuzzing.TARGETS.index(target), fuzzing.LONGEST)
    reached = Differ(rig, target.judge).compare(frames)
    rig.close()
    assert not reached.divergences, f"{reached.divergences[0]}\n{reached.divergences[0].row()}"
    assert reached.frames == count
    REACHED[target.name] = reached


def test_h01_the_mutants_reach_every_reason_and_note_that_a_mutant_can() -> None:
    if set(REACHED) != {target.name for target in fuzzing.TARGETS}:
        pytest.skip("needs the whole gate: run this file, not one of its tests")
    total = Reached()
    for reached in REACHED.values():
        total.merge(reached)
    assert unreached(total) == []
    assert total.frames == MUTANTS
    assert min(total.verdicts[verdict.name] for verdict in (Verdict.DROP, Verdict.PASS, Verdict.TX)) > MUTANTS // 25
    assert total.verdicts["REDIRECT"] >= 20


def test_h01_a_reason_is_either_reached_or_says_where_it_is() -> None:
    assert all(text.startswith("test_forward_") for text in fuzzing.UNREACHABLE_REASONS.values())
    assert Reason.NONE not in fuzzing.UNREACHABLE_REASONS
    assert len(fuzzing.UNREACHABLE_REASONS) + len(fuzzing.UNREACHABLE_NOTES) <= 8


def test_h01_the_hunt_finds_what_differs_and_says_what_it_reached(
    programs: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = fuzzing.TARGETS[0]
    monkeypatch.setattr(fuzzing, "TARGETS", (plain,))
    monkeypatch.setattr(fuzzing, "SHARES", plain.share)
    state = hunt(seed=5, seconds=None, count=500)
    facts = state.report()
    assert (facts["mutants"], facts["divergences"]) == (500, [])
    assert facts["reasons"]["none"] > 50
    assert "note: nothing reached" not in facts["unreached"]

    other = fuzzing.TARGETS[0].__class__("other", 1, False, lambda: fuzzing.forwarder_in("tagged"), plain.judge)
    monkeypatch.setattr(fuzzing, "TARGETS", (other,))
    monkeypatch.setattr(fuzzing, "SHARES", 1)
    facts = hunt(seed=5, seconds=None, count=500).report()
    assert facts["divergences"]
    assert "Row(" in facts["divergences"][0]["row"]
    assert "program" in capsys.readouterr().err


def test_p2_what_the_forwarder_wraps_the_decapsulator_unwraps(forwarder: Rig, decapsulator: Rig) -> None:
    """Backend OWN gives back, byte for byte, every packet that the edge sends it, without the frame's padding."""
    checked = dict.fromkeys(((4, 4), (4, 6), (6, 4), (6, 6)), 0)  # outer and inner version
    owns = (ip_address(w.OWN).packed, ip_address(w.OWN6).packed)
    sent = [f for f in seeds(decap=False) if forwarder.run(f).verdict is Verdict.TX and len(f) < 400]
    ports = range(40000, 40040)
    sent += [build for vip in (w.SIX, w.SIX6) for p in ports for build in (tcp(vip, sport=p), udp(vip, sport=p))]
    for frame in mutants(sent, 8000, 3):
        there = forwarder.run(frame)
        version = 4 if there.frame[12:14] == b"\x08\0" else 6
        destination = there.frame[30:34] if version == 4 else there.frame[38:54]
        if there.verdict is not Verdict.TX or destination not in owns:
            continue
        back = decapsulator.run(there.frame)
        if back.reason in (Reason.MISDELIVERED, Reason.MARTIAN):
            continue  # a VIP that this backend does not serve, a machine that this edge does not know
        assert back.verdict is Verdict.PASS
        assert back.frame == there.frame[:12] + frame[12:14] + packet_of(frame)
        checked[version, packet_of(frame)[0] >> 4] += 1
    assert min(checked.values()) >= 5, checked


def test_mended_checksums_are_the_ones_scapy_computes() -> None:
    for frame in mutants(seeds(decap=False), 200, 4):
        if len(frame) >= 34 and frame[14] == 0x45 and frame[12:14] == b"\x08\0":
            mended = bytearray(frame)
            mend_header(mended, 14)
            assert bytes(mended) == with_checksum(frame)
