"""Whole tables as inner maps: filled, read back, then swapped in by one write; and the two banks of lookup_tables."""

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from edge.datapath import abi
from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.bpf_map import BpfMap, MapSpec
from edge.datapath.encode import encode_pool
from edge.datapath.model import Pool

_FIRST = struct.pack("=I", 0)


def filled(template: MapSpec, name: str, value: bytes) -> BpfMap:
    """Make an inner map that holds `value`, read back from the kernel; nothing refers to it yet."""
    made = BpfMap.create(template, name)
    try:
        made.update(_FIRST, value)
        if made.lookup(_FIRST) != value:
            raise BpfError(Step.MAP, f"fill table {name}", detail="the kernel reads back other bytes than were written")
    except BaseException:
        made.close()
        raise
    return made


def write_directory(outer: BpfMap, template: MapSpec, value: bytes) -> None:
    """Commit a generation: swap the directory. Returns when no packet sees the former one any more (6-16 ms)."""
    with filled(template, abi.DIRECTORY, value) as made:
        outer.put_map(_FIRST, made)


@dataclass(slots=True, eq=False)
class _Table:
    pool: Pool
    map: BpfMap


class PoolBanks:
    """What the two banks of `abi.POOLS` hold. A generation lies in one bank; the next is laid out in the other.

    The same table may hang in both banks: it is made once. Not for use by two threads at a time.
    """

    def __init__(self, outer: BpfMap, template: MapSpec) -> None:
        self._outer = outer
        self._template = template
        self._banks: tuple[dict[int, _Table], dict[int, _Table]] = ({}, {})
        self._live = 0
        self.count = 0  # pools of the live directory; 0 also means that no packet reads any bank

    def choose(self, pools: Sequence[Pool]) -> int:
        """Return the bank for these pools: the live one when none of the tables in use changes, else the other."""
        held = self._banks[self._live]
        same = all(held[index].pool == pool for index, pool in enumerate(pools[: self.count]))
        return self._live if same else 1 - self._live

    def install(self, bank: int, pools: Sequence[Pool]) -> None:
        """Bring `bank` to hold these tables; writes only those that differ, none that a packet reads now."""
        table_size = self._template.value_size // abi.SLOT_SIZE
        other = self._banks[1 - bank]
        for index, pool in enumerate(pools):
            held = self._banks[bank].get(index)
            if held is not None and held.pool == pool:
                continue
            twin = other.get(index)
            if twin is not None and twin.pool == pool:
                table = twin
            else:
                name = f"pool{index}"
                table = _Table(pool, filled(self._template, name, encode_pool(pool, table_size)))
            self._put(bank, index, table)

    def committed(self, bank: int, count: int) -> None:
        """Note that the directory now names the first `count` tables of `bank`; removes those no pool has any more."""
        self._live, self.count = bank, count
        for which, tables in enumerate(self._banks):
            for index in [index for index in tables if index >= count]:
                self._outer.delete(_key(which, index))
                self._release(tables.pop(index))

    def digests(self) -> tuple[str, ...]:
        """Return the SHA-256 of each live table's bytes as the kernel holds them, in the order of the pools."""
        tables = [self._banks[self._live][index] for index in range(self.count)]
        return tuple(hashlib.sha256(table.map.lookup(_FIRST)).hexdigest() for table in tables)

    def close(self) -> None:
        """Let go of the descriptors; the kernel keeps the tables for the program."""
        for tables in self._banks:
            for table in tables.values():
                table.map.close()
            tables.clear()
        self.count = 0

    def _put(self, bank: int, index: int, table: _Table) -> None:
        try:
            self._outer.put_map(_key(bank, index), table.map)
        except BaseException:
            self._release(table)
            raise
        former = self._banks[bank].get(index)
        self._banks[bank][index] = table
        if former is not None:
            self._release(former)

    def _release(self, table: _Table) -> None:
        if not any(held is table for tables in self._banks for held in tables.values()):
            table.map.close()


def _key(bank: int, index: int) -> bytes:
    return struct.pack("=I", bank * abi.MAX_POOLS + index)
