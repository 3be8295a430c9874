"""ctypes over libbpf.so.1: prototypes, option structs, and the one place where its errors become `BpfError`.

Only libbpf's stable 1.x interface is used. Every option struct begins with its own size, so a short one is valid:
libbpf takes the missing members as zero. Calls release the GIL, so a long one (a map swap) stalls its thread only.
"""

import ctypes
import functools
import os
import threading
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_int,
    c_int32,
    c_size_t,
    c_uint8,
    c_uint32,
    c_void_p,
)
from typing import Any, Self, TypeVar

from edge.datapath.bpf_error import BpfError, Step

AnyOptions = TypeVar("AnyOptions", bound=Structure)
_MESSAGE_BYTES = 4096
_DEBUG = 2


class MapCreateOpts(Structure):
    """`struct bpf_map_create_opts` up to map_flags."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
    )


class LinkCreateOpts(Structure):
    """`struct bpf_link_create_opts` up to flags."""

    _fields_ = (("sz", c_size_t), ("flags", c_uint32), ("pad", c_uint32))


class XdpQueryOpts(Structure):
    """`struct bpf_xdp_query_opts`."""

    _fields_ = (
        ("sz", c_size_t),
        ("prog_id", c_uint32),
        ("drv_prog_id", c_uint32),
        ("hw_prog_id", c_uint32),
        ("skb_prog_id", c_uint32),
        ("attach_mode", c_uint8),
        ("pad", c_uint8 * 7),
    )


class TestRunOpts(Structure):
    """`struct bpf_test_run_opts`."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int32),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


SampleFunction = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)  # ring_buffer_sample_fn: context, data, size

_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "bpf_object__open_file": (c_void_p, (c_char_p, c_void_p)),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__btf": (c_void_p, (c_void_p,)),
    "bpf_object__next_map": (c_void_p, (c_void_p, c_void_p)),
    "bpf_object__find_map_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__find_program_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_map__name": (c_char_p, (c_void_p,)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__type": (c_uint32, (c_void_p,)),
    "bpf_map__map_flags": (c_uint32, (c_void_p,)),
    "bpf_map__key_size": (c_uint32, (c_void_p,)),
    "bpf_map__value_size": (c_uint32, (c_void_p,)),
    "bpf_map__max_entries": (c_uint32, (c_void_p,)),
    "bpf_map__set_value_size": (c_int, (c_void_p, c_uint32)),
    "bpf_map__set_max_entries": (c_int, (c_void_p, c_uint32)),
    "bpf_map__inner_map": (c_void_p, (c_void_p,)),
    "bpf_map__reuse_fd": (c_int, (c_void_p, c_int)),
    "bpf_map__initial_value": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "bpf_map__set_initial_value": (c_int, (c_void_p, c_char_p, c_size_t)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_program__set_log_buf": (c_int, (c_void_p, c_void_p, c_size_t)),
    "btf__find_by_name_kind": (c_int, (c_void_p, c_char_p, c_uint32)),
    "btf__type_by_id": (c_void_p, (c_void_p, c_uint32)),
    "btf__name_by_offset": (c_char_p, (c_void_p, c_uint32)),
    "bpf_map_create": (c_int, (c_int, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(MapCreateOpts))),
    "bpf_map_update_elem": (c_int, (c_int, c_char_p, c_char_p, ctypes.c_uint64)),
    "bpf_map_lookup_elem": (c_int, (c_int, c_char_p, c_void_p)),
    "bpf_map_delete_elem": (c_int, (c_int, c_char_p)),
    "bpf_map_update_batch": (c_int, (c_int, c_char_p, c_char_p, POINTER(c_uint32), c_void_p)),
    "bpf_map_lookup_batch": (c_int, (c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p)),
    "ring_buffer__new": (c_void_p, (c_int, SampleFunction, c_void_p, c_void_p)),
    "ring_buffer__poll": (c_int, (c_void_p, c_int)),
    "ring_buffer__free": (None, (c_void_p,)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32))),
    "bpf_obj_pin": (c_int, (c_int, c_char_p)),
    "bpf_obj_get": (c_int, (c_char_p,)),
    "bpf_prog_get_fd_by_id": (c_int, (c_uint32,)),
    "bpf_prog_test_run_opts": (c_int, (c_int, POINTER(TestRunOpts))),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, POINTER(LinkCreateOpts))),
    "bpf_link_update": (c_int, (c_int, c_int, c_void_p)),
    "bpf_link_detach": (c_int, (c_int,)),
    "bpf_xdp_attach": (c_int, (c_int, c_int, c_uint32, c_void_p)),
    "bpf_xdp_detach": (c_int, (c_int, c_uint32, c_void_p)),
    "bpf_xdp_query": (c_int, (c_int, c_int, POINTER(XdpQueryOpts))),
    "libbpf_num_possible_cpus": (c_int, ()),
}

