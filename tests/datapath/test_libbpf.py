"""The BPF layer against the running kernel: open, constants, sizes, maps, test runs, links."""

import errno
import os
import struct
from pathlib import Path

import pytest

from edge.datapath import bpffs, xdp
from edge.datapath.abi import Verdict
from edge.datapath.bpf_error import BpfError, Step, missing_capabilities
from edge.datapath.bpf_map import BpfMap, MapSpec, MapType, possible_cpus
from edge.datapath.bpf_object import BpfObject, summarise_log
from edge.datapath.xdp import Link, Mode
from tests.datapath import kernel
from tests.datapath.conftest import Pair

pytestmark = pytest.mark.kernel
ZERO = struct.pack("=I", 0)
FRAME = bytes.fromhex("02000000005a 020000000001 88b5".replace(" ", "")) + bytes(50)


def told(frame: bytes) -> tuple[int, int]:
    tell, ingress = struct.unpack_from("=II", frame, 14)
    return tell, ingress


def open_fds() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_constants_set_before_load_are_seen_by_the_program(tiny_object: Path) -> None:
    with BpfObject(tiny_object) as opened:
        opened.set_rodata({"marker": struct.pack("=I", 1000), "first_slot": struct.pack("=H", 23)})
        opened.load("tiny")
        with opened.program("tiny") as program:
            verdict, frame = program.test_run(FRAME)
    assert verdict == Verdict.TX
    assert told(frame)[0] == 1023
    assert len(frame) == len(FRAME)


def test_a_constant_of_another_size_or_name_is_refused_with_the_names_there_are(tiny_object: Path) -> None:
    with BpfObject(tiny_object) as opened:
        with pytest.raises(BpfError, match=r"marker has 4 bytes there, 2 given; constants: first_slot, marker"):
            opened.set_rodata({"marker": b"\0\0"})
        with pytest.raises(BpfError, match="nobody has 0 bytes there"):
            opened.set_rodata({"nobody": b"\0"})


def test_the_ingress_interface_of_a_test_run_is_what_the_program_sees(tiny_object: Path) -> None:
    with BpfObject(tiny_object) as opened:
        opened.load("tiny")
        with opened.program("tiny") as program:
            _, frame = program.test_run(FRAME, xdp.interface_index("lo"))
    assert told(frame)[1] == xdp.interface_index("lo") == 1


def test_a_frame_too_short_for_ethernet_is_refused_by_the_test_run(tiny_object: Path) -> None:
    with BpfObject(tiny_object) as opened:
        opened.load("tiny")
        with opened.program("tiny") as program, pytest.raises(BpfError, match="frame of 13 bytes") as caught:
            program.test_run(FRAME[:13])
    assert caught.value.errno == errno.EINVAL


def test_maps_take_and_give_bytes_of_their_own_size_only(tiny_object: Path) -> None:
    with BpfObject(tiny_object) as opened:
        opened.set_max_entries("config", 9)
        opened.load("tiny")
        with opened.map("config") as config:
            assert config.spec == MapSpec(MapType.ARRAY, 4, 4, 9)
            assert config.name == "config"
            last = struct.pack("=I", 8)
            config.update(last, b"abcd")
            assert config.lookup(last) == b"abcd"
            with pytest.raises(BpfError, match="write map config at 09000000"):
                config.update(struct.pack("=I", 9), b"abcd")
            with pytest.raises(ValueError, match="value has 3 bytes, expected 4"):
                config.update(ZERO, b"abc")
            with pytest.raises(ValueError, match="key has 2 bytes, expected 4"):
                config.lookup(b"ab")


def test_per_cpu_counters_give_one_value_for_each_possible_cpu(
    tiny_object: Path, request: pytest.FixtureRequest
) -> None:
    online = sorted(os.sched_getaffinity(0))
    request.addfinalizer(lambda: os.sched_setaffinity(0, online))
    with BpfObject(tiny_object) as opened:
        opened.load("tiny")
        with opened.map("counters") as counters, opened.program("tiny") as program:
            for cpu in online:
                os.sched_setaffinity(0, {cpu})
                for _ in range(cpu + 1):
                    program.test_run(FRAME)
            values = counters.lookup_percpu(ZERO)
    assert len(values) == possible_cpus()
    assert [int.from_bytes(values[cpu], "little") for cpu in online] == [cpu + 1 for cpu in online]


