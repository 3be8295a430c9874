"""Asks the live forwarder for sampled packets, from any process: holds the lease, reads the ring buffer.

The program's maps are pinned. Whoever asks renews a lease in the control map, so that a process that dies is forgotten
by the program three seconds later; the lease is also what keeps two of them apart.
"""

import ctypes
import errno as codes
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from edge.datapath import abi
from edge.datapath.bpf_error import BpfError, Step
from edge.datapath.bpf_map import BpfMap
from edge.datapath.libbpf import SampleFunction, call, library, pointer
from edge.datapath.pinned import map_path
from edge.datapath.trace import NOBODY, Event, Wanted, decode, lease_end

_LEASE, _RENEW = 3_000_000_000, 1_000_000_000  # nanoseconds
_FIRST = struct.pack("=I", 0)
_BATCH = 2048  # packets read at a time: a flood must not keep us from renewing
_ENOUGH = -codes.ECANCELED


class BusyError(Exception):
    """Another process traces this forwarder."""


class Tracer:
    """Use as a context manager; `start`, then `poll` at least every second. Raises `BpfError` and `BusyError`."""

    def __init__(self, pin_dir: Path) -> None:
        self._pin_dir = pin_dir
        self._wanted = Wanted()
        self._written = NOBODY
        self._renewed = 0
        self._read: list[bytes] = []
        self._callback = SampleFunction(self._take)  # libbpf holds only the bare pointer
        self._stack = ExitStack()
        self._control: BpfMap
        self._ring = 0

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._written != NOBODY and self._control.lookup(_FIRST) == self._written:
                self._control.update(_FIRST, NOBODY)
        finally:
            self._stack.close()

    def start(self, wanted: Wanted) -> None:
        """Ask for packets from now on."""
        now = time.monotonic_ns()
        left = lease_end(self._control.lookup(_FIRST)) - now
        if left > 0:
            raise BusyError(
                f"another capture of {self._pin_dir} is running, or died less than {_LEASE / 1e9:g} s ago "
                f"(its lease ends in {left / 1e9:.1f} s): end it, or wait"
            )
        self._poll(0)  # what an earlier one left unread
        self._read.clear()
        self._wanted = wanted
        self._write(now)

    def poll(self, timeout: float) -> Iterator[Event]:
        """Wait up to `timeout` seconds (at most one) for packets, and give those there are, in their order."""
        now = time.monotonic_ns()
        if now - self._renewed >= _RENEW:
            self._renew(now)
        self._poll(int(min(timeout, 1) * 1000))
        taken, self._read = self._read, []
        for event in map(decode, taken):
            if self._wanted.matches(event):
                yield event

    def _renew(self, now: int) -> None:
        with BpfMap.open_pinned(map_path(self._pin_dir, abi.TRACE_CONTROL)) as pinned:
            replaced = pinned.id != self._control.id
        if replaced:  # by an upgrade that changed the shape of the maps
            self._stack.close()
            self._open()
        elif self._control.lookup(_FIRST) != self._written:
            self._written = NOBODY
            raise BusyError(f"another capture of {self._pin_dir} began at the same time and goes on")
        self._write(now)

    def _write(self, now: int) -> None:
        self._written, self._renewed = self._wanted.control(now + _LEASE), now
        self._control.update(_FIRST, self._written)

    def _open(self) -> None:
        with ExitStack() as stack:
            self._control = stack.enter_context(_pinned(self._pin_dir, abi.TRACE_CONTROL))
            events = stack.enter_context(_pinned(self._pin_dir, abi.TRACE_EVENTS))
            attempted = "read the traced packets"
            made = pointer(Step.MAP, attempted, "ring_buffer__new", events.fileno(), self._callback, None, None)
            stack.callback(library().ring_buffer__free, made)
            self._ring = made
            self._stack = stack.pop_all()

    def _poll(self, milliseconds: int) -> None:
        try:
            call(Step.MAP, "read the traced packets", "ring_buffer__poll", self._ring, milliseconds)
        except BpfError as error:
            if error.errno not in (codes.EINTR, -_ENOUGH):
                raise

    def _take(self, _: int, data: int, size: int) -> int:
        self._read.append(ctypes.string_at(data, size))
        return _ENOUGH if len(self._read) >= _BATCH else 0


def _pinned(pin_dir: Path, name: str) -> BpfMap:
    path = map_path(pin_dir, name)
    try:
        return BpfMap.open_pinned(path)
    except BpfError as error:
        if error.errno != codes.ENOENT:
            raise
        fix = "Is `fairhop run` up on this node, of this version, with this pin directory?"
        raise BpfError(Step.PIN, error.attempted, codes.ENOENT, "no forwarder is pinned here", fix) from None
