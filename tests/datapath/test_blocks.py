"""The block list in the kernel: what it drops, what it counts, how it is swapped, and what a million prefixes take."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from edge.datapath import abi
from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.blocklist import BlockList, parse
from edge.datapath.blocks import Blocks
from edge.datapath.bpf_error import BpfError
from edge.datapath.bpf_map import BpfMap
from edge.datapath.model import Protection
from tests.datapath import frames
from tests.datapath import world as w
from tests.datapath.rig import Rig, need_programs

pytestmark = pytest.mark.kernel
LINES = ["198.51.0.0/16", "198.51.100.0/24", "198.51.100.7", "2001:db8:c::/48"]  # 0 to 3


@pytest.fixture
def rig() -> Iterator[Rig]:
    need_programs()
    made = Rig.forwarder(w.TABLE_SIZE, block_entries=len(LINES))
    made.install(dataclasses.replace(w.STATE, protection=Protection(blocking=True)), w.INTERFACES)
    yield made
    made.close()


@pytest.fixture
def blocks(rig: Rig) -> Blocks:
    return Blocks(rig.maps, rig.inner)


def segment(source: str) -> bytes:
    six = ip_address(source).version == 6
    ip = frames.scapy6().IPv6 if six else frames.scapy().IP
    packet = ip(src=source, dst=w.WEB6 if six else w.WEB) / frames.scapy().TCP(sport=40000, dport=80, flags="A")
    return w.OWN_MAC + w.ROUTER_MAC + (b"\x86\xdd" if six else b"\x08\0") + bytes(packet)


def test_a_source_is_dropped_by_its_longest_prefix_and_counted_there(rig: Rig, blocks: Blocks) -> None:
    assert blocks.install(parse(LINES, "list"))
    for source, index in (
        ("198.51.1.1", 0),
        ("198.51.100.8", 1),
        ("198.51.100.7", 2),
        ("2001:db8:c::7", 3),
    ):
        before = blocks.hits()
        result = rig.run(segment(source))
        assert (result.verdict, result.reason) == (Verdict.DROP, Reason.BLOCKED)
        assert blocks.hits() == before | {index: 1}
    for source in ("198.52.0.1", "2001:db8:d::7"):
        assert rig.run(segment(source)).verdict is Verdict.TX
    assert sum(blocks.hits().values()) == 4


def test_a_dry_run_counts_and_lets_everything_through(rig: Rig, blocks: Blocks) -> None:
    blocks.install(parse(LINES, "list", dry_run=True))
    result = rig.run(segment("198.51.100.7"))
    assert (result.verdict, result.notes) == (Verdict.TX, frozenset({Note.BLOCK_DRY_RUN}))
    assert blocks.hits() == {2: 1}


def test_a_list_takes_the_place_of_another_and_its_hits_begin_at_0(rig: Rig, blocks: Blocks) -> None:
    blocks.install(parse(LINES, "list"))
    rig.run(segment("198.51.100.7"))
    assert blocks.install(parse(["192.0.2.0/24", "198.51.100.7"], "list"))
    assert blocks.hits() == {}
    assert rig.run(segment("198.51.1.1")).verdict is Verdict.TX
    assert rig.run(segment("2001:db8:c::7")).verdict is Verdict.TX
    assert rig.run(segment("198.51.100.7")).reason is Reason.BLOCKED
    assert blocks.hits() == {1: 1}


def test_none_removes_it_and_none_again_is_no_change(rig: Rig, blocks: Blocks) -> None:
    assert not blocks.install(None)
    blocks.install(parse(LINES, "list"))
    assert blocks.install(None)
    assert rig.run(segment("198.51.100.7")).verdict is Verdict.TX
    assert not blocks.install(None)


def test_the_list_that_is_in_force_is_not_built_again_and_keeps_its_hits(
    rig: Rig, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks.install(parse(LINES, "list"))
    rig.run(segment("198.51.100.7"))
    monkeypatch.setattr(BpfMap, "create", None)
    assert not blocks.install(parse(reversed(LINES), "another file"))
    assert blocks.hits() == {2: 1}


def test_a_list_that_cannot_be_filled_leaves_the_former_in_force(
    rig: Rig, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks.install(parse(LINES, "list"))
    original = BpfMap.update_all

    def refuse(self: BpfMap, keys: bytes, values: bytes) -> None:
        if self.name == abi.BLOCKED6:
            raise RuntimeError("on purpose")
        original(self, keys, values)

    monkeypatch.setattr(BpfMap, "update_all", refuse)
    with pytest.raises(RuntimeError, match="on purpose"):
        blocks.install(parse(["192.0.2.0/24", "2001:db8::/32"], "list"))
    assert rig.run(segment("198.51.100.7")).reason is Reason.BLOCKED
    assert rig.run(segment("192.0.2.1")).verdict is Verdict.TX
    monkeypatch.undo()
    assert blocks.install(parse(["192.0.2.0/24", "2001:db8::/32"], "list"))
    assert rig.run(segment("192.0.2.1")).reason is Reason.BLOCKED


def test_after_a_swap_that_was_refused_half_way_the_former_list_is_installed_anew(
    rig: Rig, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = parse(LINES, "list")
    blocks.install(former)
    original = BpfMap.put_map

    def refuse(self: BpfMap, key: bytes, inner: BpfMap) -> None:
        if self.name == abi.BLOCKED6:
            raise RuntimeError("on purpose")
        original(self, key, inner)

    monkeypatch.setattr(BpfMap, "put_map", refuse)
    with pytest.raises(RuntimeError, match="on purpose"):
        blocks.install(parse(["192.0.2.0/24", "2001:db8::/32"], "list"))
    monkeypatch.undo()
    assert blocks.install(former)
    assert rig.run(segment("198.51.100.7")).reason is Reason.BLOCKED
    assert rig.run(segment("192.0.2.1")).verdict is Verdict.TX


def test_a_list_longer_than_its_counters_blocks_all_the_same(rig: Rig, blocks: Blocks) -> None:
    blocks.install(parse([*LINES, "2001:db8:d::/48"], "list"))
    assert rig.run(segment("2001:db8:d::7")).reason is Reason.BLOCKED
    assert blocks.hits() == {}


def test_a_state_that_does_not_ask_for_it_costs_the_list_nothing(rig: Rig, blocks: Blocks) -> None:
    blocks.install(parse(LINES, "list"))
    rig.install(w.STATE, w.INTERFACES)
    assert rig.run(segment("198.51.100.7")).verdict is Verdict.TX
    assert blocks.hits() == {}


def test_a_refusal_by_the_kernel_names_map_and_place(rig: Rig) -> None:
    spec = dataclasses.replace(rig.inner[abi.BLOCKED4], max_entries=1)
    with BpfMap.create(spec, abi.BLOCKED4) as trie, pytest.raises(BpfError, match="2 elements of map blocked4, from"):
        trie.update_all(parse(LINES[:2], "list").keys4, bytes(8))
    with BpfMap.create(spec, abi.BLOCKED4) as trie, pytest.raises(ValueError, match="run of values has 4 bytes"):
        trie.update_all(parse(LINES[:2], "list").keys4, bytes(4))


def million() -> BlockList:
    """A million prefixes of three lengths, a tenth of them IPv6."""
    numbers = range(900_000)
    four = (f"{1 + n // 65536}.{n // 256 % 256}.{n % 256}.{n % 2 * 128}/{24 + n % 2}" for n in numbers)
    six = (f"2001:db8:{n // 65536:x}:{n % 65536:x}::/64" for n in range(100_000))
    return parse([*four, *six], "list")


def test_a_million_prefixes_are_in_force_in_seconds_and_reading_their_hits_is_quick() -> None:
    need_programs()
    wanted = million()
    rig = Rig.forwarder(w.TABLE_SIZE, block_entries=1_000_000)
    try:
        rig.install(dataclasses.replace(w.STATE, protection=Protection(blocking=True)), w.INTERFACES)
        blocks = Blocks(rig.maps, rig.inner)
        began = time.monotonic()
        blocks.install(wanted)
        filled = time.monotonic() - began
        assert rig.run(segment("10.66.77.5")).verdict is Verdict.TX
        for source in ("10.66.77.200", "2001:db8:1:2::7"):
            assert rig.run(segment(source)).reason is Reason.BLOCKED
        began = time.monotonic()
        hits = blocks.hits()
        read = time.monotonic() - began
        began = time.monotonic()
        assert wanted.index(ip_address("10.66.77.200")) in hits
        assert wanted.index(ip_address("10.66.77.5")) is None
        assert time.monotonic() - began < 0.1, "the daemon asks on its event loop"
        print(f"{filled:.2f} s to install, {read:.2f} s to read the hits")
        assert {wanted.prefix(index).compressed: count for index, count in hits.items()} == {
            "10.66.77.128/25": 1,
            "2001:db8:1:2::/64": 1,
        }
        assert filled < 10
        assert read < 2
    finally:
        rig.close()


def test_a_source_in_both_lists_is_blocked_throughout_the_swap(rig: Rig, blocks: Blocks) -> None:
    lists = [parse(LINES, "list"), parse([*LINES, "192.0.2.0/24"], "list")]
    blocks.install(lists[0])
    stop, wrong = threading.Event(), list[object]()

    def watch() -> None:
        frame = segment("198.51.100.7")
        while not stop.is_set():
            if rig.run(frame).reason is not Reason.BLOCKED:
                wrong.append(blocks)

    thread = threading.Thread(target=watch)
    thread.start()
    for turn in range(1, 40):
        blocks.install(lists[turn % 2])
    stop.set()
    thread.join()
    assert wrong == []
