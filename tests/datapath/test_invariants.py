"""What holds for every packet (P1-P9), by mutants of all rows. The oracle answers: programs are held against it."""

import functools
import re
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from edge.datapath import bpf
from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.addresses import MARTIANS4
from edge.datapath.headers import checksum
from edge.datapath.model import IpAddress
from edge.datapath.oracle import Oracle
from edge.datapath.oracle_addresses import MARTIANS6, Addresses, within
from edge.datapath.outcome import Outcome
from tests.datapath import fuzzing
from tests.datapath import world as w
from tests.datapath.frames import ip_at, packet_of
from tests.datapath.mutate import mutants

MUTANTS = 6_000
WORST_OVERHEAD = 4 + 48  # a tag, and GRE with a key over IPv6
Judged = list[tuple[bytes, Outcome]]


@functools.cache
def judged(name: str) -> Judged:
    oracle = Oracle(w.STATES[name], w.INTERFACES, w.Blocked())
    frames = mutants(fuzzing.seeds(decap=False), MUTANTS, 11)
    return [(frame, oracle.judge(frame, w.LOOPBACK)) for frame in frames]


def sent(name: str) -> Judged:
    found = [(f, o) for f, o in judged(name) if o.verdict in (Verdict.TX, Verdict.REDIRECT)]
    assert len(found) > 200
    return found


def addresses(packet: bytes) -> tuple[IpAddress, IpAddress]:
    if packet[0] >> 4 == 4:
        return IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
    return IPv6Address(packet[8:24]), IPv6Address(packet[24:40])


pytestmark = pytest.mark.parametrize("world", w.STATES)


def test_p1_a_packet_has_one_verdict_and_one_count(world: str) -> None:
    for _, outcome in judged(world):
        answered = outcome.verdict is Verdict.TX and outcome.reason is Reason.TOOBIG
        assert (outcome.verdict is Verdict.DROP or answered) == (outcome.reason is not Reason.NONE)
        assert answered == (Note.PTB_SENT in outcome.notes)


def test_p3_a_header_that_leaves_is_valid(world: str) -> None:
    own = {b.address for b in w.BACKENDS}
    for frame, outcome in sent(world):
        after = outcome.frame
        packet = after[ip_at(after) :]
        source, destination = addresses(packet)
        assert packet_of(after) == packet  # its length is what is there
        assert packet[8 if packet[0] >> 4 == 4 else 7] == 64
        assert not within(destination, (*MARTIANS4, *MARTIANS6))
        if packet[0] >> 4 == 4:
            assert packet[0] == 0x45
            assert checksum(packet[:20]) == 0
            assert struct.unpack_from("!2H", packet, 4) == (0, 0 if outcome.reason else 0x4000)
        if outcome.choice and not outcome.reason:
            assert destination in own
        else:
            assert (destination, source) == addresses(frame[ip_at(frame) :])


def test_p4_nothing_is_amplified(world: str) -> None:
    for frame, outcome in sent(world):
        before, after = packet_of(frame), outcome.frame[ip_at(outcome.frame) :]
        if Note.ECHO_REPLY in outcome.notes:
            assert len(after) == len(before)
        elif outcome.reason:
            assert len(after) == (576 if after[0] >> 4 == 4 else 1280) < len(before)
        else:
            assert after.endswith(before)  # P2: the packet is inside, byte for byte, and no padding is
            assert len(after) <= len(before) + WORST_OVERHEAD


def test_p5_what_is_passed_is_untouched_and_what_is_no_vips_is_passed(world: str) -> None:
    vips = Addresses([s.vip for s in w.STATE.services] + list(w.STATE.echo_vips), (), ())
    others = 0
    for frame, outcome in judged(world):
        assert outcome.verdict is not Verdict.PASS or outcome.frame == frame
        if outcome.reason in (Reason.SHORT, Reason.TRUNC, Reason.IP_VERSION) or Note.VLAN in outcome.notes:
            continue
        at = ip_at(frame)
        if frame[at - 2 : at] in (b"\x08\0", b"\x86\xdd") and vips.vip_of(addresses(frame[at:])[1]) is None:
            assert outcome.verdict is Verdict.PASS, frame.hex()
            others += 1
    assert others > 500


def test_p6_the_order_of_packets_means_nothing(world: str) -> None:
    fresh = Oracle(w.STATES[world], w.INTERFACES, w.Blocked())
    for frame, outcome in judged(world)[::-7]:
        assert fresh.judge(frame, w.LOOPBACK) == outcome


def test_p7_no_error_about_errors_fragments_broadcasts_and_martians(world: str) -> None:
    answered = 0
    for frame, outcome in sent(world):
        if not outcome.reason:
            continue
        packet = packet_of(frame)
        source, _ = addresses(packet)
        assert frame[:6] == w.OWN_MAC
        assert not within(source, (*MARTIANS4, *MARTIANS6))
        if packet[0] >> 4 == 4:
            assert packet[9] in (6, 17)
            assert struct.unpack_from("!H", packet, 6)[0] & 0x3FFF == 0
        else:
            assert packet[6] in (6, 17)
        answered += 1
    assert answered >= 10


def test_p9_no_program_aborts(world: str) -> None:
    texts = [path.read_text() for path in Path(bpf.__file__).parent.glob("*.[ch]")]
    assert len(texts) > 5
    assert not any(re.search(r"\breturn XDP_ABORTED\b", text) for text in texts), world
