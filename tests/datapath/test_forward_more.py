"""Rows and invariants of the forwarder that one frame with one expectation does not show."""

import dataclasses
import struct
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from edge.datapath import abi
from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.addresses import network_of
from edge.datapath.bpf_error import BpfError
from edge.datapath.encode import encode_pool
from edge.datapath.headers import checksum
from edge.datapath.model import ForwarderState, Pool
from edge.datapath.oracle import Oracle, judge
from tests.datapath import rows
from tests.datapath import world as w
from tests.datapath.expect import notes
from tests.datapath.frames import echo, error, ether, packet_of, patched, sent_by, tcp
from tests.datapath.rig import Rig, run_frame
from tests.datapath.rows_icmp import sized, tunnel_error
from tests.datapath.rows_icmp6 import tunnel_error as tunnel_error6
from tests.datapath.rows_ipv6 import sized6

pytestmark = pytest.mark.kernel
OUTER_SOURCE, OUTER_DESTINATION = slice(26, 30), slice(30, 34)


@pytest.fixture
def rig(programs: None) -> Iterator[Rig]:
    """A forwarder of this test's own, with nothing installed."""
    made = Rig.forwarder(w.TABLE_SIZE)
    yield made
    made.close()


def test_l01_a_frame_below_14_bytes_is_refused_by_the_test_run_and_dropped_by_the_oracle(forwarder: Rig) -> None:
    for length in range(14):
        with pytest.raises(BpfError, match="EINVAL"):
            forwarder.run(tcp()[:length])
        assert judge(tcp()[:length], w.LOOPBACK, w.STATE).reason is Reason.SHORT


def test_without_a_directory_everything_is_passed_and_counted(rig: Rig) -> None:
    result = rig.run(tcp())
    assert (result.verdict, result.notes, result.frame) == (Verdict.PASS, notes(Note.UNCONFIGURED), tcp())


def test_i03_every_checksum_is_answered_with_a_valid_one(forwarder: Rig) -> None:
    """All 65,536 values of one word of data, so that the checksum takes every value it can."""
    frame = bytearray(echo(data=b"\0\0", seq=0))
    program = forwarder.program.fileno()
    for value in range(65536):
        frame[42:44] = value.to_bytes(2, "big")
        frame[36:38] = b"\0\0"
        frame[36:38] = (0xFFFF - folded(sum(struct.unpack("!5H", frame[34:44])))).to_bytes(2, "big")
        verdict, reply = run_frame(program, bytes(frame), 0)
        assert (verdict, reply[34]) == (Verdict.TX, 0)
        assert folded(sum(struct.unpack("!5H", reply[34:44]))) == 0xFFFF, value


def test_i03_every_checksum_is_answered_with_a_valid_one_in_ipv6(forwarder: Rig) -> None:
    """All 65,536 values of one word, where the sum over the pseudo header is never zero."""
    frame = bytearray(echo(w.WEB6, data=b"\0\0", seq=0))
    program = forwarder.program.fileno()
    pseudo = sum(struct.unpack("!16H", frame[22:54])) + 58 + 10
    for value in range(65536):
        frame[62:64] = value.to_bytes(2, "big")
        frame[56:58] = b"\0\0"
        frame[56:58] = (0xFFFF - folded(pseudo + sum(struct.unpack("!5H", frame[54:64])))).to_bytes(2, "big")
        verdict, reply = run_frame(program, bytes(frame), 0)
        assert (verdict, reply[54]) == (Verdict.TX, 129)
        assert folded(pseudo + sum(struct.unpack("!5H", reply[54:64]))) == 0xFFFF, value


def folded(total: int) -> int:
    """A sum of 16-bit words in ones' complement."""
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def four_edges() -> list[tuple[ForwarderState, int]]:
    """The same generation as four nodes install it: other addresses, other interfaces, either bank."""
    states = []
    for number in range(4):
        source = IPv4Network(f"10.0.{20 + number}.1/32")
        hops = tuple(
            dataclasses.replace(b, next_hop=b.next_hop and dataclasses.replace(b.next_hop, ifindex=number + 1))
            for b in w.BACKENDS
        )
        states.append((dataclasses.replace(w.STATE, outer_source=source, backends=hops, generation=number), number % 2))
    return states


def test_t05_i10_p6_a_flow_and_errors_about_it_have_one_backend_on_every_edge(rig: Rig) -> None:
    frames = {
        port: [
            *(tcp(sport=port, flags=f) for f in ("S", "A", "PA", "FA", "R")),
            error(sent_by(w.WEB, dport=port)),
            error(sent_by(w.WEB, dport=port), kind=11, code=0),
        ]
        for port in range(40000, 40050)
    }
    owners: dict[int, set[str]] = {}
    for state, bank in four_edges():
        rig.install(state, w.INTERFACES, bank=bank)
        for port, steps in frames.items():
            for frame in steps:
                _, after = run_frame(rig.program.fileno(), frame, 0)
                owners.setdefault(port, set()).add(after[OUTER_DESTINATION].hex())
    assert {len(found) for found in owners.values()} == {1}
    assert len({owner for found in owners.values() for owner in found}) == 3


