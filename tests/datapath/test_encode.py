"""What is refused before a map is touched, and what the bytes say."""

import dataclasses
import struct
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

import pytest

from edge.datapath import abi
from edge.datapath.abi import AddressFlag
from edge.datapath.addresses import network_of, vip_indexes
from edge.datapath.encode import EncodeError, encode, encode_decap, encode_directory, encode_pool, packed_rate
from edge.datapath.encode_tables import decap_addresses, forward_addresses, service_key
from edge.datapath.model import Backend, DecapState, Encap, Pool, Protocol, QuicLb, Rate, Service
from tests.datapath import world as w

VIP = IPv4Address(w.WEB)


def refused(interfaces: dict[int, bytes] = w.INTERFACES, **changes: Any) -> tuple[str, ...]:
    with pytest.raises(EncodeError) as caught:
        encode(dataclasses.replace(w.STATE, **changes), interfaces)
    return caught.value.problems


def test_s05_a_vip_that_is_a_machine_is_refused() -> None:
    assert refused(infrastructure=w.STATE.infrastructure | {VIP}) == (
        "vip 203.0.113.10 is also an address of the infrastructure or of a backend",
    )
    looped = dataclasses.replace(w.BACKENDS[0], address=VIP)
    assert refused(backends=(looped, *w.BACKENDS[1:])) == (
        "vip 203.0.113.10 is also an address of the infrastructure or of a backend",
    )


def test_s10_more_than_the_maps_hold_is_refused_with_every_reason() -> None:
    first = int(IPv4Address("203.1.0.0"))
    services = tuple(Service(n + 1, IPv4Address(first + n), Protocol.TCP, 80, 0) for n in range(4097))
    backends = tuple(Backend(n + 1, f"b{n}", IPv4Address((10 << 24) + n), Encap.GRE, w.HOP) for n in range(4097))
    assert refused(protection=dataclasses.replace(w.PROTECTION, reflection_ports=frozenset(range(1, 10)))) == (
        "reflection ports: 9, expected at most 8",
    )
    interfaces = {n + 1: w.OWN_MAC for n in range(33)}
    assert refused(interfaces, services=services, backends=backends, pools=w.POOLS[:1] * 257) == (
        "VIPs: 4105, expected at most 1023",
        "services: 4097, expected at most 4096",
        "backends: 4097, expected at most 4096",
        "the highest backend id: 4097, expected at most 4096",
        "the highest service id: 4097, expected at most 4096",
        "pools: 257, expected at most 256",
        "interfaces: 33, expected at most 32",
        "VIPs, infrastructure and backend addresses together: 8204, expected at most 8192",
    )


def test_contradictions_are_refused_all_at_once() -> None:
    twice = dataclasses.replace(w.STATE.services[0], pool=8)
    assert refused(
        mtu=619,
        services=(*w.STATE.services[:14], twice),
        backends=(*w.BACKENDS, dataclasses.replace(w.BACKENDS[0], id=0)),
        pools=(*w.POOLS[:7], Pool((1, 2, 3))),
    ) == (
        "mtu 619: expected 620..65535",
        "backend id 0: expected at least 1",
        "service id 1 is given twice",
        "pool 7 has 3 slots: expected 251",
        "service 203.0.113.10 tcp/80 is given twice",
        "service 1 names pool 8: expected 0..7",
    )


def service(number: int, vip: str, port: int = 80, pool: int = 0) -> Service:
    return Service(number, w.vip_of(vip), Protocol.TCP, port, pool)


def test_vip_prefixes_have_few_lengths_and_contain_no_machine() -> None:
    vips = [f"198.18.{n}.0/{24 + n}" for n in range(5)] + [f"2001:db8:{90 + n}::/{48 + n}" for n in range(5)]
    services = tuple(service(n + 1, vip) for n, vip in enumerate(vips))
    assert refused(services=services, echo_vips=frozenset()) == (
        "different lengths of IPv4 VIP prefixes: 5, expected at most 4",
        "different lengths of IPv6 VIP prefixes: 5, expected at most 4",
    )
    around = (service(1, "10.0.8.0/23"), service(2, "2001:db8:9::/48"))
    assert refused(services=around, echo_vips=frozenset(), backends=w.BACKENDS[:1], infrastructure=frozenset()) == (
        "vip 10.0.8.0/23 contains 10.0.9.1, an address of the infrastructure or of a backend",
    )
    assert refused(
        services=around[1:], echo_vips=frozenset(), backends=w.BACKENDS[7:8], infrastructure=frozenset()
    ) == ("vip 2001:db8:9::/48 contains 2001:db8:9::1, an address of the infrastructure or of a backend",)


