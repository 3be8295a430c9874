"""The perfect hash over addresses of sixteen bytes: five multiplications make a 32-bit key of one (core: no I/O).

The key is the upper half of the 64-bit sum of the four words and the prefix length, each times a constant: multilinear
hashing, where two addresses get the same key with probability 2**-32 (Lemire and Kaser 2014). The constants are drawn
anew until all keys differ, from a fixed sequence, so equal addresses give equal tables on every node.
"""

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from edge.datapath.perfecthash import PerfectHash, PerfectHashError, find_perfect_hash

_LONG = 0xFFFFFFFFFFFFFFFF
_TRIES = 16
_WORDS = struct.Struct("<4I")

WideKey = tuple[bytes, int]
"""Sixteen bytes of a network, and its length within them."""


@dataclass(frozen=True, slots=True)
class WideHash:
    """`reducers` make a 32-bit key, `table` finds its slot."""

    reducers: tuple[int, ...]
    table: PerfectHash

    def slot(self, key: WideKey) -> int:
        """Where `key` is, if it is anywhere."""
        return self.table.slot(_reduce(key, self.reducers))


def find_wide_hash(keys: Collection[WideKey], *, buckets: int, slots: int) -> WideHash:
    """As `find_perfect_hash`. Raises `PerfectHashError`."""
    draws = _odd_longs()
    for _ in range(_TRIES):
        reducers = tuple(next(draws) for _ in range(5))
        reduced = {_reduce(key, reducers) for key in keys}
        if len(reduced) == len(keys):
            return WideHash(reducers, find_perfect_hash(reduced, buckets=buckets, slots=slots))
    raise PerfectHashError(f"no 32-bit keys for {len(keys)} addresses after {_TRIES} tries")


def _reduce(key: WideKey, reducers: tuple[int, ...]) -> int:
    words: tuple[int, ...] = (*_WORDS.unpack(key[0]), key[1])
    return (sum(word * factor for word, factor in zip(words, reducers, strict=True)) & _LONG) >> 32


def _odd_longs() -> Iterator[int]:
    """Odd 64-bit numbers in an order that looks random: SplitMix64."""
    state = 0
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _LONG
        mixed = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _LONG
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _LONG
        yield (mixed ^ mixed >> 31) | 1