def test_an_inner_map_like_the_template_is_swapped_in_whole(tiny_object: Path) -> None:
    with BpfObject(tiny_object) as opened:
        opened.set_inner_value_size("tables", 4096)
        template = opened.inner_spec("tables")
        assert template == MapSpec(MapType.ARRAY, 4, 4096, 1)
        opened.load("tiny")
        with opened.map("tables") as tables, opened.program("tiny") as program:
            for generation in (3, 4):
                with BpfMap.create(template, f"table{generation}") as table:
                    table.update(ZERO, struct.pack("=H", generation) + bytes(4094))
                    tables.put_map(ZERO, table)
                assert told(program.test_run(FRAME)[1])[0] == generation
            tables.delete(ZERO)
            assert told(program.test_run(FRAME)[1])[0] == 8


def test_an_inner_map_unlike_the_template_is_refused(tiny_object: Path) -> None:
    with BpfObject(tiny_object) as opened:
        opened.load("tiny")
        wrong = MapSpec(MapType.ARRAY, 4, 16, 1)
        with (
            opened.map("tables") as tables,
            BpfMap.create(wrong, "wrong") as table,
            pytest.raises(BpfError, match="must match the template"),
        ):
            tables.put_map(ZERO, table)


def test_a_second_load_shares_maps_with_the_first_and_refuses_others(tiny_object: Path) -> None:
    with BpfObject(tiny_object) as first, BpfObject(tiny_object) as second:
        first.load("tiny")
        with first.map("config") as config, first.map("counters") as counters:
            config.update(ZERO, struct.pack("=I", 77))
            with pytest.raises(BpfError, match=r"type=6.*expected MapSpec.type=2"):
                second.reuse("config", counters)
            second.reuse("config", config)
            second.load("tiny")
        with second.program("tiny") as program:
            assert told(program.test_run(FRAME)[1])[0] == 77


def test_what_the_verifier_refuses_is_told_by_the_end_of_its_log(tmp_path: Path) -> None:
    refused = kernel.compile_c(kernel.REFUSED_C, tmp_path)
    with BpfObject(refused) as opened, pytest.raises(BpfError) as caught:
        opened.load("tiny")
    assert caught.value.step is Step.LOAD
    assert "the verifier says: R1 offset is outside of the packet" in str(caught.value)
    assert "return at[30];" in str(caught.value)
    assert "processed" not in str(caught.value)


def test_a_log_is_cut_to_its_complaint() -> None:
    lines = [f"{n}: (b7) r0 = 0" for n in range(20)]
    log = "\n".join(["; first();", *lines[:3], "; second();", *lines[3:], "R1 invalid", "processed 20 insns (limit 1)"])
    assert summarise_log(log).startswith("the verifier says: R1 invalid | log ends: ; second(); | 15:")
    assert summarise_log("") == ""


def test_a_missing_object_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match=r"No such file.*Build it first"):
        BpfObject(tmp_path / "none.bpf.o")


def test_no_descriptor_is_left_behind(tiny_object: Path) -> None:
    before = open_fds()
    for _ in range(3):
        with BpfObject(tiny_object) as opened:
            opened.load("tiny")
            with opened.map("config") as config, opened.program("tiny") as program:
                assert open_fds() > before
                program.test_run(FRAME)
            config.close()
    assert open_fds() == before
    with pytest.raises(ValueError, match="closed"):
        config.fileno()


def test_missing_capabilities_are_named() -> None:
    assert missing_capabilities(0) == ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]
    assert missing_capabilities(1 << 21) == ["CAP_NET_ADMIN"]
    assert missing_capabilities(1 << 12 | 1 << 38 | 1 << 39) == []


