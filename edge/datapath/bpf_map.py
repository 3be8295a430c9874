"""BPF maps by descriptor: make, read, write, and swap whole tables inside an array of maps."""

import ctypes
import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from edge.datapath.bpf_error import Step
from edge.datapath.libbpf import Handle, MapCreateOpts, call, info, library, options

_INFO_BYTES = 40  # struct bpf_map_info: type, id, key_size, value_size, max_entries, map_flags (u32 each), name[16]
_NAME_BYTES = 15  # BPF_OBJ_NAME_LEN without the NUL
_BATCH = 1 << 16  # elements of one call


class MapType(IntEnum):
    """The kernel's `enum bpf_map_type`, as far as it is used here."""

    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    ARRAY_OF_MAPS = 12


@dataclass(frozen=True, slots=True)
class MapSpec:
    """The shape of a map; two maps with equal specs can stand in for each other. Sizes are bytes."""

    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0


class BpfMap(Handle):
    """One map. Keys and values are bytes of exactly the map's sizes; every call raises `BpfError` on refusal."""

    def __init__(self, fd: int) -> None:
        super().__init__(fd)
        raw = info(Step.MAP, "read the shape of a map", fd, _INFO_BYTES)
        words = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, 24, 4)]
        self.id = words[1]  # the kernel's number of this map, as `bpftool map` prints it
        self.spec = MapSpec(words[0], words[2], words[3], words[4], words[5])
        self.name = raw[24:40].rstrip(b"\0").decode(errors="replace")

    @classmethod
    def create(cls, spec: MapSpec, name: str) -> "BpfMap":
        """Make a map that nothing refers to yet, as an inner map to be filled and swapped in."""
        made = options(MapCreateOpts, map_flags=spec.flags)
        sizes = (spec.key_size, spec.value_size, spec.max_entries)
        title = name.encode()[:_NAME_BYTES]
        fd = call(Step.MAP, f"create map {name} {spec}", "bpf_map_create", spec.type, title, *sizes, ctypes.byref(made))
        return cls(fd)

    @classmethod
    def open_pinned(cls, path: Path) -> "BpfMap":
        """Open the map pinned at `path` on a bpffs."""
        return cls(call(Step.PIN, f"open the pinned map {path}", "bpf_obj_get", os.fsencode(path)))

    @property
    def element_size(self) -> int:
        """Bytes of a value as the kernel hands it over: one after the other for each possible CPU, if it is per CPU."""
        if self.spec.type in (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY):
            return -(-self.spec.value_size // 8) * 8 * possible_cpus()
        return self.spec.value_size

    def update(self, key: bytes, value: bytes) -> None:
        """Write one element (BPF_ANY)."""
        self._expect(key, self.spec.key_size, "key")
        self._expect(value, self.spec.value_size, "value")
        call(Step.MAP, f"write map {self.name} at {key.hex()}", "bpf_map_update_elem", self.fileno(), key, value, 0)

    def lookup(self, key: bytes) -> bytes:
        """Read one element of a map that is not per CPU."""
        return self._read(key, self.spec.value_size)

    def lookup_percpu(self, key: bytes) -> list[bytes]:
        """Read one element of a per-CPU map: one value per possible CPU."""
        raw = self._read(key, self.element_size)
        return [raw[at : at + self.spec.value_size] for at in range(0, len(raw), self.element_size // possible_cpus())]

    def put_map(self, key: bytes, inner: "BpfMap") -> None:
        """Swap `inner` into this array of maps. Blocks 6-16 ms: the kernel waits until no program sees the old one."""
        self._expect(key, self.spec.key_size, "key")
        attempted = f"swap map {inner.name} {inner.spec} into {self.name} at {key.hex()} (it must match the template)"
        reference = inner.fileno().to_bytes(4, "little")
        call(Step.MAP, attempted, "bpf_map_update_elem", self.fileno(), key, reference, 0)

    def update_all(self, keys: bytes, values: bytes) -> None:
        """Write many elements, keys and values one behind the other, in few calls (a per-CPU value: of all CPUs)."""
        count = len(keys) // self.spec.key_size
        self._expect(keys, count * self.spec.key_size, "a run of keys")
        self._expect(values, count * self.element_size, "a run of values")
        for first in range(0, count, _BATCH):
            some = min(_BATCH, count - first)
            done = ctypes.c_uint32(some)
            part = keys[first * self.spec.key_size : (first + some) * self.spec.key_size]
            texts = values[first * self.element_size : (first + some) * self.element_size]
            attempted = f"write {some} elements of map {self.name}, from number {first}"
            call(Step.MAP, attempted, "bpf_map_update_batch", self.fileno(), part, texts, ctypes.byref(done), None)

    def values(self) -> Iterator[bytes]:
        """Read the values of an array in the order of its indexes (a per-CPU value: of all CPUs), many at a time."""
        token, position = None, ctypes.create_string_buffer(max(4, self.spec.key_size))
        keys = ctypes.create_string_buffer(_BATCH * self.spec.key_size)
        found = ctypes.create_string_buffer(_BATCH * self.element_size)
        left = self.spec.max_entries
        while left:
            done = ctypes.c_uint32(min(_BATCH, left))
            arguments = (self.fileno(), token, position, keys, found, ctypes.byref(done), None)
            call(Step.MAP, f"read the elements of map {self.name}", "bpf_map_lookup_batch", *arguments)
            yield ctypes.string_at(found, done.value * self.element_size)
            left, token = left - done.value, position

    def delete(self, key: bytes) -> None:
        """Remove one element (an array of maps: leave the place empty)."""
        self._expect(key, self.spec.key_size, "key")
        call(Step.MAP, f"delete from map {self.name} at {key.hex()}", "bpf_map_delete_elem", self.fileno(), key)

    def _read(self, key: bytes, size: int) -> bytes:
        self._expect(key, self.spec.key_size, "key")
        buffer = ctypes.create_string_buffer(size)
        call(Step.MAP, f"read map {self.name} at {key.hex()}", "bpf_map_lookup_elem", self.fileno(), key, buffer)
        return buffer.raw

    def _expect(self, given: bytes, size: int, what: str) -> None:
        # The kernel copies the map's size whatever we hand over: a short buffer would leak our memory into the map.
        if len(given) != size:
            raise ValueError(f"map {self.name}: {what} has {len(given)} bytes, expected {size}")


@functools.cache
def possible_cpus() -> int:
    """Return how many values a per-CPU element has."""
    count: int = library().libbpf_num_possible_cpus()
    return count