def test_ipv6_needs_room_for_1280_bytes_in_every_tunnel_it_takes() -> None:
    assert refused(mtu=1323, services=(service(1, w.WEB6), service(2, w.SIX6, pool=8)), echo_vips=frozenset()) == (
        "mtu 1323 is too small for IPv6 through the tunnel to six-gre-1: expected at least 1324",
        "mtu 1323 is too small for IPv6 through the tunnel to six-gre-2: expected at least 1324",
    )
    narrow = dataclasses.replace(w.STATE, mtu=1324, services=(service(2, w.SIX6, pool=8),), echo_vips=frozenset())
    encode(narrow, w.INTERFACES)


def test_keys_server_ids_and_ipv6_backends_need_what_they_stand_on() -> None:
    keyed = dataclasses.replace(w.BACKENDS[4], key=7)
    beyond = dataclasses.replace(w.BACKENDS[11], key=1 << 32)
    assert refused(backends=(*w.BACKENDS[:4], keyed, *w.BACKENDS[5:11], beyond, *w.BACKENDS[12:])) == (
        "backend e2 has key 7: expected 0..4294967295, and encapsulation GRE",
        "backend keyed has key 4294967296: expected 0..4294967295, and encapsulation GRE",
    )
    assert refused(quic=QuicLb(config_id=7, length=4)) == (
        "quic server ids have 4 octets: expected 1..3",
        "quic config id 7: expected 0..6",
    )
    assert refused(quic=QuicLb(length=1)) == (
        "backend q1 has server id 257: expected 0..255",
        "backend q2 has server id 258: expected 0..255",
        "backend q3 has server id 65535: expected 0..255",
        "backend q4 has server id 513: expected 0..255",
    )
    twin = dataclasses.replace(w.BACKENDS[17], server_id=0x0101)
    assert refused(backends=(*w.BACKENDS[:17], twin, *w.BACKENDS[18:])) == ("pool 14: server id 257 is given twice",)
    assert refused(backends=(*w.BACKENDS[:7], w.BACKENDS[7]), outer_source6=None)[-1] == (
        "backend six-gre-1 is at 2001:db8:9::1: expected an outer_source6 to send from"
    )


def test_a_full_house_is_encoded() -> None:
    first = int(IPv4Address("203.1.0.0"))
    services = tuple(
        Service(n + 1, IPv4Address(first + n % 500), Protocol(6 + 11 * (n % 2)), 1 + n, 0) for n in range(4096)
    )
    backends = tuple(Backend(n + 1, f"b{n}", IPv4Address((10 << 24) + n), Encap.GRE, w.HOP) for n in range(4096))
    state = dataclasses.replace(w.STATE, services=services, backends=backends)
    assert len(encode_directory(state, w.INTERFACES)) == abi.FORWARD_DIRECTORY_SIZE


def test_equal_states_give_equal_bytes_and_pools_of_either_bank() -> None:
    one, two = (encode(w.STATE, w.INTERFACES, bank=bank) for bank in (0, 1))
    assert encode(dataclasses.replace(w.STATE), w.INTERFACES) == one
    count = len(w.POOLS)
    assert list(one.pools) == list(range(count))
    assert list(two.pools) == list(range(256, 256 + count))
    # each service in its table, and those of one port on one address in a second one; the pool's high octet differs
    single = sum(network_of(s.vip).prefixlen in (32, 128) and s.port > 0 for s in w.STATE.services)
    differences = [a - b for a, b in zip(two.directory, one.directory, strict=True) if a != b]
    assert differences == [1] * (len(w.STATE.services) + single)


def test_a_pool_is_eight_bytes_a_slot_and_an_empty_one_is_all_zero() -> None:
    assert encode_pool(Pool((1, 2, 65535)), 3) == struct.pack("<12H", 1, 0, 0, 0, 2, 0, 0, 0, 65535, 0, 0, 0)
    assert encode_pool(Pool(()), 3) == bytes(24)


