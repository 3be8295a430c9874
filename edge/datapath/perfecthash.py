"""A perfect hash over 64-bit keys that costs a packet two multiplications and no probing (core: no I/O).

"Hash and displace" with multiply-shift functions: the top bits of `key * multiplier` choose a bucket, and the bucket's
own multiplier, found here by search, sends each of its keys to a slot of its own. Multiply-shift is universal
(Dietzfelbinger et al. 1997): for two keys and a random odd multiplier the slots are equal with probability at most
2 / slots, so with half of the slots free a multiplier turns up after a few draws. The draws are a fixed sequence, so
equal keys give equal tables on every node.

Belazzougui, Botelho, Dietzfelbinger: Hash, displace, and compress (2009).
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

WORD_BITS = 64
_WORD = (1 << WORD_BITS) - 1
_BUCKET_MULTIPLIERS = 32
_SLOT_MULTIPLIERS = 100_000


class PerfectHashError(ValueError):
    """The keys do not fit, or no multipliers were found; the text says which table and why."""


@dataclass(frozen=True, slots=True)
class PerfectHash:
    """Slot of a key: `key * multipliers[key * multiplier >> bucket_shift] >> slot_shift`, all modulo 2**64.

    A key that was not given also has a slot, so the slot must hold the key for comparison.
    """

    multiplier: int
    bucket_shift: int
    slot_shift: int
    multipliers: tuple[int, ...]

    def slot(self, key: int) -> int:
        """Where `key` (0..2**64-1) is, if it is anywhere."""
        bucket = (key * self.multiplier & _WORD) >> self.bucket_shift
        return (key * self.multipliers[bucket] & _WORD) >> self.slot_shift


def find_perfect_hash(keys: Collection[int], *, buckets: int, slots: int) -> PerfectHash:
    """Search a perfect hash of distinct 64-bit keys within a table of at most `buckets` and `slots` (powers of two).

    It uses as few of them as half-full tables need, so that few keys stay within few cache lines.
    Raises `PerfectHashError` for more than slots / 2 keys.
    """
    if len(keys) > slots // 2:
        raise PerfectHashError(f"{len(keys)} keys: expected at most {slots // 2}")
    slot_bits = max(1, (2 * len(keys) - 1).bit_length()) if keys else 1
    bucket_bits = min(max(1, slot_bits - 2), buckets.bit_length() - 1)
    draws = odd_numbers()
    for _ in range(_BUCKET_MULTIPLIERS):
        multiplier = next(draws)
        found = _place(keys, multiplier, WORD_BITS - bucket_bits, WORD_BITS - slot_bits)
        if found is not None:
            return PerfectHash(multiplier, WORD_BITS - bucket_bits, WORD_BITS - slot_bits, found)
    raise PerfectHashError(f"no perfect hash of {len(keys)} keys after {_BUCKET_MULTIPLIERS} tries")


def _place(keys: Collection[int], multiplier: int, bucket_shift: int, slot_shift: int) -> tuple[int, ...] | None:
    members: list[list[int]] = [[] for _ in range(1 << (WORD_BITS - bucket_shift))]
    for key in keys:
        members[(key * multiplier & _WORD) >> bucket_shift].append(key)
    taken: set[int] = set()
    multipliers = [1] * len(members)
    # The fullest buckets first, while there is still choice.
    for bucket in sorted(range(len(members)), key=lambda b: -len(members[b])):
        if not members[bucket]:
            break
        found = _multiplier_for(members[bucket], taken, slot_shift)
        if found is None:
            return None
        multipliers[bucket] = found
        taken.update((key * found & _WORD) >> slot_shift for key in members[bucket])
    return tuple(multipliers)


def _multiplier_for(keys: list[int], taken: set[int], slot_shift: int) -> int | None:
    draws = odd_numbers()
    for _ in range(_SLOT_MULTIPLIERS):
        candidate = next(draws)
        wanted = {(key * candidate & _WORD) >> slot_shift for key in keys}
        if len(wanted) == len(keys) and not wanted & taken:
            return candidate
    return None


def odd_numbers() -> Iterator[int]:
    """Odd 64-bit numbers in an order that looks random, always the same one: SplitMix64."""
    state = 0
    while True:
        state = (state + 0x9E3779B97F4A7C15) & _WORD
        mixed = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _WORD
        mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _WORD
        yield (mixed ^ mixed >> 31) | 1
