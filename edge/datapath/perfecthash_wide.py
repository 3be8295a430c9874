"""The perfect hash over sixteen bytes and a number: three multiplications make a 64-bit key of them (core: no I/O).

The key is the 64-bit sum of the two halves and the number, each times a constant (multilinear hashing: Lemire and
Kaser 2014). The constants are drawn anew until all keys differ, from a fixed sequence, so equal entries give equal
tables on every node.
"""

import struct
from collections.abc import Collection
from dataclasses import dataclass

from edge.datapath.perfecthash import WORD_BITS, PerfectHash, PerfectHashError, find_perfect_hash, odd_numbers

_TRIES = 16
_HALVES = struct.Struct("<2Q")

WideKey = tuple[bytes, int]
"""Sixteen bytes, and a number below 2**64."""


@dataclass(frozen=True, slots=True)
class WideHash:
    """`factors` of the first half, the second half and the number; `table` finds the slot of their sum."""

    factors: tuple[int, int, int]
    table: PerfectHash

    def slot(self, key: WideKey) -> int:
        """Where `key` is, if it is anywhere."""
        return self.table.slot(_reduced(key, self.factors))


def find_wide_hash(keys: Collection[WideKey], *, buckets: int, slots: int) -> WideHash:
    """As `find_perfect_hash`. Raises `PerfectHashError`."""
    draws = odd_numbers()
    for _ in range(_TRIES):
        factors = (next(draws), next(draws), next(draws))
        reduced = {_reduced(key, factors) for key in keys}
        if len(reduced) == len(keys):
            return WideHash(factors, find_perfect_hash(reduced, buckets=buckets, slots=slots))
    raise PerfectHashError(f"no {WORD_BITS}-bit keys for {len(keys)} entries after {_TRIES} tries")


def _reduced(key: WideKey, factors: tuple[int, int, int]) -> int:
    first, second = _HALVES.unpack(key[0])
    total: int = first * factors[0] + second * factors[1] + key[1] * factors[2]
    return total & ((1 << WORD_BITS) - 1)