def test_what_is_known_of_an_address() -> None:
    known, indexes = forward_addresses(w.STATE), vip_indexes(w.STATE)
    vip, echo, any_port, machine = AddressFlag.VIP, AddressFlag.ECHO, AddressFlag.ANY_PORT, AddressFlag.INFRASTRUCTURE
    wanted = {
        w.WEB: (vip | echo, 0),
        w.ANY: (vip | any_port, 0),
        w.NET: (vip, 0),
        w.NET_INNER: (vip | echo, 0),
        w.NET6: (vip | echo, 0),
        w.EDGE: (machine, 0),
        "10.0.9.1": (machine, 1),
        "2001:db8:9::1": (machine, 8),
    }
    for text, (flags, backend) in wanted.items():
        network = network_of(w.vip_of(text))
        index = indexes.get(network, 0)
        assert known[network] == (flags | index, backend), text
    assert len(known) == len(indexes) + len({network_of(b.address) for b in w.BACKENDS} | known.keys() - indexes.keys())


def test_what_a_backend_knows_of_an_address() -> None:
    known = decap_addresses(w.DECAP_STATE)
    own, edge, machine = AddressFlag.OWN | AddressFlag.INFRASTRUCTURE, AddressFlag.EDGE, AddressFlag.INFRASTRUCTURE
    expected = {w.OWN: own, w.OWN6: own, w.EDGE: edge, w.EDGE6: edge, w.MANAGEMENT6: machine, w.NET: AddressFlag.VIP}
    assert {text: known[network_of(w.vip_of(text))] for text in expected} == {t: (f, 0) for t, f in expected.items()}
    assert ip_network(w.EDGE_PREFIX) not in known


def test_service_keys_are_distinct_over_vip_protocol_and_port() -> None:
    keys = {
        service_key(vip, protocol, port) for vip in (1, 2, 1023) for protocol in Protocol for port in (0, 1, 80, 65535)
    }
    assert len(keys) == 24
    assert max(keys) < 1 << 32


def test_rates_are_an_interval_and_a_credit() -> None:
    def unpacked(rate: Rate) -> tuple[int, ...]:
        return abi.RATE_FORMAT.unpack(packed_rate(rate))

    assert unpacked(Rate(1000, 1)) == (1_000_000, 0)
    assert unpacked(Rate(1000, 11)) == (1_000_000, 10_000_000)
    assert unpacked(Rate(0, 5)) == (0, 0)


def test_a_decapsulator_state_too_large_or_looped_is_refused() -> None:
    edges = tuple(IPv4Network((n << 24, 8)) for n in range(1, 34))
    with pytest.raises(EncodeError) as caught:
        encode_decap(DecapState(frozenset({VIP}), frozenset({VIP}), edges))
    assert caught.value.problems == (
        "edge prefixes: 33, expected at most 32",
        "vip 203.0.113.10 is also the backend's own address",
    )
    with pytest.raises(EncodeError, match="the backend has no address of its own: expected at least one"):
        encode_decap(DecapState(frozenset(), frozenset({VIP}), edges[:1]))


def test_the_key_of_a_decapsulator_is_there_even_if_it_is_zero() -> None:
    for key, packed in ((None, (b"\0\0\0\0", 0)), (0, (b"\0\0\0\0", 1)), (w.KEY, (w.KEY.to_bytes(4, "big"), 1))):
        directory = encode_decap(dataclasses.replace(w.DECAP_STATE, key=key))
        assert abi.DECAP_SETTINGS_FORMAT.unpack_from(directory)[2:4] == packed
    assert len(directory) == abi.DECAP_DIRECTORY_SIZE


def test_prefixes_of_edges_of_both_families_are_laid_out() -> None:
    directory = encode_decap(w.DECAP_STATE)
    _, count, *_ = abi.DECAP_SETTINGS_FORMAT.unpack_from(directory)
    table = directory[-abi.MAX_PREFIXES * abi.PREFIX_FORMAT.size :]
    found = [abi.PREFIX_FORMAT.unpack_from(table, n * abi.PREFIX_FORMAT.size) for n in range(count)]
    assert [network[-4:].hex() for network, _ in found[:2]] == ["0a4d0000", "64400700"]
    assert [mask[-4:].hex() for _, mask in found[:2]] == ["ffff0000", "ffffff00"]
    assert found[2] == (w.OUTER6.network_address.packed, w.OUTER6.netmask.packed)
