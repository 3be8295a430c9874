"""The block list: what is read from a file of prefixes, what is refused, and which prefix holds a source."""

import gc
import tracemalloc
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.datapath import abi
from edge.datapath.blocklist import BlockList, BlockListError, parse

TEXT = """\
# sources of last week
203.0.113.0/24
203.0.113.7      # an address alone
198.51.100.0/25
2001:db8:0::/48

203.0.113.0/24   # again
2001:DB8::1
"""


def read(text: str, *, dry_run: bool = False) -> BlockList:
    return parse(text.splitlines(), "b.txt", dry_run=dry_run)


def complaints(text: str) -> list[str]:
    with pytest.raises(BlockListError) as caught:
        read(text)
    assert len(caught.value.problems) == len(str(caught.value).splitlines())
    return str(caught.value).splitlines()


def prefixes(found: BlockList) -> list[str]:
    return [str(found.prefix(number)) for number in range(found.count4 + found.count6)]


def test_prefixes_of_both_families_become_ascending_keys_each_once() -> None:
    found = read(TEXT)
    assert prefixes(found) == [
        "198.51.100.0/25",
        "203.0.113.0/24",
        "203.0.113.7/32",
        "2001:db8::/48",
        "2001:db8::1/128",
    ]
    assert (found.count4, found.count6) == (3, 2)
    assert found.keys4[:8] == abi.BLOCK_KEY4_FORMAT.pack(25, bytes((198, 51, 100, 0)))
    assert found.keys6[-20:] == abi.BLOCK_KEY6_FORMAT.pack(128, IPv6Address("2001:db8::1").packed)
    for wrong in (-1, 5):
        with pytest.raises(IndexError, match=rf"index {wrong}: expected 0\.\.4"):
            found.prefix(wrong)


def test_the_longest_prefix_holds_a_source() -> None:
    found = read(TEXT)

    def named(address: IPv4Address | IPv6Address) -> str | None:
        number = found.index(address)
        return None if number is None else str(found.prefix(number))

    assert named(IPv4Address("203.0.113.7")) == "203.0.113.7/32"
    assert named(IPv4Address("203.0.113.8")) == "203.0.113.0/24"
    assert named(IPv4Address("198.51.100.128")) is None
    assert named(IPv6Address("2001:db8::1")) == "2001:db8::1/128"
    assert named(IPv6Address("2001:db8::2")) == "2001:db8::/48"
    assert named(IPv6Address("::203.0.113.7")) is None


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_source_in_the_list_is_blocked_or_only_counted(dry_run: bool) -> None:
    found = read(TEXT, dry_run=dry_run)
    assert found.lookup(IPv4Address("203.0.113.8")) is dry_run
    assert found.lookup(IPv4Address("192.0.2.1")) is None


def test_the_digest_is_of_content_and_mode_and_not_of_how_it_is_written() -> None:
    assert read(TEXT).digest == read("\n".join(reversed(TEXT.splitlines()))).digest
    others = {read(TEXT, dry_run=True).digest, read("203.0.113.0/24").digest, read("").digest, read(TEXT).digest}
    assert len(others) == 4


def test_an_empty_file_blocks_nobody() -> None:
    found = read("# nobody\n\n")
    assert (found.keys4, found.keys6, found.lookup(IPv4Address("192.0.2.1"))) == (b"", b"", None)


def test_every_bad_line_is_named_with_what_was_expected() -> None:
    lines = ["203.0.113.9/24", "2001:db8::1/64", "0.0.0.0/0", "::/0", "192.0.2.1/33", "example.org", "01.2.3.4",
             "192.0.2.0/255.255.255.0", "fe80::1%eth0", "::ffff:192.0.2.1", "192.0.2.0 192.0.3.0",
             "1:2:3:4:5:6:7::8"]  # fmt: skip
    wanted = "expected a prefix such as 192.0.2.0/24 or 2001:db8::/32"
    every = "expected a length of 1 or more, because this blocks every client"
    expected = ["expected 203.0.113.0/24", "expected 2001:db8::/64", every, every, wanted, wanted, wanted,
                "expected 192.0.2.0/24", wanted, "expected ::ffff:c000:201/128", wanted, wanted]  # fmt: skip
    found = complaints("198.51.100.1\n" + "\n".join(lines))
    assert found == [
        f"b.txt:{number}: '{line}': {text}" for number, (line, text) in enumerate(zip(lines, expected, strict=True), 2)
    ]


def test_twenty_bad_lines_are_shown_and_the_others_counted() -> None:
    found = complaints("\n".join(f"bad{number}" for number in range(500)))
    assert len(found) == 21
    assert found[19].startswith("b.txt:20: 'bad19': expected")
    assert found[20] == "b.txt:500: the last of 480 more bad line(s)"
    assert len(complaints("\n".join(f"bad{number}" for number in range(20)))) == 20


NUMBERS4, NUMBERS6 = st.integers(0, 2**32 - 1), st.integers(0, 2**128 - 1)
NETWORKS = st.one_of(
    st.builds(lambda n, bits: IPv4Network((n, bits), strict=False), NUMBERS4, st.integers(1, 32)),
    st.builds(lambda n, bits: IPv6Network((n, bits), strict=False), NUMBERS6, st.integers(1, 128)),
    st.builds(lambda n, bits: IPv6Network((n << 112, bits), strict=False), st.integers(0, 7), st.integers(1, 128)),
)


@given(st.lists(NETWORKS, max_size=30), st.data())
def test_it_agrees_with_ipaddress(networks: list[IPv4Network | IPv6Network], data: st.DataObject) -> None:
    found = parse((data.draw(st.sampled_from([str(n), n.exploded])) for n in networks), "b.txt")
    assert set(prefixes(found)) == {str(network) for network in networks}
    near = [network[data.draw(st.integers(0, network.num_addresses - 1))] for network in networks]
    for address in (*near, IPv4Address(data.draw(NUMBERS4)), IPv6Address(data.draw(NUMBERS6))):
        holding = [n for n in networks if n.version == address.version and address in n]
        number = found.index(address)
        longest = max(holding, key=lambda n: n.prefixlen, default=None)
        assert (None if number is None else found.prefix(number)) == longest


@given(st.text(alphabet="0123456789abf:./ %-+_", max_size=24))
def test_what_is_read_is_what_ipaddress_reads(text: str) -> None:
    try:
        found = read(text)
    except BlockListError:
        return
    assert prefixes(found) == ([str(ip_network(text.strip()))] if text.strip() else [])


def test_a_list_that_was_read_is_held_in_its_keys_alone() -> None:
    def lines(count: int) -> Iterator[str]:
        for number in range(count):
            yield f"198.{18 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
            yield f"2001:db8:{number:x}::/48"

    parse(lines(10), "b.txt")
    gc.collect()
    tracemalloc.start()
    try:
        found = parse(lines(2_000), "b.txt")
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.count4, found.count6) == (2_000, 2_000)
    assert held < 2_000 * (8 + 20) * 1.1
