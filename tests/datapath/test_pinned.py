"""The life of a pinned program under traffic: attach, outlive its process, adopt, replace in place, detach."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.datapath import xdp
from edge.datapath.bpf_error import BpfError
from edge.datapath.bpf_object import BpfObject
from edge.datapath.pinned import AUTO, Blueprint, PinnedProgram, remove_pins
from edge.datapath.xdp import Link, Mode
from tests.datapath import kernel
from tests.datapath.conftest import Pair
from tests.datapath.kernel import Stream
from tests.datapath.owner import MAPS, blueprint, configure

pytestmark = pytest.mark.kernel
HEAD = bytes.fromhex("02000000005a02000000000188b5") + bytes(46)
NUMBER_AT = 22


@contextmanager
def stream(pair: Pair, gap: float = 0.0005) -> Iterator[Stream]:
    with kernel.packet_socket(pair.router, "r0") as raw, Stream(raw, HEAD, NUMBER_AT, gap) as running:
        yield running


def answer(pair: Pair) -> int | None:
    """Send one frame to the edge and return the value it answers with, None when nothing comes back."""
    with kernel.packet_socket(pair.router, "r0") as raw:
        raw.settimeout(0.3)
        raw.send(HEAD)
        try:
            while True:
                frame, address = raw.recvfrom(2048)
                if frame[5] == 0x5A and address[2] != 4:
                    return int.from_bytes(frame[14:18], "little")
        except TimeoutError:
            return None


@contextmanager
def owner(pair: Pair, pin_dir: Path, tiny_object: Path, value: int) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "tests.datapath.owner", "tiny", str(pin_dir), str(tiny_object), str(value)]
    with pair.edge.inside(), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def seen(pinned: PinnedProgram) -> int:
    values = pinned.live.maps["counters"].lookup_percpu(bytes(4))
    return sum(int.from_bytes(value, "little") for value in values)


def test_a_fresh_start_attaches_natively_and_detach_leaves_nothing(pair: Pair, pins: Path, tiny_object: Path) -> None:
    with pair.edge.inside():
        with PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
            (found,) = pinned.attachments
            assert (found.interface, found.mode, found.adopted, found.remark) == ("e0", Mode.NATIVE, False, "")
            assert not pinned.staged
            configure(pinned, 41)
            assert answer(pair) == 41
            pinned.detach()
        assert xdp.query("e0").mode is None
    assert not (pins / "fh").exists()
    assert answer(pair) is None


def test_close_leaves_it_forwarding_and_remove_pins_takes_it_away(pair: Pair, pins: Path, tiny_object: Path) -> None:
    with pair.edge.inside():
        with PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
            configure(pinned, 42)
        assert answer(pair) == 42
        remove_pins(pins / "fh")
        assert xdp.query("e0").mode is None
        remove_pins(pins / "fh")
    assert answer(pair) is None


def test_kill_9_of_the_owner_and_its_successor_lose_no_packet(pair: Pair, pins: Path, tiny_object: Path) -> None:
    with owner(pair, pins / "fh", tiny_object, 1) as first, stream(pair) as flow:
        flow.more(300)
        first.kill()
        first.wait()
        flow.more(300)
        assert answer(pair) == 1
        with owner(pair, pins / "fh", tiny_object, 2) as second:
            flow.more(300)
            assert answer(pair) == 2
            second.kill()
            second.wait()
        flow.more(200)
    assert flow.sent > 1000
    assert flow.lost == 0


def test_the_former_tables_serve_until_the_successor_has_filled_its_own(
    pair: Pair, pins: Path, tiny_object: Path
) -> None:
    with pair.edge.inside():
        with PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
            configure(pinned, 10)
            assert answer(pair) == 10
            before = seen(pinned)
        with PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
            assert pinned.staged
            assert [(a.mode, a.adopted) for a in pinned.attachments] == [(Mode.NATIVE, True)]
            configure(pinned, 11)
            assert answer(pair) == 10
            pinned.commit()
            assert answer(pair) == 11
            assert seen(pinned) == before + 2, "counters go on over the restart"
            assert not pinned.staged


def test_counters_of_another_shape_start_anew(pair: Pair, pins: Path, tiny_object: Path) -> None:
    def more(opened: BpfObject) -> None:
        opened.set_max_entries("counters", 5)

    with pair.edge.inside():
        with PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
            answer(pair)
            assert seen(pinned) == 1
        grown = Blueprint(tiny_object, "tiny", MAPS, kept=frozenset({"counters"}), configure=more)
        with PinnedProgram(pins / "fh", ["e0"], AUTO, grown) as pinned:
            pinned.commit()
            answer(pair)
            assert seen(pinned) == 1
        with PinnedProgram(pins / "fh", ["e0"], AUTO, grown) as pinned:
            assert seen(pinned) == 1


def test_replacing_the_program_under_traffic_loses_no_packet(pair: Pair, pins: Path, tiny_object: Path) -> None:
    with pair.edge.inside():
        PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)).close()
        with stream(pair, gap=0.0001) as flow:
            for generation in range(20):
                with PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
                    configure(pinned, 100 + generation)
                    pinned.commit()
                    assert answer(pair) == 100 + generation
                    flow.more(60)
    assert flow.sent > 1000
    assert flow.lost == 0


def test_a_trial_run_reads_the_live_tables_and_moves_no_live_counter(pair: Pair, pins: Path, tiny_object: Path) -> None:
    with pair.edge.inside(), PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
        configure(pinned, 55)
        trial = pinned.trial()
        _, frame = trial.program.test_run(HEAD)
        assert int.from_bytes(frame[14:18], "little") == 55
        assert seen(pinned) == 0
        assert sum(map(sum, trial.maps["counters"].lookup_percpu(bytes(4)))) == 1
        assert pinned.trial() is trial


def test_auto_falls_back_to_generic_and_says_why(pair: Pair, pins: Path, tiny_object: Path) -> None:
    pair.router.ip("link", "set", "r0", "xdp", "off")
    pair.router.ip("link", "set", "r0", "mtu", "9500")
    with pair.edge.inside():
        with pytest.raises(BpfError, match="MTU"):
            PinnedProgram(pins / "fh", ["e0"], Mode.NATIVE, blueprint(tiny_object))
        assert not (pins / "fh").exists(), "a failed start leaves no pin"
        with PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
            (found,) = pinned.attachments
            assert found.mode is Mode.GENERIC
            assert "in native mode" in found.remark
            assert "MTU" in found.remark
            configure(pinned, 3)
            assert answer(pair) == 3


def test_a_foreign_program_is_never_replaced(pair: Pair, pins: Path, tiny_object: Path) -> None:
    with pair.router.inside():
        before = xdp.query("r0")
        with pytest.raises(BpfError) as caught:
            PinnedProgram(pins / "fh", ["r0"], AUTO, blueprint(tiny_object))
        assert caught.value.errno == errno.EBUSY
        assert xdp.query("r0") == before
    assert not (pins / "fh").exists()


def test_a_start_that_fails_on_the_second_interface_lets_go_of_the_first(
    pair: Pair, pins: Path, tiny_object: Path
) -> None:
    with pair.edge.inside():
        with pytest.raises(BpfError, match="find interface e9"):
            PinnedProgram(pins / "fh", ["e0", "e9"], AUTO, blueprint(tiny_object))
        assert xdp.query("e0").mode is None
    assert not (pins / "fh").exists()


def test_another_mode_than_the_adopted_one_is_refused_and_nothing_changes(
    pair: Pair, pins: Path, tiny_object: Path
) -> None:
    with pair.edge.inside():
        with PinnedProgram(pins / "fh", ["e0"], Mode.GENERIC, blueprint(tiny_object)) as pinned:
            configure(pinned, 8)
        with pytest.raises(BpfError, match=r"attached in generic mode by an earlier process, expected native.*drain"):
            PinnedProgram(pins / "fh", ["e0"], Mode.NATIVE, blueprint(tiny_object))
        assert answer(pair) == 8


def test_an_interface_taken_off_the_list_is_let_go(pair: Pair, pins: Path, tiny_object: Path) -> None:
    kernel.veth(pair.edge, "e1.7", pair.router, "r1")
    with pair.edge.inside():
        with PinnedProgram(pins / "fh", ["e0", "e1.7"], AUTO, blueprint(tiny_object)) as pinned:
            assert [a.mode for a in pinned.attachments] == [Mode.NATIVE, Mode.NATIVE]
        with PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
            assert xdp.query("e1.7").mode is Mode.NATIVE
            pinned.commit()
            assert xdp.query("e1.7").mode is None
            assert xdp.query("e0").mode is Mode.NATIVE


def test_an_interface_deleted_and_made_anew_is_attached_again(pair: Pair, pins: Path, tiny_object: Path) -> None:
    with pair.edge.inside(), PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object)) as pinned:
        held = pinned.attachments
        assert pinned.reattach()[0].ifindex == held[0].ifindex
        pair.edge.ip("link", "delete", "e0")
        (gone,) = pinned.reattach()
        assert (gone.mode, gone.ifindex) == (None, 0)
        assert "find interface e0" in gone.remark
        kernel.veth(pair.edge, "e0", pair.router, "r0")
        (again,) = pinned.reattach()
        assert again.mode is Mode.NATIVE
        assert again.ifindex != held[0].ifindex
        assert xdp.query("e0").mode is Mode.NATIVE


def test_a_second_process_is_refused_while_the_first_lives(pair: Pair, pins: Path, tiny_object: Path) -> None:
    with (
        owner(pair, pins / "fh", tiny_object, 1),
        pair.edge.inside(),
        pytest.raises(BpfError, match="another process drives it"),
    ):
        PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object))


def test_a_link_made_by_hand_outside_the_pins_is_foreign(pair: Pair, pins: Path, tiny_object: Path) -> None:
    with BpfObject(tiny_object) as opened, pair.edge.inside():
        opened.load("tiny")
        with (
            opened.program("tiny") as program,
            Link.create(program, "e0", Mode.NATIVE),
            pytest.raises(BpfError, match=r"carries program id \d+ \(tiny\)"),
        ):
            PinnedProgram(pins / "fh", ["e0"], AUTO, blueprint(tiny_object))


def test_an_unknown_mode_is_refused(pins: Path, tiny_object: Path) -> None:
    with pytest.raises(ValueError, match="expected one of auto, native, generic"):
        PinnedProgram(pins / "fh", ["e0"], "fast", blueprint(tiny_object))