@pytest.mark.parametrize("mode", list(Mode))
def test_a_link_attaches_is_pinned_adopted_and_updated_in_place(
    mode: Mode, tiny_object: Path, pair: Pair, pins: Path
) -> None:
    with BpfObject(tiny_object) as opened, pair.edge.inside():
        opened.load("tiny")
        with opened.program("tiny") as program, opened.program("pass_all") as other:
            with Link.create(program, "e0", mode) as link:
                assert xdp.query("e0") == xdp.Attached(mode, program.id)
                assert link.ifindex == xdp.interface_index("e0")
                bpffs.pin(link, pins / "link")
            assert xdp.query("e0").mode is mode
            with Link.open_pinned(pins / "link") as adopted:
                adopted.update(other)
                assert adopted.program_id == other.id != program.id
                assert xdp.query("e0") == xdp.Attached(mode, other.id)
                adopted.detach()
                assert xdp.query("e0") == xdp.Attached(None, 0)
                adopted.detach()
            bpffs.unpin(pins / "link")


def test_an_interface_that_carries_another_program_is_refused_naming_it(tiny_object: Path, pair: Pair) -> None:
    with BpfObject(tiny_object) as opened, pair.router.inside():
        opened.load("tiny")
        with opened.program("tiny") as program, pytest.raises(BpfError) as caught:
            Link.create(program, "r0", Mode.NATIVE)
        assert caught.value.errno == errno.EBUSY
        assert "carries program id" in str(caught.value)
        assert "(pass_all) in native mode" in str(caught.value)
        assert "`ip link set dev IFACE xdp off`" in str(caught.value)
        before = xdp.query("r0")
        for mode in Mode:
            with opened.program("tiny") as program, pytest.raises(BpfError, match=r"BUSY|EXIST"):
                xdp.attach(program, "r0", mode)
        assert xdp.query("r0") == before


def test_a_link_cannot_be_removed_by_netlink(tiny_object: Path, pair: Pair) -> None:
    with BpfObject(tiny_object) as opened, pair.edge.inside():
        opened.load("tiny")
        with opened.program("tiny") as program, Link.create(program, "e0", Mode.NATIVE):
            with pytest.raises(BpfError) as caught:
                xdp.detach("e0")
            assert caught.value.errno == errno.EBUSY
            assert xdp.query("e0").mode is Mode.NATIVE


def test_an_mtu_too_large_for_native_names_the_limit(tiny_object: Path, pair: Pair) -> None:
    pair.router.ip("link", "set", "r0", "xdp", "off")
    pair.router.ip("link", "set", "r0", "mtu", "9500")
    with BpfObject(tiny_object) as opened, pair.edge.inside():
        opened.load("tiny")
        with opened.program("tiny") as program, pytest.raises(BpfError) as caught:
            Link.create(program, "e0", Mode.NATIVE)
    assert caught.value.errno == errno.ERANGE
    assert "MTU" in str(caught.value)
    assert "3506" in str(caught.value)


def test_an_unknown_interface_is_refused_with_those_there_are(pair: Pair) -> None:
    with pair.edge.inside(), pytest.raises(BpfError, match=r"find interface e9: .*known here: lo, e0"):
        xdp.interface_index("e9")


def test_pins_outside_a_bpffs_name_the_mount_command(tmp_path: Path, pins: Path) -> None:
    with pytest.raises(BpfError, match=f"not on a BPF file system.*mount -t bpf bpf {tmp_path}"):
        bpffs.make_directory(tmp_path / "fairhop")
    bpffs.make_directory(pins / "fairhop" / "deep")
    assert (pins / "fairhop" / "deep").is_dir()


def test_one_process_only_drives_a_pin_directory(pins: Path) -> None:
    with bpffs.DirectoryLock(pins), pytest.raises(BpfError, match="another process drives it"):
        bpffs.DirectoryLock(pins)
    with bpffs.DirectoryLock(pins):
        pass
