"""Maglev's lookup_table: which member of a pool owns each slot (Eisenbud et al., NSDI 2016, section 3.4).

Every node computes the same table from the same members, whatever order they are listed in. A weight is the share of
turns a member gets to pick its next preferred slot; equal weights are the paper's algorithm exactly.

`edge.native.maglev` builds the same table some thirty times as fast; this is what it must equal, and its stand-in.
"""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

import mmh3

Populate = Callable[[Sequence[str], Mapping[int, int], int], Sequence[int]]
"""Fills a table: (keys, index -> weight above 0, size) -> the index that owns each slot."""

_BY_KEY = attrgetter("key", "weight")


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """A backend as the table knows it: `key` is its identity on every node, `weight` its share (0: no slots)."""

    key: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class LookupTable:
    """`slots[i]` indexes `keys`; it is -1 in every slot when nobody has a weight. `keys` are sorted."""

    keys: tuple[str, ...]
    slots: Sequence[int]

    @property
    def digest(self) -> str:
        """SHA-256 of who owns each slot, in hex: equal on two nodes exactly when they forward alike."""
        body = hashlib.sha256(repr((len(self.slots), self.keys)).encode())
        body.update(array("i", self.slots).tobytes())
        return body.hexdigest()

    def shares(self) -> dict[str, int]:
        """Slots per key, 0 for a key that owns none."""
        count = Counter(self.slots)
        return {key: count[index] for index, key in enumerate(self.keys)}

    def owner(self, slot: int) -> str | None:
        """The key that owns `slot`, None in an empty table."""
        index = self.slots[slot]
        return None if index < 0 else self.keys[index]


def build(members: Sequence[Member], size: int, populate: Populate | None = None) -> LookupTable:
    """The lookup_table of `size` slots, `size` being prime. Members of weight 0 keep their key and get no slot.

    `populate` fills it; None: the one of this file.
    """
    ordered = sorted(members, key=_BY_KEY)
    keys = tuple(member.key for member in ordered)
    weights = {index: member.weight for index, member in enumerate(ordered) if member.weight > 0}
    if not weights:
        return LookupTable(keys, array("i", [-1]) * size)
    return LookupTable(keys, (populate or populate_slowly)(keys, weights, size))


def permutation(key: str, size: int) -> tuple[int, int]:
    """(offset, skip) of a key: it prefers the slots offset, offset + skip, offset + 2 skip ... modulo `size`."""
    digest = key_hash(key)
    offset = int.from_bytes(digest[:8], "little") % size
    skip = int.from_bytes(digest[8:], "little") % (size - 1) + 1
    return offset, skip


def key_hash(key: str) -> bytes:
    """MurmurHash3 x64_128 of a key: 8 bytes for the offset, 8 for the skip, both little-endian."""
    return mmh3.mmh3_x64_128_digest(key.encode())


def populate_slowly(keys: Sequence[str], weights: Mapping[int, int], size: int) -> Sequence[int]:
    """Fill a table in Python: some 50 ms for 65,537 slots. See `Populate`."""
    slots = array("i", [-1]) * size
    heaviest = max(weights.values())
    cursors, skips = {}, {}
    for index in weights:
        cursors[index], skips[index] = permutation(keys[index], size)
    credit = dict.fromkeys(weights, 0)
    left = size
    while True:
        for index, weight in weights.items():
            credit[index] += weight
            if credit[index] < heaviest:
                continue
            credit[index] -= heaviest
            slot, skip = cursors[index], skips[index]
            while slots[slot] >= 0:
                slot += skip
                if slot >= size:
                    slot -= size
            cursors[index] = slot
            slots[slot] = index
            left -= 1
            if not left:
                return slots


def moved(before: LookupTable, after: LookupTable) -> int:
    """The number of slots whose owner differs; divided by the size it is the disruption. Sizes must be equal."""
    return sum(
        (before.keys[a] if a >= 0 else None) != (after.keys[b] if b >= 0 else None)
        for a, b in zip(before.slots, after.slots, strict=True)
    )


def imbalance(table: LookupTable) -> float:
    """Most slots of a member over the mean of those that have any (RFC 2992's measure); 1.0 is perfect."""
    shares = [share for share in table.shares().values() if share]
    return max(shares) * len(shares) / sum(shares) if shares else 1.0


def is_prime(number: int) -> bool:
    """Whether `number` is prime, by trial division; table sizes are small enough for that."""
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def nearest_prime(number: int) -> int:
    """The prime nearest to `number`, the smaller of two; at least 2."""
    for distance in range(max(number, 2)):
        for candidate in (number - distance, number + distance):
            if is_prime(candidate):
                return candidate
    return 2
