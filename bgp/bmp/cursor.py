"""Reads bytes of others from front to back. Nothing is read twice and nothing beyond the end: that is a BmpError."""

import struct


class BmpError(ValueError):
    """What a router sent is no BMP, or what we cannot read; its session is of no more use."""


class Cursor:
    """A position in `data`."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return len(self._data) - self._at

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes. Raises BmpError."""
        if size > self.left:
            raise BmpError(f"{what}: expected {size} bytes, {self.left} are left")
        self._at += size
        return self._data[self._at - size : self._at]

    def part(self, size: int, what: str) -> "Cursor":
        """A cursor over the next `size` bytes. Raises BmpError."""
        return Cursor(self.take(size, what))

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.left, "rest")

    def number(self, size: int, what: str) -> int:
        """An unsigned number in network order. Raises BmpError."""
        return int.from_bytes(self.take(size, what), "big")

    def numbers(self, kind: str, what: str) -> tuple[int, ...]:
        """All that is left as numbers of one struct(3) kind: B, H or I. Raises BmpError if they do not fit."""
        size = struct.calcsize(f"!{kind}")
        if self.left % size:
            raise BmpError(f"{what}: {self.left} bytes, expected a multiple of {size}")
        return struct.unpack(f"!{self.left // size}{kind}", self.rest())
