"""A compiled BPF object: open, set constants and sizes, share maps with an earlier process, load."""

import ctypes
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.bpf_map import BpfMap, MapSpec
from edge.datapath.libbpf import call, library, pointer, take_messages
from edge.datapath.xdp import Program

_LOG_BYTES = 1 << 24  # virtual until the verifier writes
_BTF_KIND_DATASEC = 15
_BTF_TYPE_BYTES = 12  # struct btf_type: name_off, info, size
_BTF_MEMBER = struct.Struct("=III")  # struct btf_var_secinfo: type, offset, size
_LOG_LINES = 6


class BpfObject:
    """An object file between `open` and `close`. Maps and programs taken out of it are descriptors of their own.

    Call the setters before `load`; all raise `BpfError`, naming the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._attempted = f"open the BPF object {path}"
        if not path.is_file():
            raise BpfError(Step.OPEN, self._attempted, 2, fix="Build it first, or install the wheel, which carries it")
        self._object = pointer(Step.OPEN, self._attempted, "bpf_object__open_file", os.fsencode(path), None)

    def close(self) -> None:
        """Free libbpf's copy and its descriptors; what `map` and `program` returned stays open."""
        if self._object:
            library().bpf_object__close(self._object)
            self._object = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def map_specs(self) -> dict[str, MapSpec]:
        """Return the shape of every declared map by its name, with the sizes set so far."""
        specs = {}
        at = library().bpf_object__next_map(self._object, None)
        while at:
            specs[library().bpf_map__name(at).decode()] = _spec(at)
            at = library().bpf_object__next_map(self._object, at)
        return specs

    def inner_spec(self, name: str) -> MapSpec:
        """Return the template that inner maps of the array of maps `name` must match."""
        return _spec(self._inner(name))

    def set_rodata(self, values: Mapping[str, bytes]) -> None:
        """Set `const volatile` variables by name; each value must have the variable's size."""
        section = next((name for name in self.map_specs() if name.endswith(".rodata")), None)
        if section is None:
            raise BpfError(Step.OPEN, f"set constants of {self.path}", detail="the object has no .rodata")
        holder = self._map(section)
        places = self._rodata_places()
        size = ctypes.c_size_t()
        start = pointer(Step.OPEN, f"read .rodata of {self.path}", "bpf_map__initial_value", holder, ctypes.byref(size))
        image = bytearray(ctypes.string_at(start, size.value))
        for name, value in values.items():
            offset, width = places.get(name, (0, 0))
            if width != len(value):
                detail = f"{name} has {width} bytes there, {len(value)} given; constants: {', '.join(sorted(places))}"
                raise BpfError(Step.OPEN, f"set constant {name} of {self.path}", detail=detail)
            image[offset : offset + width] = value
        attempted = f"set constants of {self.path}"
        call(Step.OPEN, attempted, "bpf_map__set_initial_value", holder, bytes(image), len(image))

    def set_max_entries(self, name: str, entries: int) -> None:
        """Resize a map before load."""
        attempted = f"give map {name} of {self.path} {entries} entries"
        call(Step.OPEN, attempted, "bpf_map__set_max_entries", self._map(name), entries)

    def set_value_size(self, name: str, size: int) -> None:
        """Set the bytes of a map's value before load."""
        attempted = f"give map {name} of {self.path} values of {size} bytes"
        call(Step.OPEN, attempted, "bpf_map__set_value_size", self._map(name), size)

    def set_inner_value_size(self, name: str, size: int) -> None:
        """Set the bytes of the value of the inner maps of the array of maps `name` before load."""
        attempted = f"give inner maps of {name} of {self.path} values of {size} bytes"
        call(Step.OPEN, attempted, "bpf_map__set_value_size", self._inner(name), size)

    def reuse(self, name: str, existing: BpfMap) -> None:
        """Let the program use `existing` instead of a new map; its shape must equal the declared one."""
        expected = self.map_specs()[name]
        attempted = f"reuse an existing map as {name} of {self.path}"
        if existing.spec != expected:
            raise BpfError(Step.MAP, attempted, detail=f"it is {existing.spec}, expected {expected}")
        call(Step.MAP, attempted, "bpf_map__reuse_fd", self._map(name), existing.fileno())

    def load(self, program: str) -> None:
        """Create the maps and load; a refusal by the verifier is told by the end of its log for `program`."""
        attempted = f"load the BPF object {self.path}"
        log = ctypes.create_string_buffer(_LOG_BYTES)
        call(Step.LOAD, attempted, "bpf_program__set_log_buf", self._program(program), log, _LOG_BYTES)
        take_messages()
        result: int = library().bpf_object__load(self._object)
        said = take_messages()
        if result < 0:
            detail = summarise_log(log.value.decode(errors="replace")) or "; ".join(said)
            raise BpfError(Step.LOAD, attempted, -result, detail)

    def map(self, name: str) -> BpfMap:
        """Return a loaded map as a descriptor of its own."""
        return BpfMap(os.dup(call(Step.MAP, f"take map {name} of {self.path}", "bpf_map__fd", self._map(name))))

    def program(self, name: str) -> Program:
        """Return a loaded program as a descriptor of its own."""
        attempted = f"take program {name} of {self.path}"
        return Program(os.dup(call(Step.LOAD, attempted, "bpf_program__fd", self._program(name))))

    def _map(self, name: str) -> int:
        attempted = f"find map {name} in {self.path}"
        return pointer(Step.MAP, attempted, "bpf_object__find_map_by_name", self._object, name.encode())

    def _inner(self, name: str) -> int:
        attempted = f"find the inner template of {name} in {self.path}"
        return pointer(Step.MAP, attempted, "bpf_map__inner_map", self._map(name))

    def _program(self, name: str) -> int:
        attempted = f"find program {name} in {self.path}"
        return pointer(Step.LOAD, attempted, "bpf_object__find_program_by_name", self._object, name.encode())

    def _rodata_places(self) -> dict[str, tuple[int, int]]:
        """Return (offset, size) of each constant, from the object's BTF."""
        attempted = f"read the types of {self.path}"
        btf = pointer(Step.OPEN, attempted, "bpf_object__btf", self._object)
        section = call(Step.OPEN, attempted, "btf__find_by_name_kind", btf, b".rodata", _BTF_KIND_DATASEC)
        start = pointer(Step.OPEN, attempted, "btf__type_by_id", btf, section)
        count = int.from_bytes(ctypes.string_at(start + 4, 2), "little")
        members = ctypes.string_at(start + _BTF_TYPE_BYTES, count * _BTF_MEMBER.size)
        places = {}
        for kind, offset, size in _BTF_MEMBER.iter_unpack(members):
            variable = pointer(Step.OPEN, attempted, "btf__type_by_id", btf, kind)
            name = library().btf__name_by_offset(btf, int.from_bytes(ctypes.string_at(variable, 4), "little"))
            places[name.decode()] = (offset, size)
        return places


def summarise_log(log: str) -> str:
    """Return the verifier's complaint: its last source line and the few log lines before the closing statistics."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    while lines and lines[-1].startswith(("processed ", "verification time", "stack depth", "BPF program load")):
        lines.pop()
    if not lines:
        return ""
    tail = lines[-_LOG_LINES:]
    source = next((line for line in reversed(lines) if line.startswith(";")), "")
    if source and source not in tail:
        tail.insert(0, source)
    return f"the verifier says: {lines[-1]} | log ends: " + " | ".join(tail)


def _spec(at: int) -> MapSpec:
    lib = library()
    return MapSpec(
        lib.bpf_map__type(at),
        lib.bpf_map__key_size(at),
        lib.bpf_map__value_size(at),
        lib.bpf_map__max_entries(at),
        lib.bpf_map__map_flags(at),
    )
