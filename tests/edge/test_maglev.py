"""The lookup_table against the paper's definition and its promises."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import maglev
from edge.maglev import Member

POOLS = st.lists(
    st.builds(Member, st.text("abcdef0123456789.", min_size=1, max_size=8), st.integers(0, 5)),
    unique_by=lambda member: member.key, min_size=1, max_size=12,
)  # fmt: skip


def reference(members: list[Member], size: int) -> list[str]:
    """Pseudo-code 1 of the paper, member by member in turn, for equal weights."""
    keys = sorted(member.key for member in members)
    nexts, entry = dict.fromkeys(keys, 0), [""] * size
    filled = 0
    while True:
        for key in keys:
            offset, skip = maglev.permutation(key, size)
            slot = (offset + nexts[key] * skip) % size
            while entry[slot]:
                nexts[key] += 1
                slot = (offset + nexts[key] * skip) % size
            entry[slot] = key
            nexts[key] += 1
            filled += 1
            if filled == size:
                return entry


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_equal_weights_are_the_papers_algorithm(count: int) -> None:
    members = [Member(f"10.0.0.{number}") for number in range(count)]
    table = maglev.build(members, 251)
    assert [table.owner(slot) for slot in range(251)] == reference(members, 251)


@given(POOLS)
@settings(deadline=None)
def test_the_order_of_members_does_not_matter(members: list[Member]) -> None:
    assert maglev.build(members[::-1], 101).digest == maglev.build(members, 101).digest


@given(POOLS)
@settings(deadline=None)
def test_every_slot_has_an_owner_with_a_weight(members: list[Member]) -> None:
    table = maglev.build(members, 101)
    weights = {member.key: member.weight for member in members}
    owners = {table.owner(slot) for slot in range(101)}
    if any(weights.values()):
        assert all(owner is not None and weights[owner] for owner in owners)
        assert sum(table.shares().values()) == 101
    else:
        assert owners == {None}


@given(POOLS)
@settings(deadline=None)
def test_different_tables_have_different_digests(members: list[Member]) -> None:
    table = maglev.build(members, 101)
    other = maglev.build([*members, Member("another", 5)], 101)
    assert maglev.moved(table, table) == 0
    assert other.digest != table.digest
    assert maglev.moved(table, other) >= 1


def test_a_hundred_equal_backends_are_balanced_within_one_percent() -> None:
    table = maglev.build([Member(f"10.0.1.{number}") for number in range(100)], 65537)
    assert maglev.imbalance(table) < 1.01


def test_weights_are_met_within_one_percent() -> None:
    members = [Member(f"10.0.1.{number}", weight) for number, weight in enumerate([1, 2, 3, 5, 8, 13] * 5)]
    shares = maglev.build(members, 65537).shares()
    total = sum(member.weight for member in members)
    for member in members:
        assert shares[member.key] == pytest.approx(65537 * member.weight / total, rel=0.01)


def test_a_backend_that_returns_gets_its_old_slots_and_one_that_leaves_disturbs_few_others() -> None:
    members = [Member(f"10.0.1.{number}") for number in range(100)]
    full, less = maglev.build(members, 65537), maglev.build(members[1:], 65537)
    assert maglev.build(members, 65537).digest == full.digest
    assert 0.01 <= maglev.moved(full, less) / 65537 < 0.02


def test_primes_are_those_of_a_sieve() -> None:
    composite = {a * b for a in range(2, 1000) for b in range(2, 1000 // a + 1)}
    assert [n for n in range(1000) if maglev.is_prime(n)] == [n for n in range(2, 1000) if n not in composite]


@given(st.integers(0, 100_000))
def test_the_nearest_prime_is_prime_and_no_prime_is_nearer(number: int) -> None:
    prime = maglev.nearest_prime(number)
    distance = abs(prime - number)
    assert maglev.is_prime(prime)
    assert not any(maglev.is_prime(near) for near in range(number - distance + 1, number + distance))
