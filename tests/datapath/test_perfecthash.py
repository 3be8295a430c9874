"""The search for perfect hashes: every set of keys gets slots of its own, within the table, the same every time."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.datapath.perfecthash import WORD_BITS, PerfectHashError, find_perfect_hash

KEYS = st.sets(st.integers(0, (1 << WORD_BITS) - 1), max_size=64)


@settings(deadline=None)
@given(KEYS)
def test_keys_get_slots_of_their_own_and_few_keys_few_slots(keys: set[int]) -> None:
    found = find_perfect_hash(keys, buckets=4096, slots=16384)
    slots = {found.slot(key) for key in keys}
    assert len(slots) == len(keys)
    assert max(slots, default=0) < 1 << (WORD_BITS - found.slot_shift) <= max(2, 4 * len(keys))
    assert len(found.multipliers) == 1 << (WORD_BITS - found.bucket_shift) <= 4096


@pytest.mark.parametrize("step", [1, 2, 256, 65536, 0x01000000, 0x9E3779B9, 1 << 32, 1 << 48])
def test_regular_keys_are_no_harder(step: int) -> None:
    keys = sorted({(0x0A000000 + n * step) & ((1 << WORD_BITS) - 1) for n in range(200)})
    found = find_perfect_hash(keys, buckets=4096, slots=16384)
    assert len({found.slot(key) for key in keys}) == len(keys)


def test_a_full_table_of_the_forwarder_is_found() -> None:
    keys = [0x0A000000 + 7 * n for n in range(8192)]
    found = find_perfect_hash(keys, buckets=4096, slots=16384)
    assert len({found.slot(key) for key in keys}) == len(keys)
    assert (found.bucket_shift, found.slot_shift) == (WORD_BITS - 12, WORD_BITS - 14)


def test_one_key_more_is_refused() -> None:
    with pytest.raises(PerfectHashError, match="9 keys: expected at most 8"):
        find_perfect_hash(range(9), buckets=8, slots=16)


def test_the_same_keys_give_the_same_table_in_any_order() -> None:
    keys = [0xC0A80001 + 3 * n for n in range(300)]
    assert find_perfect_hash(keys, buckets=4096, slots=16384) == find_perfect_hash(
        keys[::-1], buckets=4096, slots=16384
    )


def test_every_key_that_was_not_given_still_has_a_slot_within_the_table() -> None:
    found = find_perfect_hash([1, 2, 3], buckets=32, slots=64)
    assert {found.slot(key) < 64 for key in range(0, 1 << WORD_BITS, (1 << WORD_BITS) // 40961)} == {True}
