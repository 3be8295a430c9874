"""Heartbeats through shared memory: a file of four 64-bit words, so that a beat costs the daemon no system call.

Each word is written by one aligned store: magic, end of the hold, last beat of the daemon, last beat of the forwarder;
the last three in nanoseconds of CLOCK_MONOTONIC, 0 for never.
"""

import mmap
import os
import time
from pathlib import Path
from typing import Final, Self

MAGIC: Final = int.from_bytes(b"fhbeat1\n", "little")
SOURCES: Final = ("daemon", "forwarder")
_SIZE: Final = 8 * (2 + len(SOURCES))
_HOLD: Final = 1
_FIRST: Final = 2


class BeatsError(Exception):
    """The file is none of ours; the text names it."""


class Beats:
    """The mapped file; the daemon writes it, the process reads it."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._words = memoryview(memory).cast("Q")
        self._index = {name: _FIRST + number for number, name in enumerate(SOURCES)}

    @classmethod
    def create(cls, path: Path, gid: int | None) -> Self:
        """The daemon's view; one that is there already is kept, because a running process has it mapped.

        Only we write it, the group reads it. Raises OSError.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o640)
        try:
            os.fchmod(fd, 0o640)
            if gid is not None:
                os.fchown(fd, -1, gid)
            os.ftruncate(fd, _SIZE)
            beats = cls(mmap.mmap(fd, _SIZE))
        finally:
            os.close(fd)
        beats._words[0] = MAGIC
        return beats

    @classmethod
    def open(cls, path: Path) -> Self:
        """The process's view. Raises OSError and BeatsError."""
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if os.fstat(fd).st_size != _SIZE:
                raise BeatsError(f"{path} has {os.fstat(fd).st_size} bytes, expected {_SIZE}")
            beats = cls(mmap.mmap(fd, _SIZE, prot=mmap.PROT_READ))
        finally:
            os.close(fd)
        if beats._words[0] != MAGIC:
            raise BeatsError(f"{path} does not begin with the magic of this version")
        return beats

    def beat(self, source: str) -> None:
        """`daemon` or `forwarder` is alive now. Raises KeyError for another name."""
        self._words[self._index[source]] = time.monotonic_ns()

    def hold(self, seconds: float) -> None:
        """A planned restart: the gate is suspended so long from now on; 0 ends a hold."""
        self._words[_HOLD] = time.monotonic_ns() + int(seconds * 1e9) if seconds > 0 else 0

    def read(self) -> dict[str, float]:
        """The last beat of each source; monotonic seconds, 0 for never."""
        return {name: self._words[index] * 1e-9 for name, index in self._index.items()}

    def held_until(self) -> float:
        """The end of the hold; monotonic seconds."""
        return self._words[_HOLD] * 1e-9

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._memory.close()
