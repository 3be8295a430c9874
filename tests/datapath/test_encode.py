"""What is refused before a map is touched, and what the bytes say."""

import dataclasses
import struct
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from edge.datapath import abi
from edge.datapath.checks import vip_indexes
from edge.datapath.encode import (
    EncodeError,
    Rate,
    encode,
    encode_backend,
    encode_decap,
    encode_directory,
    encode_pool,
    overhead_of,
    service_key,
)
from edge.datapath.model import Backend, DecapState, Encap, Pool, Protocol, Service
from tests.datapath import world as w
from tests.datapath.frames import ones_complement

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
    interfaces = {n + 1: w.OWN_MAC for n in range(33)}
    assert refused(interfaces, services=services, backends=backends, pools=w.POOLS[:1] * 257) == (
        "VIPs: 4100, expected at most 512",
        "services: 4097, expected at most 4096",
        "backends: 4097, expected at most 4096",
        "the highest backend id: 4097, expected at most 4096",
        "the highest service id: 4097, expected at most 4096",
        "pools: 257, expected at most 256",
        "interfaces: 33, expected at most 32",
        "VIPs, infrastructure and backend addresses together: 8199, expected at most 8192",
    )


def test_contradictions_are_refused_all_at_once() -> None:
    twice = dataclasses.replace(w.STATE.services[0], pool=8)
    assert refused(
        mtu=619,
        services=(*w.STATE.services, twice),
        backends=(*w.BACKENDS, dataclasses.replace(w.BACKENDS[0], id=0)),
        pools=(*w.POOLS[:7], Pool((1, 2, 3))),
    ) == (
        "mtu 619: expected 620..65535",
        "backend id 0: expected at least 1",
        "service id 1 is given twice",
        "service 203.0.113.10 tcp/80 is given twice",
        "service 1 names pool 8: expected 0..7",
        "pool 7 has 3 slots: expected 251",
    )


def test_a_full_house_is_encoded() -> None:
    first = int(IPv4Address("203.1.0.0"))
    services = tuple(
        Service(n + 1, IPv4Address(first + n % 509), Protocol(6 + 11 * (n % 2)), 1 + n, 0) for n in range(4096)
    )
    backends = tuple(Backend(n + 1, f"b{n}", IPv4Address((10 << 24) + n), Encap.GRE, w.HOP) for n in range(4096))
    state = dataclasses.replace(w.STATE, services=services, backends=backends)
    assert len(encode_directory(state, w.INTERFACES)) == abi.FORWARD_DIRECTORY_SIZE


def test_equal_states_give_equal_bytes_and_pools_of_either_bank() -> None:
    one, two = (encode(w.STATE, w.INTERFACES, bank=bank) for bank in (0, 1))
    assert encode(dataclasses.replace(w.STATE), w.INTERFACES) == one
    assert list(one.pools) == list(range(8))
    assert list(two.pools) == list(range(256, 264))
    assert [a - b for a, b in zip(two.directory, one.directory, strict=True) if a != b] == [1]


def test_a_pool_is_eight_bytes_a_slot_and_an_empty_one_is_all_zero() -> None:
    assert encode_pool(Pool((1, 2, 65535)), 3) == struct.pack("<12H", 1, 0, 0, 0, 2, 0, 0, 0, 65535, 0, 0, 0)
    assert encode_pool(Pool(()), 3) == bytes(24)


@pytest.mark.parametrize("encap", list(Encap))
def test_a_backend_header_is_whole_but_for_what_the_program_fills_in(encap: Encap) -> None:
    packed = encode_backend(Backend(1, "b", IPv4Address("10.0.9.1"), encap, w.HOP), 1500)
    header, overhead, ifindex, total, limit = abi.BACKEND_FORMAT.unpack(packed)
    assert header[:14] == w.ROUTER_MAC + w.OWN_MAC + b"\x08\0"
    assert header[14:34] == bytes.fromhex("45000000 00004000 40") + bytes((encap,)) + bytes.fromhex(
        "0000 00000000 0a000901"
    )
    assert header[34:] == (b"\0\0\x08\0" if encap is Encap.GRE else bytes(4))
    assert (overhead, ifindex, limit) == (overhead_of(encap), 1, 1500 - overhead)
    folded = (total & 0xFFFF) + (total >> 16)
    assert struct.pack("<H", ~folded & 0xFFFF) == struct.pack(">H", ones_complement(header[14:34]))


def test_a_backend_without_a_next_hop_has_interface_0() -> None:
    packed = encode_backend(dataclasses.replace(w.BACKENDS[0], next_hop=None), 1500)
    assert abi.BACKEND_FORMAT.unpack(packed)[2] == 0


def test_service_keys_are_distinct_over_vip_protocol_and_port() -> None:
    keys = {
        service_key(vip, protocol, port) for vip in (1, 2, 512) for protocol in Protocol for port in (0, 1, 80, 65535)
    }
    assert len(keys) == 24
    assert max(keys) < 1 << 32
    assert list(vip_indexes(w.STATE).values()) == list(range(1, 13))


def test_rates_are_an_interval_and_a_credit() -> None:
    assert Rate(1000, 1).packed() == (1_000_000, 0)
    assert Rate(1000, 11).packed() == (1_000_000, 10_000_000)
    assert Rate(0, 5).packed() == (0, 0)


def test_a_decapsulator_state_too_large_or_looped_is_refused() -> None:
    edges = tuple(IPv4Network((n << 24, 8)) for n in range(1, 34))
    state = DecapState(VIP, frozenset({VIP}), edges)
    with pytest.raises(EncodeError) as caught:
        encode_decap(state)
    assert caught.value.problems == (
        "edge prefixes shorter than /32: 33, expected at most 32",
        "vip 203.0.113.10 is also the backend's own address",
    )
