"""Perfect hashes over sixteen bytes and a number: slots of their own, within the table, the same every time."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.datapath.perfecthash import PerfectHashError
from edge.datapath.perfecthash_wide import WideKey, find_wide_hash

KEYS = st.sets(st.tuples(st.binary(min_size=16, max_size=16), st.integers(0, 255)), max_size=64)


def spread(keys: set[WideKey], buckets: int = 4096, slots: int = 16384) -> set[int]:
    found = find_wide_hash(keys, buckets=buckets, slots=slots)
    return {found.slot(key) for key in keys}


@settings(deadline=None)
@given(KEYS)
def test_keys_get_slots_of_their_own(keys: set[WideKey]) -> None:
    assert len(spread(keys)) == len(keys)


@pytest.mark.parametrize("step", [1, 1 << 16, 1 << 64, 1 << 80, 1 << 120])
def test_regular_addresses_are_no_harder(step: int) -> None:
    first = int(IPv6Address("2001:db8::"))
    keys = {(((first + n * step) % (1 << 128)).to_bytes(16, "big"), 128) for n in range(256)}
    assert len(spread(keys)) == len(keys)


def test_one_address_with_every_prefix_length_has_many_slots() -> None:
    keys = {(IPv6Address("2001:db8::").packed, length) for length in range(129)}
    assert len(spread(keys)) == 129


def test_a_full_table_of_the_forwarder_is_found() -> None:
    first = int(IPv6Address("2001:db8::"))
    keys = {((first + 13 * n).to_bytes(16, "big"), 128) for n in range(8192)}
    assert len(spread(keys)) == 8192


def test_one_key_more_is_refused() -> None:
    keys = {(bytes(15) + bytes((n,)), 128) for n in range(9)}
    with pytest.raises(PerfectHashError, match="9 keys: expected at most 8"):
        find_wide_hash(keys, buckets=8, slots=16)


def test_the_same_keys_give_the_same_table_in_any_order() -> None:
    keys = [(IPv6Address(3 * n).packed, 128) for n in range(300)]
    assert find_wide_hash(keys, buckets=4096, slots=16384) == find_wide_hash(keys[::-1], buckets=4096, slots=16384)