def test_e04_outer_sources_of_a_prefix_spread_and_stay_with_their_flow(rig: Rig) -> None:
    state = dataclasses.replace(w.STATE, outer_source=IPv4Network("10.77.0.0/16"))
    rig.install(state, w.INTERFACES)
    program, sources = rig.program.fileno(), set()
    frame = bytearray(tcp())
    for port in range(1, 10001):
        frame[34:36] = port.to_bytes(2, "big")
        first, second = (run_frame(program, bytes(frame), poison)[1][OUTER_SOURCE] for poison in (0, 32))
        assert first == second
        assert first[:2] == b"\x0a\x4d"
        sources.add(first)
    assert len(sources) >= 1000


def test_e11_without_headroom_the_packet_is_dropped_as_such(forwarder: Rig) -> None:
    result = forwarder.run(tcp(), poison=216)
    assert (result.verdict, result.reason, result.dropped) == (Verdict.DROP, Reason.ENCAP_FAIL, 1)


def test_l09_each_interface_takes_only_its_own_mac(rig: Rig) -> None:
    rig.install(w.STATE, {w.LOOPBACK: w.ROUTER_MAC, w.ELSEWHERE: w.OWN_MAC})
    assert rig.run(tcp()).notes == {Note.OTHER_HOST}
    assert rig.run(ether(tcp()[14:], w.ROUTER_MAC)).verdict is Verdict.TX
    rig.install(w.STATE, {})
    assert rig.run(tcp()).notes == {Note.OTHER_HOST}


def test_l09_every_interface_of_a_full_house_is_found(rig: Rig) -> None:
    for count in (1, 2, abi.MAX_INTERFACES):
        others = dict.fromkeys(range(2, count + 1), w.ROUTER_MAC)
        rig.install(w.STATE, {**others, w.LOOPBACK: w.OWN_MAC})
        assert rig.run(tcp()).verdict is Verdict.TX
        rig.install(w.STATE, others)
        assert rig.run(tcp()).notes == {Note.OTHER_HOST}


def test_e15_the_outer_checksum_is_right_where_its_sum_carries_twice(rig: Rig) -> None:
    """One backend address for which the folded sum of the outer header overflows 16 bits again."""
    frame = tcp()
    rig.install(w.STATE, w.INTERFACES)
    outer = bytearray(rig.run(frame).frame[14:34])
    outer[10:12], outer[16:20] = b"\0\0", b"\x0a\xfa\0\0"
    rest = sum(struct.unpack("<10H", outer))
    address = IPv4Address(bytes(outer[16:18]) + ((0xFFFF - rest) & 0xFFFF).to_bytes(2, "little"))
    total = rest + int.from_bytes(address.packed[2:], "little")
    assert (total & 0xFFFF) + (total >> 16) > 0xFFFF
    backends = tuple(dataclasses.replace(b, address=address) for b in w.BACKENDS)
    rig.install(dataclasses.replace(w.STATE, backends=backends), w.INTERFACES)
    sent = rig.run(frame).frame
    assert sent[30:34] == address.packed
    assert checksum(sent[14:34]) == 0


def test_u01_u10_limits_follow_the_mtu_of_the_underlay(rig: Rig) -> None:
    for mtu in (620, 1400, 3400):
        # IPv6 needs 1,280 bytes; such an MTU is refused where it is served
        services = tuple(s for s in w.STATE.services if mtu >= 1400 or network_of(s.vip).version == 4)
        state = dataclasses.replace(w.STATE, mtu=mtu, services=services)
        rig.install(state, w.INTERFACES)
        oracle = Oracle(state, w.INTERFACES)
        six = ((w.WEB6, 80, 24), (w.SIX6, 80, 44), (w.BEHIND_TAG6, 81, 40)) if mtu >= 1400 else ()
        for vip, port, overhead in ((w.WEB, 80, 24), (w.ECHO, 7000, 20), (w.SIX, 80, 44), *six):
            limit = mtu - overhead
            for size in (limit - 1, limit, limit + 1):
                frame = sized6(size, vip, port) if ":" in vip else sized(size, vip, port)
                result, wanted = rig.run(frame), oracle.judge(frame, w.LOOPBACK)
                assert (result.reason is Reason.TOOBIG) == (size > limit)
                assert (result.verdict, result.frame) == (wanted.verdict, wanted.frame)


def test_u11_headers_are_not_misread_when_the_kernel_splits_a_frame(forwarder: Rig) -> None:
    """Above about 3,500 bytes a test run gives the rest in fragments, which this program cannot see."""
    assert forwarder.run(sized(3900)).reason is Reason.LEN


