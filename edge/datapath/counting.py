"""Reads the counters of both programs: per CPU in the kernel, summed here."""

import struct
from collections.abc import Iterable, Mapping

from edge.datapath import abi
from edge.datapath.abi import Note, Reason
from edge.datapath.bpf_map import BpfMap
from edge.datapath.model import Counted, Counters


def read_totals(totals: BpfMap) -> tuple[int, ...]:
    """Return the words of `abi.TOTALS_FORMAT`, summed over CPUs."""
    return _summed(totals, 0, abi.TOTALS_FORMAT)


def read_column(counts: BpfMap, layout: struct.Struct, ids: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Return the words of one entry for each id, summed over CPUs."""
    return {number: _summed(counts, number, layout) for number in ids}


def counters(
    words: tuple[int, ...], services: Mapping[int, Counted] | None = None, backends: Mapping[int, Counted] | None = None
) -> Counters:
    """Name the words of `read_totals`. Every reason and note is there, also at 0."""
    rx, tx, passed = words[:3]
    drops = {reason.label: words[3 + reason] for reason in Reason if reason is not Reason.NONE}
    notes = {note.label: words[3 + abi.DROP_COUNT + note] for note in Note}
    return Counters(rx, tx, passed, drops, notes, services or {}, backends or {})


def _summed(counts: BpfMap, index: int, layout: struct.Struct) -> tuple[int, ...]:
    values = counts.lookup_percpu(struct.pack("=I", index))
    return tuple(map(sum, zip(*(layout.unpack(value) for value in values), strict=True)))