_messages = threading.local()
_PrintFunction = CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)


def _print(level: int, form: bytes, arguments: int | None) -> int:
    """Keep libbpf's warnings for the exception text instead of writing them to stderr."""
    if level < _DEBUG and form:
        buffer = ctypes.create_string_buffer(_MESSAGE_BYTES)
        _libc().vsnprintf(buffer, c_size_t(_MESSAGE_BYTES), form, c_void_p(arguments))
        line = buffer.value.decode(errors="replace").strip().removeprefix("libbpf: ")
        _messages.__dict__.setdefault("lines", []).append(line)
    return 0


_print_callback = _PrintFunction(_print)  # kept here: libbpf holds only the bare pointer


@functools.cache
def _libc() -> CDLL:
    return CDLL(None, use_errno=True)


@functools.cache
def library() -> CDLL:
    """Load libbpf once and declare its functions. Raises `BpfError` when it is absent or older than 1.0."""
    try:
        loaded = CDLL("libbpf.so.1", use_errno=True)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(loaded, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        fix = "Install it: `apt install libbpf1` (iproute2 depends on it on Debian and Ubuntu)"
        raise BpfError(Step.LIBRARY, "load libbpf.so.1", detail=str(error), fix=fix) from error
    loaded.libbpf_set_print.argtypes = [_PrintFunction]
    loaded.libbpf_set_print.restype = c_void_p
    loaded.libbpf_set_print(_print_callback)
    return loaded


def take_messages() -> list[str]:
    """Return and forget what libbpf said to this thread since the last call."""
    lines: list[str] = _messages.__dict__.pop("lines", [])
    return lines


def call(step: Step, attempted: str, function: str, *arguments: Any, detail: str = "") -> int:
    """Call a libbpf function that returns an int; a negative one (-errno) raises `BpfError` naming `attempted`."""
    take_messages()
    result: int = getattr(library(), function)(*arguments)
    if result < 0:
        said = detail or "; ".join(take_messages())
        raise BpfError(step, attempted, -result if result != -1 else ctypes.get_errno(), said)
    return result


def pointer(step: Step, attempted: str, function: str, *arguments: Any) -> int:
    """Call a libbpf function that returns a pointer; NULL (errno set) raises `BpfError` naming `attempted`."""
    take_messages()
    result: int | None = getattr(library(), function)(*arguments)
    if not result:
        raise BpfError(step, attempted, ctypes.get_errno(), "; ".join(take_messages()))
    return result


def options(kind: type[AnyOptions], **members: Any) -> AnyOptions:
    """Build an option struct with its size member filled in."""
    return kind(sz=ctypes.sizeof(kind), **members)


def info(step: Step, attempted: str, fd: int, size: int) -> bytes:
    """Return the first `size` bytes of the kernel's info struct for a map, program or link descriptor."""
    buffer = ctypes.create_string_buffer(size)
    length = c_uint32(size)
    call(step, attempted, "bpf_obj_get_info_by_fd", fd, buffer, byref(length))
    return buffer.raw


class Handle:
    """Owns one file descriptor; close it by `with` or `close()`. Closing twice is harmless."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """Return the descriptor. Raises ValueError after close."""
        if self._fd < 0:
            raise ValueError("the BPF descriptor is closed")
        return self._fd

    def close(self) -> None:
        """Give the descriptor back to the kernel."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