def words(rig: Rig, name: str, layout: struct.Struct, index: int) -> tuple[int, ...]:
    """A counter, summed over CPUs."""
    per_cpu = rig.maps[name].lookup_percpu(struct.pack("=I", index))
    return tuple(sum(column) for column in zip(*(layout.unpack(value) for value in per_cpu), strict=True))


def test_p1_counts_of_services_and_backends_are_the_oracles_choices(rig: Rig) -> None:
    """Every frame of every row: packets and bytes of the inner packet for what was sent, drops for what was not."""
    rig.install(w.STATE, w.INTERFACES)
    rig.remove_pool(w.ABSENT_POOL_INDEX)
    oracle = Oracle(w.STATE, w.INTERFACES)
    services: dict[int, list[int]] = {s.id: [0, 0, 0] for s in w.STATE.services}
    backends: dict[int, list[int]] = {b.id: [0, 0] for b in w.STATE.backends}
    for frame in (frame for row in rows.FORWARD for frame in row.build()[:8] if 14 <= len(frame) <= 3400):
        rig.run(frame)
        outcome = oracle.judge(frame, w.LOOPBACK)
        if outcome.choice and outcome.reason:
            services[outcome.choice.service][2] += 1
        elif outcome.choice:
            for counted in (services[outcome.choice.service], backends[outcome.choice.backend]):
                counted[0] += 1
                counted[1] += len(packet_of(frame))
    counts = abi.SERVICE_COUNT_FORMAT
    assert {i: list(words(rig, abi.SERVICE_COUNT, counts, i)) for i in services} == services
    assert {i: list(words(rig, abi.BACKEND_COUNT, abi.BACKEND_COUNT_FORMAT, i)[:2]) for i in backends} == backends
    assert sum(packets for packets, _ in backends.values()) > 300


def test_i22_errors_about_tunnels_count_for_the_backend(rig: Rig) -> None:
    rig.install(w.STATE, w.INTERFACES)
    for frame in (tunnel_error(), tunnel_error(3, 1), tunnel_error6(), tunnel_error6(1), tunnel_error6(3)):
        rig.run(frame)
    found = {b.id: words(rig, abi.BACKEND_COUNT, abi.BACKEND_COUNT_FORMAT, b.id)[2:] for b in w.BACKENDS}
    # Machines that two backends share are known by the lower id.
    assert {i: counted for i, counted in found.items() if any(counted)} == {1: (1, 1), 8: (2, 1)}


def test_p10_a_reader_meets_one_generation_or_the_next_whole(rig: Rig) -> None:
    """Pool, backend address and outer source change together 60 times; no packet mixes two of them."""

    def generation(number: int) -> ForwarderState:
        backend = dataclasses.replace(w.BACKENDS[0], id=1 + number % 2, address=IPv4Address(f"10.9.{number}.9"))
        pool = Pool((backend.id,) * w.TABLE_SIZE)
        network = IPv4Network(f"10.8.{number}.9/32")
        return dataclasses.replace(
            w.STATE, services=w.STATE.services[:1], pools=(pool,), backends=(backend,), outer_source=network
        )

    program = rig.program.fileno()
    rig.install(generation(0), w.INTERFACES)
    frame, stop, seen = tcp(), threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            seen.append(run_frame(program, frame, 0))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 61):
        rig.install(generation(number), w.INTERFACES, bank=number % 2)
    stop.set()
    reader.join()
    assert {verdict for verdict, _ in seen} == {Verdict.TX}
    numbers = [(after[OUTER_SOURCE][2], after[OUTER_DESTINATION][2]) for _, after in seen]
    assert [pair for pair in numbers if pair[0] != pair[1]] == []
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 20


def test_s04_a_slot_that_names_an_id_beyond_the_array_is_caught_in_the_program(rig: Rig) -> None:
    rig.install(w.STATE, w.INTERFACES)
    for number, reason in ((0, Reason.NO_BACKEND), (4096, Reason.TABLE_CORRUPT), (65535, Reason.TABLE_CORRUPT)):
        rig.put_pool(0, encode_pool(Pool((number,) * w.TABLE_SIZE), w.TABLE_SIZE))
        assert rig.run(tcp()).reason is reason


def test_x01_previous_owners_in_a_slot_do_not_change_who_gets_the_packet(rig: Rig) -> None:
    rig.install(w.STATE, w.INTERFACES)
    rig.put_pool(0, abi.SLOT_FORMAT.pack(2, 1, 3, 7) * w.TABLE_SIZE)
    assert rig.run(tcp()).frame[OUTER_DESTINATION] == IPv4Address("10.0.9.2").packed


def test_416_421_reserved_bit_does_not_hide_a_fragment(forwarder: Rig) -> None:
    assert forwarder.run(patched(tcp(), 6, b"\x80\x01")).reason is Reason.FRAG
