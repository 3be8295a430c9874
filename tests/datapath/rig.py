"""Runs frames through the compiled programs by BPF_PROG_TEST_RUN and tells what was counted. Sends nothing."""

import ctypes
import dataclasses
import os
import shutil
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest

from edge.datapath import abi, bpf, counting
from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.bpf import build
from edge.datapath.bpf_error import Step
from edge.datapath.bpf_map import BpfMap, MapSpec
from edge.datapath.bpf_object import BpfObject
from edge.datapath.encode import NO_LIMITS, encode, encode_decap
from edge.datapath.libbpf import TestRunOpts, call, options
from edge.datapath.model import DecapState, ForwarderState, Limits
from edge.datapath.tables import filled, write_directory

OBJECTS = Path(bpf.__file__).parent
POISON = 32  # bytes of 0xff in front of the frame: metadata, which the kernel leaves behind in the headroom
_ROOM = 512


@dataclass(frozen=True, slots=True)
class Result:
    """What one frame met: the XDP action, the frame afterwards, and everything that was counted."""

    verdict: Verdict
    frame: bytes
    reason: Reason
    notes: frozenset[Note]
    rx: int
    tx: int
    passed: int
    dropped: int


class Rig:
    """A loaded program with its maps, attached to nothing."""

    def __init__(self, name: str, maps: tuple[str, ...], table_size: int | None = None, block_entries: int = 1) -> None:
        with BpfObject(OBJECTS / f"{name}.bpf.o") as opened:
            if table_size is not None:
                constant = abi.RODATA_FORMATS[abi.RODATA_TABLE_SIZE].pack(table_size)
                opened.set_rodata({abi.RODATA_TABLE_SIZE: constant})
                opened.set_inner_value_size(abi.POOLS, table_size * abi.SLOT_SIZE)
                opened.set_max_entries(abi.BLOCK_HITS, block_entries)
            self.inner: dict[str, MapSpec] = {m: opened.inner_spec(m) for m in maps if m in abi.OUTER_MAPS}
            opened.load(name)
            self.maps: dict[str, BpfMap] = {m: opened.map(m) for m in maps}
            self.program = opened.program(name)

    @classmethod
    def forwarder(cls, table_size: int, block_entries: int = 1) -> "Rig":
        return cls(abi.FORWARD_PROGRAM, abi.FORWARD_MAPS, table_size, block_entries)

    @classmethod
    def decapsulator(cls) -> "Rig":
        return cls(abi.DECAP_PROGRAM, abi.DECAP_MAPS)

    def install(
        self, state: ForwarderState, interfaces: Mapping[int, bytes], limits: Limits = NO_LIMITS, bank: int = 0
    ) -> None:
        writes = encode(state, interfaces, bank=bank, limits=limits)
        for index, value in writes.pools.items():
            self.put_pool(index, value)
        write_directory(self.maps[abi.DIRECTORY], self.inner[abi.DIRECTORY], writes.directory)

    def install_decap(self, state: DecapState) -> None:
        write_directory(self.maps[abi.DIRECTORY], self.inner[abi.DIRECTORY], encode_decap(state))

    def block(self, blocked: Iterable[str], watched: Iterable[str]) -> None:
        """Install a block list: prefixes that are dropped, and prefixes that are only counted."""
        entries = [(ip_network(text), 0) for text in blocked] + [
            (ip_network(text), abi.BLOCK_DRY_RUN) for text in watched
        ]
        families = {4: (abi.BLOCKED4, abi.BLOCK_KEY4_FORMAT), 6: (abi.BLOCKED6, abi.BLOCK_KEY6_FORMAT)}
        for version, (name, layout) in families.items():
            with BpfMap.create(dataclasses.replace(self.inner[name], max_entries=len(entries)), name) as trie:
                for network, flag in entries:
                    if network.version == version:
                        key = layout.pack(network.prefixlen, network.network_address.packed)
                        trie.update(key, abi.BLOCK_VALUE_FORMAT.pack(flag))
                self.maps[name].put_map(struct.pack("=I", 0), trie)

    def put_pool(self, index: int, value: bytes) -> None:
        with filled(self.inner[abi.POOLS], f"pool{index}", value) as table:
            self.maps[abi.POOLS].put_map(struct.pack("=I", index), table)

    def remove_pool(self, index: int) -> None:
        self.maps[abi.POOLS].delete(struct.pack("=I", index))

    def totals(self) -> tuple[int, ...]:
        return counting.read_totals(self.maps[abi.TOTALS])

    def run(self, frame: bytes, poison: int = POISON) -> Result:
        """Run one frame with `poison` bytes of 0xff before it; the loopback is the ingress interface."""
        before = self.totals()
        verdict, after = run_frame(self.program.fileno(), frame, poison)
        counted = [new - old for new, old in zip(self.totals(), before, strict=True)]
        drops, notes = counted[3 : 3 + abi.DROP_COUNT], counted[3 + abi.DROP_COUNT :]
        return Result(
            Verdict(verdict),
            after,
            next((reason for reason in Reason if drops[reason]), Reason.NONE),
            frozenset(note for note in Note if notes[note]),
            counted[0],
            counted[1],
            counted[2],
            sum(drops),
        )

    def close(self) -> None:
        for handle in (self.program, *self.maps.values()):
            handle.close()


def run_frame(program: int, frame: bytes, poison: int) -> tuple[int, bytes]:
    """BPF_PROG_TEST_RUN with metadata in front of the frame; returns (XDP action, frame afterwards)."""
    given = b"\xff" * poison + frame
    data, out = ctypes.create_string_buffer(given, len(given)), ctypes.create_string_buffer(len(given) + _ROOM)
    context = ctypes.create_string_buffer(struct.pack("=6I", poison, len(given), 0, 0, 0, 0), 24)
    run = options(
        TestRunOpts,
        data_in=ctypes.addressof(data),
        data_size_in=len(given),
        data_out=ctypes.addressof(out),
        data_size_out=len(out),
        ctx_in=ctypes.addressof(context),
        ctx_size_in=24,
        repeat=1,
    )
    call(Step.RUN, f"run a frame of {len(frame)} bytes", "bpf_prog_test_run_opts", program, ctypes.byref(run))
    return run.retval, out.raw[poison : run.data_size_out]


def need_programs() -> None:
    """Skip, naming what is missing; compile what is not there yet."""
    if os.geteuid() != 0:
        pytest.skip("needs root (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON) to load BPF programs")
    if build.stale() and not any(map(shutil.which, build.CLANGS)):
        pytest.skip("needs compiled BPF objects, and no clang is installed to make them: apt-get install clang-19")
    build.build()
