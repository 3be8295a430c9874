"""Addresses and prefixes of both families in one form."""

from ipaddress import IPv6Network, ip_address, ip_network

import pytest

from edge.datapath import addresses
from edge.datapath.addresses import is_single, lengths, network_of, order, vip_indexes, wide, wide_length, wide_mask
from edge.datapath.oracle_addresses import Addresses
from tests.datapath import world as w


@pytest.mark.parametrize(
    ("given", "packed", "length"),
    [
        ("0.0.0.0/0", "00000000000000000000ffff00000000", 96),
        ("198.18.7.0/24", "00000000000000000000ffffc6120700", 120),
        ("203.0.113.10/32", "00000000000000000000ffffcb00710a", 128),
        ("2001:db8::/48", "20010db8000000000000000000000000", 48),
        ("2001:db8::1/128", "20010db8000000000000000000000001", 128),
        ("::/0", "00000000000000000000000000000000", 0),
    ],
)
def test_both_families_are_sixteen_bytes(given: str, packed: str, length: int) -> None:
    network = ip_network(given)
    assert (wide(network.network_address).hex(), wide_length(network)) == (packed, length)
    mask = wide_mask(network)
    assert int.from_bytes(mask, "big") == ((1 << length) - 1) << (128 - length)
    assert bytes(a & b for a, b in zip(wide(network.network_address), mask, strict=True)).hex() == packed


def test_an_address_is_a_prefix_of_full_length() -> None:
    assert network_of(ip_address("192.0.2.1")) == ip_network("192.0.2.1/32")
    assert is_single(network_of(ip_address("2001:db8::1")))
    assert not is_single(ip_network("2001:db8::/127"))


def test_prefixes_are_sorted_by_family_address_and_length() -> None:
    texts = ("10.0.0.0/8", "10.0.0.0/24", "10.0.0.0/32", "11.0.0.0/8", "::/0", "2001:db8::/32", "2001:db8::/48")
    networks = [ip_network(text) for text in texts]
    assert sorted([*networks[3:], *networks[:3]], key=order) == networks


def test_lengths_are_those_of_prefixes_alone_longest_first() -> None:
    networks = [ip_network(t) for t in ("10.0.0.0/8", "10.0.0.0/24", "10.1.0.0/24", "10.0.0.1/32", "2001:db8::/48")]
    assert lengths(networks, 4) == [120, 104]
    assert lengths(networks, 6) == [48]
    assert lengths(networks[3:4], 4) == []


def test_every_vip_of_the_world_has_an_index_of_its_own() -> None:
    indexes = vip_indexes(w.STATE)
    assert sorted(indexes.values()) == list(range(1, len(indexes) + 1))
    assert ip_network(w.SILENT) in indexes  # it only answers echo
    assert ip_network(w.NET6_INNER) in indexes
    assert vip_indexes(w.TAGGED) == indexes


@pytest.mark.parametrize(
    ("address", "vip"),
    [
        ("198.18.7.5", w.NET),
        ("198.18.7.128", w.NET_INNER),
        (w.NET_ONE, w.NET_ONE),
        ("198.18.8.0", None),
        (w.WEB, w.WEB),
        ("2001:db8:20:77::1", w.NET6),
        ("2001:db8:20:1::77", w.NET6_INNER),
        (w.NET6_ONE, w.NET6_ONE),
        ("2001:db8:21::", None),
        (w.EDGE, None),
    ],
)
def test_the_longest_prefix_names_the_vip(address: str, vip: str | None) -> None:
    found = Addresses({s.vip for s in w.STATE.services}, (), ())
    assert found.vip_of(ip_address(address)) == (ip_network(vip) if vip else None)


def test_a_machine_within_a_vip_prefix_is_no_vip() -> None:
    found = Addresses({ip_network("198.18.7.0/24")}, {ip_address("198.18.7.9")}, ())
    assert found.vip_of(ip_address("198.18.7.9")) is None
    assert found.vip_of(ip_address("198.18.7.10")) is not None


def test_martians_of_ipv4_are_whole_prefixes_of_first_octets_or_one_of_sixteen_bits() -> None:
    assert [str(n) for n in addresses.MARTIANS4] == [
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
    ]
    assert IPv6Network("::/96").supernet_of(IPv6Network("::1/128"))
