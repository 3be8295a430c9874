"""What stands in front of a packet to a backend: whole but for what a packet decides."""

import dataclasses
import struct
from array import array
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

import pytest

from edge.datapath import abi
from edge.datapath.abi import Kind
from edge.datapath.encode_backend import encode_backend, overhead_of
from edge.datapath.model import LOCAL_DELIVERY, Backend, Encap
from tests.datapath import world as w
from tests.datapath.expect import tunnelled
from tests.datapath.frames import ones_complement, tcp

MTU = 1500
INNER = {4: w.WEB, 6: w.WEB6}


class Packed(NamedTuple):
    """The fields of `struct backend` up to its header."""

    size: int
    limit: int
    kind: int
    link: int
    outer: int
    ifindex: int
    checksum: int
    header: bytes


def packed(backend: Backend, inner: int = 4) -> Packed:
    return Packed(*abi.BACKEND_FORMAT.unpack(encode_backend(backend, MTU, inner))[:8])


def blank(header: bytes, link: int, version: int) -> bytes:
    """A header with what depends on the packet taken out: TOS, lengths, checksum, source, flow label."""
    given = bytearray(header)
    places = ((1, 4), (10, 16)) if version == 4 else ((1, 6), (8, 24))
    for first, last in places:
        given[link + first : link + last] = bytes(last - first)
    if version == 6:
        given[link] = 0x60
    return bytes(given)


@pytest.mark.parametrize("inner", [4, 6])
@pytest.mark.parametrize("number", [1, 4, 8, 10, 12, 13, 14, 15, 17, 18, 19])
def test_a_header_is_what_scapy_builds_but_for_what_the_program_fills_in(number: int, inner: int) -> None:
    backend = w.backend(number)
    found, version = packed(backend, inner), backend.address.version
    whole = tunnelled(tcp(INNER[inner]), backend, 0)
    link = 18 if backend.next_hop and backend.next_hop.vlan else 14
    assert found.link == link
    assert blank(whole[: found.size], link, version) == blank(found.header[: found.size], link, version)
    assert found.header[: found.size] == blank(found.header[: found.size], link, version)
    assert (found.size, found.outer) == (link + overhead_of(backend), overhead_of(backend))
    assert (found.kind, found.ifindex, found.limit) == (Kind(version // 2 - 1), 1, MTU - found.outer)
    assert not any(found.header[found.size :])


@pytest.mark.parametrize("number", [1, 4, 12, 14])
def test_the_sum_of_the_constant_words_makes_the_checksum(number: int) -> None:
    found = packed(w.backend(number))
    folded = (found.checksum & 0xFFFF) + (found.checksum >> 16)
    header = found.header[found.link : found.link + 20]
    assert struct.pack("<H", ~folded & 0xFFFF) == struct.pack(">H", ones_complement(header))
    assert found.checksum == sum(array("H", header))


def test_overheads() -> None:
    address, six = ip_address("10.0.9.1"), IPv6Address("2001:db8:9::1")
    for where, plain, gre, keyed in ((address, 20, 24, 28), (six, 40, 44, 48)):
        backend = Backend(1, "b", where, Encap.IPIP, w.HOP)
        assert overhead_of(backend) == plain
        assert overhead_of(dataclasses.replace(backend, encap=Encap.GRE)) == gre
        assert overhead_of(dataclasses.replace(backend, encap=Encap.GRE, key=0)) == keyed
        assert overhead_of(dataclasses.replace(backend, next_hop=LOCAL_DELIVERY)) == 0


def test_a_backend_without_a_next_hop_has_interface_0() -> None:
    found = packed(dataclasses.replace(w.BACKENDS[0], next_hop=None))
    assert (found.ifindex, found.kind) == (0, Kind.IPV4)


def test_a_backend_on_this_host_has_no_header() -> None:
    found = packed(w.backend(16))
    assert (found.kind, found.size, found.ifindex) == (Kind.LOCAL, 0, 0)


def test_the_longest_header_has_room() -> None:
    hop = dataclasses.replace(w.HOP, vlan=w.LAST_VLAN)
    found = packed(Backend(1, "b", IPv6Address("2001:db8:9::1"), Encap.GRE, hop, w.KEY), 6)
    assert found.size == 18 + 48 <= abi.HEADER_ROOM
