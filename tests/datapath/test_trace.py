"""Traced packets: what is asked of the program, what it tells, the lease, and who comes second."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.datapath import abi, tracing
from edge.datapath.abi import Reason, Verdict
from edge.datapath.bpf_error import BpfError
from edge.datapath.bpf_map import BpfMap
from edge.datapath.loading import LoadedForwarder, unload
from edge.datapath.pinned import map_path
from edge.datapath.trace import NOBODY, Event, Wanted, decode, lease_end
from edge.datapath.tracing import BusyError, Tracer
from tests.datapath import frames, kernel
from tests.datapath import world as w
from tests.datapath.rig import need_programs

MARTIAN, LOST, STRANGE = "127.0.0.1", frames.ether(b"\x45" + bytes(10)), frames.ether(bytes(30), kind=0x88B5)


def segment(source: str = w.CLIENT, vip: str = w.WEB, port: int = 80) -> bytes:
    return frames.ether(frames.packet(vip, frames.scapy().TCP(sport=40000, dport=port, flags="A"), client=source))


def event(verdict: Verdict, reason: Reason = Reason.NONE) -> Event:
    return Event(1, 2, verdict, reason, 60, bytes(60))


def outcomes(wanted: Wanted) -> int:
    return int(abi.TRACE_CONTROL_FORMAT.unpack(wanted.control(5))[1])


def test_the_control_says_until_when_what_how_often_and_how_much() -> None:
    wanted = Wanted(frozenset({Reason.MARTIAN, Reason.NEIGH}), frozenset(), every=7, snap=96)
    until, bits, every, snap = abi.TRACE_CONTROL_FORMAT.unpack(wanted.control(123))
    assert (until, every, snap) == (123, 7, 96)
    assert bits == 1 << Reason.MARTIAN | 1 << Reason.NEIGH
    assert (lease_end(wanted.control(123)), lease_end(NOBODY)) == (123, 0)


@pytest.mark.parametrize(
    ("verdict", "bits"),
    [
        (Verdict.PASS, {63}),
        (Verdict.REDIRECT, {0}),
        (Verdict.TX, {0, Reason.TOOBIG.value}),
        (Verdict.DROP, {reason.value for reason in Reason} - {0}),
    ],
)
def test_a_verdict_is_asked_for_by_the_outcomes_that_it_comes_of(verdict: Verdict, bits: set[int]) -> None:
    assert outcomes(Wanted(verdicts=frozenset({verdict}))) == sum(1 << bit for bit in bits)


def test_everything_is_asked_for_where_nothing_is_chosen() -> None:
    assert outcomes(Wanted()) == 2**64 - 1


def test_what_the_program_does_not_tell_apart_is_told_apart_here() -> None:
    redirected = Wanted(verdicts=frozenset({Verdict.REDIRECT}))
    assert redirected.matches(event(Verdict.REDIRECT))
    assert not redirected.matches(event(Verdict.TX))
    either = Wanted(frozenset({Reason.TTL}), frozenset({Verdict.PASS}))
    met = [event(Verdict.DROP, Reason.TTL), event(Verdict.PASS), event(Verdict.DROP, Reason.FRAG)]
    assert [either.matches(each) for each in met] == [True, True, False]
    assert Wanted().matches(event(Verdict.DROP, Reason.FRAG))


@pytest.mark.parametrize(("name", "value"), [("snap", 0), ("snap", 2049), ("every", 0), ("every", 1 << 32)])
def test_a_sample_that_cannot_be_taken_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} {value}: expected 1"):
        Wanted(**{name: value})  # type: ignore[arg-type]


def test_a_record_is_read_without_what_lies_behind_its_bytes() -> None:
    raw = abi.TRACE_EVENT_FORMAT.pack(9, 3, Verdict.DROP, Reason.TTL, 1500, 4) + b"abcdefgh"
    assert decode(raw) == Event(9, 3, Verdict.DROP, Reason.TTL, 1500, b"abcd")


@pytest.mark.parametrize("raw", [b"short", abi.TRACE_EVENT_FORMAT.pack(9, 3, 1, 63, 60, 0)])
def test_what_is_no_record_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="a traced packet of"):
        decode(raw)


@pytest.fixture(scope="module")
def pins() -> Iterator[Path]:
    need_programs()
    with kernel.bpffs() as mounted:
        yield mounted


@pytest.fixture(scope="module")
def loaded(pins: Path) -> Iterator[LoadedForwarder]:
    with LoadedForwarder(w.STATE, w.INTERFACES) as held:
        held.pin(pins / "fairhop")
        yield held
    unload(pins / "fairhop")


def traced(pins: Path, wanted: Wanted, act: Callable[[], object]) -> list[Event]:
    """What is shown of what `act` sends."""
    with Tracer(pins / "fairhop") as tracer:
        tracer.start(wanted)
        act()
        return list(tracer.poll(0.2))


@pytest.mark.kernel
def test_packets_are_shown_as_they_leave_with_verdict_and_reason(loaded: LoadedForwarder, pins: Path) -> None:
    sent = list[bytes]()

    def act() -> None:
        for frame in (segment(), segment(MARTIAN), STRANGE, LOST, segment(vip=w.FAR)):
            sent.append(loaded.run(frame).frame)

    before = time.monotonic_ns()
    found = traced(pins, Wanted(), act)
    assert [(e.verdict, e.reason) for e in found] == [
        (Verdict.TX, Reason.NONE),
        (Verdict.DROP, Reason.MARTIAN),
        (Verdict.PASS, Reason.NONE),
        (Verdict.DROP, Reason.TRUNC),
        (Verdict.REDIRECT, Reason.NONE),
    ]
    assert [e.frame for e in found] == sent
    assert [e.length for e in found] == list(map(len, sent))
    assert all(before < e.time < time.monotonic_ns() for e in found)
    assert {e.ifindex for e in found} == {w.LOOPBACK}
    assert len(found[0].frame) == len(segment()) + 24


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(frozenset({Reason.MARTIAN})), [Reason.MARTIAN]),
        (Wanted(verdicts=frozenset({Verdict.DROP})), [Reason.MARTIAN, Reason.NO_SERVICE]),
        (Wanted(verdicts=frozenset({Verdict.PASS})), [Reason.NONE]),
        (Wanted(frozenset({Reason.NO_SERVICE}), frozenset({Verdict.TX})), [Reason.NONE, Reason.NO_SERVICE]),
        (Wanted(verdicts=frozenset({Verdict.REDIRECT})), []),
    ],
)
def test_only_what_was_asked_for_is_shown(
    loaded: LoadedForwarder, pins: Path, wanted: Wanted, expected: list[Reason]
) -> None:
    frames_sent = (segment(), segment(MARTIAN), STRANGE, segment(port=81))
    assert [e.reason for e in traced(pins, wanted, lambda: [loaded.run(frame) for frame in frames_sent])] == expected


@pytest.mark.kernel
def test_one_packet_in_so_many_and_so_much_of_it(loaded: LoadedForwarder, pins: Path) -> None:
    found = traced(pins, Wanted(every=10, snap=20), lambda: [loaded.run(segment()) for _ in range(100)])
    assert 8 <= len(found) <= 12, "one in ten of each CPU"
    assert {(len(e.frame), e.length) for e in found} == {(20, len(segment()) + 24)}


@pytest.mark.kernel
def test_nothing_is_shown_before_and_after_and_nothing_of_an_earlier_one(loaded: LoadedForwarder, pins: Path) -> None:
    loaded.run(segment())
    with Tracer(pins / "fairhop") as first:
        first.start(Wanted())
        loaded.run(segment(MARTIAN))
    loaded.run(segment(port=81))
    assert [e.verdict for e in traced(pins, Wanted(), lambda: loaded.run(segment()))] == [Verdict.TX]
    assert control(pins) == NOBODY


@pytest.mark.kernel
def test_more_packets_than_the_ring_holds_lose_some_and_block_nobody(loaded: LoadedForwarder, pins: Path) -> None:
    found = traced(pins, Wanted(), lambda: [loaded.run(segment()) for _ in range(1000)])
    assert 300 < len(found) < 1000
    assert {e.verdict for e in found} == {Verdict.TX}


@pytest.mark.kernel
def test_a_capture_that_dies_is_forgotten_when_its_lease_ends(
    loaded: LoadedForwarder, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_LEASE", 200_000_000)
    with Tracer(pins / "fairhop") as dead:
        dead.start(Wanted())
        time.sleep(0.25)
        loaded.run(segment())
        assert list(dead.poll(0)) == []
        assert [e.verdict for e in traced(pins, Wanted(), lambda: loaded.run(segment()))] == [Verdict.TX]


@pytest.mark.kernel
def test_a_lease_is_renewed_for_as_long_as_somebody_reads(
    loaded: LoadedForwarder, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_LEASE", 300_000_000)
    monkeypatch.setattr(tracing, "_RENEW", 50_000_000)
    with Tracer(pins / "fairhop") as tracer:
        tracer.start(Wanted())
        for _ in range(8):
            assert list(tracer.poll(0.1)) == []
        loaded.run(segment())
        assert [e.verdict for e in tracer.poll(0.1)] == [Verdict.TX]


@pytest.mark.kernel
def test_a_second_one_is_refused_in_words_and_the_first_goes_on(loaded: LoadedForwarder, pins: Path) -> None:
    with Tracer(pins / "fairhop") as first:
        first.start(Wanted())
        with Tracer(pins / "fairhop") as second, pytest.raises(BusyError, match=r"another capture of .* is running"):
            second.start(Wanted())
        loaded.run(segment())
        assert len(list(first.poll(0.2))) == 1


@pytest.mark.kernel
@pytest.mark.parametrize("told", [True, False], ids=["the earlier finds out", "the earlier ends before it finds out"])
def test_of_two_that_begin_at_once_the_later_goes_on(
    loaded: LoadedForwarder, pins: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    monkeypatch.setattr(tracing, "_RENEW", 0)
    with Tracer(pins / "fairhop") as later:
        with Tracer(pins / "fairhop") as earlier:
            monkeypatch.setattr(tracing, "lease_end", lambda _: 0)
            earlier.start(Wanted())
            later.start(Wanted(every=2))
            if told:
                with pytest.raises(BusyError, match="began at the same time and goes on"):
                    list(earlier.poll(0))
        assert lease_end(control(pins)) > time.monotonic_ns()
        list(later.poll(0))


@pytest.mark.kernel
def test_a_flood_is_read_in_parts_so_that_the_lease_can_be_renewed_between_them(
    loaded: LoadedForwarder, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_BATCH", 10)
    with Tracer(pins / "fairhop") as tracer:
        tracer.start(Wanted())
        for _ in range(25):
            loaded.run(segment())
        assert [len(list(tracer.poll(0.1))) for _ in range(4)] == [10, 10, 5, 0]


@pytest.mark.kernel
def test_it_goes_over_to_the_maps_that_take_the_place_of_the_former(
    loaded: LoadedForwarder, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_RENEW", 0)
    with LoadedForwarder(w.STATE, w.INTERFACES) as later:
        loaded.pin(pins / "other")
        with Tracer(pins / "other") as tracer:
            tracer.start(Wanted())
            later.pin(pins / "other")
            list(tracer.poll(0))
            later.run(segment())
            assert [e.verdict for e in tracer.poll(0.2)] == [Verdict.TX]
    unload(pins / "other")


@pytest.mark.kernel
def test_where_nothing_is_pinned_that_is_said(pins: Path) -> None:
    with pytest.raises(BpfError, match=r"no forwarder is pinned here. Is `fairhop run` up"):
        Tracer(pins / "nothing").__enter__()


def control(pins: Path) -> bytes:
    with BpfMap.open_pinned(map_path(pins / "fairhop", abi.TRACE_CONTROL)) as pinned_control:
        return pinned_control.lookup(bytes(4))
