"""The choice of a next hop, and the netlink messages it is fed from; no kernel."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.datapath import netlink, rtnetlink
from edge.datapath.model import LOCAL_DELIVERY, NextHop
from edge.datapath.netlink import Hop, NetlinkError
from edge.datapath.next_hop import Choice, Facts, Finding, choose
from edge.datapath.rtnetlink import LinkFact, NeighbourFact

BACKEND = IPv4Address("10.9.0.1")
OWN = {1: bytes.fromhex("02aa00000001"), 2: bytes.fromhex("02aa00000002"), 3: bytes.fromhex("02aa00000003")}
GATEWAYS = {1: IPv4Address("10.0.1.0"), 2: IPv4Address("10.0.2.0"), 3: IPv4Address("10.0.3.0")}


def far(ifindex: int) -> bytes:
    return bytes.fromhex(f"02bb0000000{ifindex}")


def facts(*up: int, macs: dict[int, bytes] | None = None, stale: bool = False, usable: bool = True) -> Facts:
    links = {index: LinkFact(index, f"eth{index}", OWN[index], index in up) for index in OWN}
    known = {index: far(index) for index in OWN} if macs is None else macs
    found = Facts(links, {})
    for index, mac in known.items():
        found.learn_neighbour(NeighbourFact(index, GATEWAYS[index], mac, usable, stale), gone=False)
    return found


def hops(*indexes: int, dead: int = 0) -> tuple[Hop, ...]:
    return tuple(Hop(index, GATEWAYS[index], index == dead) for index in indexes)


def via(index: int) -> NextHop:
    return NextHop(index, OWN[index], far(index))


def test_a_way_by_a_silent_router_is_taken_only_when_there_is_no_other() -> None:
    ways, known = hops(1, 2), facts(1, 2)
    usual = choose(BACKEND, ways, known)
    assert usual.only == 0
    for index in (1, 2):
        other = 3 - index
        found = choose(BACKEND, ways, known, {GATEWAYS[index]})
        assert (found.next_hop, found.finding, found.only) == (via(other), Finding.RESOLVED, other)
    assert choose(BACKEND, ways, known, {GATEWAYS[1], GATEWAYS[2]}) == usual
    assert choose(BACKEND, hops(1), known, {GATEWAYS[1]}) == choose(BACKEND, hops(1), known)
    assert choose(BACKEND, ways, facts(1, 2, macs={1: far(1)}), {GATEWAYS[1]}).next_hop == via(1), "2 is not resolved"


def test_a_silent_router_is_known_by_its_other_addresses_on_that_link() -> None:
    """A backend may be routed by the IPv6 address of a router whose session has an IPv4 one."""
    known, six = facts(1, 2), {1: IPv6Address("fd00:1::"), 2: IPv6Address("fd00:2::")}
    for index, address in six.items():
        known.learn_neighbour(NeighbourFact(index, address, far(index), usable=True, stale=False), gone=False)
    ways = tuple(Hop(index, address, dead=False) for index, address in six.items())
    backend = IPv6Address("fd00:9::1")
    assert choose(backend, ways, known, {GATEWAYS[1]}).next_hop == via(2)
    assert choose(backend, ways, known, {GATEWAYS[2]}).next_hop == via(1)


def test_one_gateway_gives_its_mac_and_the_macs_of_the_link() -> None:
    assert choose(BACKEND, hops(1), facts(1)) == Choice(via(1), Finding.RESOLVED)


def test_without_a_gateway_the_backend_itself_is_the_station() -> None:
    known = facts(1)
    known.learn_neighbour(NeighbourFact(1, BACKEND, far(9), usable=True, stale=False), gone=False)
    assert choose(BACKEND, (Hop(1, None, dead=False),), known).next_hop == NextHop(1, OWN[1], far(9))


def test_no_route_no_next_hop() -> None:
    assert choose(BACKEND, (), facts(1)) == Choice(None, Finding.NO_ROUTE)


@pytest.mark.parametrize("why", ["down", "dead", "unknown link", "no ethernet"])
def test_a_way_that_cannot_be_used_is_left_out(why: str) -> None:
    known = facts(1, 2)
    ways = hops(1, 2)
    if why == "down":
        known = facts(2)
    elif why == "dead":
        ways = hops(1, 2, dead=1)
    elif why == "unknown link":
        known.learn_link(known.links[1], gone=True)
    else:
        known.learn_link(LinkFact(1, "tun0", b"", up=True), gone=False)
    assert choose(BACKEND, ways, known).next_hop == via(2)
    assert choose(BACKEND, ways[:1], known) == Choice(None, Finding.LINK_DOWN)


@pytest.mark.parametrize("mac", ["000000000000", "ffffffffffff", "01005e000001", "333300000001", "", "02bb00"])
def test_a_mac_that_no_frame_may_go_to_counts_as_unknown(mac: str) -> None:
    choice = choose(BACKEND, hops(1), facts(1, macs={1: bytes.fromhex(mac)}))
    assert choice == Choice(None, Finding.UNRESOLVED, ((1, GATEWAYS[1]),))


def test_an_entry_that_the_kernel_gave_up_on_counts_as_unknown() -> None:
    assert choose(BACKEND, hops(1), facts(1, usable=False)).finding is Finding.UNRESOLVED


def test_unresolved_ways_are_asked_for_while_a_resolved_one_is_used() -> None:
    choice = choose(BACKEND, hops(1, 2, 3), facts(1, 2, 3, macs={2: far(2)}))
    assert choice == Choice(via(2), Finding.RESOLVED, ((1, GATEWAYS[1]), (3, GATEWAYS[3])))


def test_a_stale_entry_is_used_and_asked_to_be_confirmed() -> None:
    assert choose(BACKEND, hops(1), facts(1, stale=True)) == Choice(via(1), Finding.RESOLVED, ((1, GATEWAYS[1]),))


def test_backends_spread_over_equal_ways_whatever_their_order() -> None:
    known = facts(1, 2, 3)
    chosen = []
    for number in range(300):
        backend = IPv4Address(int(BACKEND) + number)
        found = choose(backend, hops(1, 2, 3), known).next_hop
        assert found == choose(backend, hops(3, 1, 2), known).next_hop
        assert found is not None
        chosen.append(found.ifindex)
    assert all(70 <= chosen.count(index) <= 130 for index in OWN)


@given(st.integers(0, 2**32 - 1), st.sets(st.sampled_from([1, 2, 3]), min_size=2), st.sampled_from([1, 2, 3]))
def test_losing_a_way_moves_only_the_backends_it_carried(number: int, up: set[int], lost: int) -> None:
    backend = IPv4Address(number)
    before = choose(backend, hops(1, 2, 3), facts(*up)).next_hop
    after = choose(backend, hops(1, 2, 3), facts(*(up - {lost}))).next_hop
    assert before is not None
    assert after is not None
    assert after.ifindex != lost
    if before.ifindex != lost:
        assert after == before


def test_a_deleted_link_takes_its_neighbours_along() -> None:
    known = facts(1, 2)
    known.learn_link(known.links[1], gone=True)
    assert [station[0] for station in known.neighbours] == [2, 3]
    known.learn_neighbour(known.neighbours[2, GATEWAYS[2]], gone=True)
    assert [station[0] for station in known.neighbours] == [3]


def test_a_multipath_answer_gives_every_way() -> None:
    def way(index: int, flags: int, attribute: bytes) -> bytes:
        return struct.pack("=HBBi", 8 + len(attribute), flags, 0, index) + attribute

    gateway = struct.pack("=HH", 8, 5) + GATEWAYS[1].packed
    six = struct.pack("=HHH", 22, 18, 10) + IPv6Address("fe80::1").packed + bytes(2)
    ways = way(1, 0, gateway) + way(2, 16, b"") + way(3, 1, six)
    body = bytes([2, 32, 0, 0, 254, 0, 0, 1]) + bytes(4)
    answer = body + struct.pack("=HH", 4 + len(ways), 9) + ways
    assert rtnetlink.read_hops(answer) == (
        Hop(1, GATEWAYS[1], dead=False),
        Hop(2, None, dead=True),
        Hop(3, IPv6Address("fe80::1"), dead=True),
    )
    assert rtnetlink.read_hops(bytes([2, 32, 0, 0, 254, 0, 0, 6]) + answer[8:]) == (), "a blackhole"
    (here,) = rtnetlink.read_hops(bytes([2, 32, 0, 0, 255, 0, 0, 2]) + answer[8:])
    assert here.local
    assert choose(BACKEND, (here,), facts()) == Choice(LOCAL_DELIVERY, Finding.LOCAL)


def attribute(kind: int, value: bytes) -> bytes:
    return (struct.pack("=HH", 4 + len(value), kind) + value).ljust(-(-(4 + len(value)) // 4) * 4, b"\0")


def test_an_ipv6_route_gives_its_gateway_and_is_asked_for_by_the_whole_address() -> None:
    gateway = IPv6Address("fd00:1::2")
    head = bytes([10, 128, 0, 0, 254, 0, 0, 1]) + bytes(4)
    answer = head + attribute(5, gateway.packed) + attribute(4, struct.pack("=I", 7))
    assert rtnetlink.read_hops(answer) == (Hop(7, gateway, dead=False),)
    (asked,) = netlink.messages(rtnetlink.route_request(gateway, 3))
    assert asked.payload[:2] == bytes([10, 128])
    assert asked.payload[12:] == attribute(1, gateway.packed)


def link_message(*attributes: bytes, index: int = 9, flags: int = 0x41) -> bytes:
    return struct.pack("=BxHiII", 0, 1, index, flags, 0) + attribute(1, OWN[2]) + b"".join(attributes)


def vlan_info(number: int, protocol: bytes = b"\x81\0", kind: bytes = b"vlan\0") -> bytes:
    data = attribute(1, struct.pack("=H", number)) + attribute(5, protocol)
    return attribute(18, attribute(1, kind) + attribute(2, data))


def test_a_vlan_device_is_read_with_its_number_and_its_parent() -> None:
    parent = attribute(5, struct.pack("=I", 1))
    assert rtnetlink.read_link(link_message(parent, vlan_info(100))) == LinkFact(
        9, "", OWN[2], True, parent=1, vlan=100
    )
    assert rtnetlink.read_link(link_message(parent, vlan_info(100, kind=b"veth\0"))) == LinkFact(9, "", OWN[2], up=True)
    elsewhere = attribute(37, struct.pack("=I", 0))
    for unusable in (
        link_message(parent, vlan_info(100, b"\x88\xa8")),
        link_message(parent, vlan_info(100), elsewhere),
        link_message(parent, vlan_info(0)),
        link_message(parent, vlan_info(4095)),
    ):
        assert rtnetlink.read_link(unusable).mac == b""


def test_a_lost_carrier_counts_before_the_flag_follows_it() -> None:
    assert rtnetlink.read_link(link_message(attribute(33, b"\1"))).up
    assert not rtnetlink.read_link(link_message(attribute(33, b"\0"))).up
    assert not rtnetlink.read_link(link_message(attribute(33, b"\1"), flags=0x1)).up


def on_vlan(parent: LinkFact | None) -> Facts:
    known = facts(1, 2)
    known.learn_link(LinkFact(2, "eth1.100", OWN[2], True, parent=7, vlan=100), gone=False)
    if parent is not None:
        known.learn_link(parent, gone=False)
    return known


def test_beneath_a_vlan_device_the_frame_leaves_by_the_parent_with_the_tag() -> None:
    found = choose(BACKEND, hops(2), on_vlan(LinkFact(7, "eth1", OWN[1], up=True)))
    assert found == Choice(NextHop(7, OWN[2], far(2), vlan=100), Finding.RESOLVED)


@pytest.mark.parametrize(
    "parent",
    [None, LinkFact(7, "eth1", OWN[1], up=False), LinkFact(7, "eth1.5", OWN[1], True, parent=6, vlan=5)],
    ids=["unknown", "down", "a vlan itself"],
)
def test_a_vlan_device_needs_a_parent_that_is_up_and_no_vlan_itself(parent: LinkFact | None) -> None:
    assert choose(BACKEND, hops(2), on_vlan(parent)) == Choice(None, Finding.LINK_DOWN)


@pytest.mark.parametrize("length", [0, 3, 9])
def test_an_attribute_that_lies_about_its_length_is_refused(length: int) -> None:
    answer = bytes([2, 32, 0, 0, 254, 0, 0, 1]) + bytes(4) + struct.pack("=HHI", length, 4, 7)
    with pytest.raises(NetlinkError, match=f"an attribute says it has {length} bytes, 8 are there"):
        rtnetlink.read_hops(answer)


@given(st.binary(max_size=120))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    def split(datagram: bytes) -> object:
        return list(netlink.messages(datagram))

    for reader in (rtnetlink.read_link, rtnetlink.read_neighbour, rtnetlink.read_hops, split):
        try:
            reader(data)
        except NetlinkError as error:
            assert str(error).startswith("netlink: ")
