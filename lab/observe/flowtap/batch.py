"""Reads a whole BPF hash map in a few system calls (BPF_MAP_LOOKUP_BATCH, Linux 5.6)."""

import ctypes
import errno
from collections.abc import Iterator

from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.bpf_map import BpfMap
from edge.datapath.libbpf import call

_AT_ONCE = 16384  # elements; more than any bucket of the map holds


def read_all(source: BpfMap) -> Iterator[tuple[bytes, bytes]]:
    """Every (key, value) of a hash map that is not per CPU. Raises BpfError."""
    spec = source.spec
    keys = ctypes.create_string_buffer(spec.key_size * _AT_ONCE)
    values = ctypes.create_string_buffer(spec.value_size * _AT_ONCE)
    place = ctypes.c_uint32()  # where the next batch begins: an opaque word of the kernel's
    begun, more = False, True
    while more:
        count = ctypes.c_uint32(_AT_ONCE)
        at = ctypes.byref(place)
        arguments = (source.fileno(), at if begun else None, at, keys, values, ctypes.byref(count), None)
        try:
            call(Step.MAP, f"read map {source.name} in batches", "bpf_map_lookup_batch", *arguments)
        except BpfError as error:
            if error.errno != errno.ENOENT:  # that is its way to say: this was the last batch
                raise
            more = False
        begun = True
        yield from zip(
            _split(keys, spec.key_size, count.value), _split(values, spec.value_size, count.value), strict=True
        )


def _split(buffer: ctypes.Array[ctypes.c_char], size: int, count: int) -> list[bytes]:
    raw = ctypes.string_at(buffer, size * count)
    return [raw[at : at + size] for at in range(0, len(raw), size)]
