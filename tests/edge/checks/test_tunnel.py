"""Tunnel probes: their packets held against the oracles, and in the kernel against the real decapsulator."""

import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from edge.backend import config as backend_config
from edge.backend import host
from edge.checks import raw_sockets, tunnel_packets
from edge.checks.plan import subjects
from edge.checks.raw import Raw
from edge.checks.target import Target
from edge.config.file import load
from edge.datapath.abi import Note, Verdict
from edge.datapath.decap_oracle import DecapOracle
from edge.datapath.decapsulator import Decapsulator
from edge.datapath.headers import TCP
from edge.datapath.model import DecapState, Encap, NextHop
from edge.datapath.oracle import Oracle
from edge.decide.plan import PoolView, Tables, forwarder_state, select
from tests.datapath import kernel
from tests.datapath.kernel import Namespace
from tests.datapath.rig import OBJECTS, need_programs
from tests.edge.checks.asking import Asking

TEXT = """\
version: 1
node: a-e1
hashing: {{seed: 7, table_size: 101}}
forwarder: {{interfaces: [e0], outer_source: 10.0.5.0/28, outer_source6: 'fd00:5::/64'}}
announcer:
  asn: 65110
  router_id: 10.255.0.6
  peers: [{{name: r1, address: 10.0.1.0, asn: 65101, local_address: 10.0.1.8, local_address6: 'fd00:7::1'}}]
pools:
  web:
    encap: {encap}
    check: {{type: tunnel, probe: {probe}, vip: '{vip}', port: 80, source: '{source}', timeout: 0.3}}
    backends: [{{name: b1, address: '{backend}'}}]
services:
  - {{name: web, vips: [203.0.113.10, '2001:db8:1::10'], protocol: tcp, port: 80, pool: web}}
"""
FOUR = {"vip": "203.0.113.10", "source": "10.255.0.6"}
SIX = {"vip": "2001:db8:1::10", "source": "fd00:255::6"}
MAC = b"\2\0\0\0\0\1"
BACKENDS = {4: "10.0.1.1", 6: "fd00:1::1"}
INSIDE = [FOUR, SIX]


def text_of(encap: str = "gre", probe: str = "tcp", backend: int = 4, inner: dict[str, str] = FOUR) -> str:
    key = "gre\n    key: 4711" if encap == "gre-key" else encap
    return TEXT.format(encap=key, probe=probe, backend=BACKENDS[backend], **inner)


def target(encap: str = "gre", probe: str = "tcp", backend: int = 4, inner: dict[str, str] = FOUR) -> Target:
    (found,) = subjects(load(text_of(encap, probe, backend, inner), "f.yaml")).values()
    return Target.from_plain(found.to_plain())


@pytest.mark.parametrize("inner", INSIDE)
@pytest.mark.parametrize("backend", [4, 6])
@pytest.mark.parametrize("encap", ["gre", "gre-key", "ipip"])
def test_a_probe_is_a_packet_that_the_decapsulators_oracle_takes(
    encap: str, backend: int, inner: dict[str, str]
) -> None:
    wanted = target(encap, backend=backend, inner=inner)
    way = tunnel_packets.way(wanted.options, wanted.address)
    state = DecapState(
        frozenset({ip_address(wanted.address)}),
        frozenset({ip_address(inner["vip"])}),
        (ip_network("10.0.5.0/28"), ip_network("fd00:5::/64")),
        encaps=frozenset({Encap.GRE if encap.startswith("gre") else Encap.IPIP}),
        key=4711 if encap == "gre-key" else None,
    )
    segment = tunnel_packets.segment(way, 61500, 12345)
    for packet in (segment, tunnel_packets.echo(way, 61500)):
        outer = tunnel_packets.in_tunnel(way, packet, 61500, TCP)
        ethertype = b"\x08\0" if backend == 4 else b"\x86\xdd"
        found = DecapOracle(state).judge(bytes(12) + ethertype + outer)
        assert found.verdict is Verdict.PASS
        assert Note.DECAPSULATED in found.notes, found
        assert found.frame[14:] == packet


@pytest.mark.parametrize("inner", INSIDE)
@pytest.mark.parametrize("backend", [4, 6])
@pytest.mark.parametrize("encap", ["gre", "gre-key", "ipip"])
def test_a_probe_travels_exactly_as_the_forwarder_sends_a_client(
    encap: str, backend: int, inner: dict[str, str]
) -> None:
    """Outer source and flow label come from the flow's hash, so the fabric's ECMP treats both alike."""
    config = load(text_of(encap, backend=backend, inner=inner), "f.yaml")
    (wanted,) = subjects(config).values()
    way = tunnel_packets.way(wanted.options, wanted.address)
    tables = Tables(101)
    built = {"web": tables.table(select(config.pools["web"], PoolView()).members)}
    hops = {ip_address(wanted.address): NextHop(3, MAC, b"\2\0\0\0\0\7")}
    oracle = Oracle(forwarder_state(config, built, hops, frozenset(), 1), {3: MAC})
    for port in range(61500, 61510):
        segment = tunnel_packets.segment(way, port, 12345)
        ethertype = b"\x08\0" if segment[0] >> 4 == 4 else b"\x86\xdd"
        found = oracle.judge(MAC + b"\2\0\0\0\0\7" + ethertype + segment, 3)
        assert found.verdict is Verdict.TX
        assert tunnel_packets.in_tunnel(way, segment, port, TCP) == found.frame[14:]


def test_answers_are_read_and_others_are_not() -> None:
    flags = {0x12: False, 0x14: True}
    for flag, refused in flags.items():
        raw = bytes.fromhex("0050 f03c 00000001 0000303a 50") + bytes((flag,)) + bytes(6)
        read = tunnel_packets.read_segment("203.0.113.10", raw)
        assert read == tunnel_packets.Answer(ip_address("203.0.113.10"), 61500, 12346, refused)
    assert tunnel_packets.read_segment("203.0.113.10", raw[:13] + b"\x10" + raw[14:]) is None
    assert tunnel_packets.read_segment("203.0.113.10", raw[:19]) is None
    assert tunnel_packets.read_echo("203.0.113.10", b"\x00\0\0\0\xf0\x3c\0\1") is not None
    assert tunnel_packets.read_echo("203.0.113.10", b"\x08\0\0\0\xf0\x3c\0\1") is None
    assert tunnel_packets.read_echo("2001:db8::1", b"\x81\0\0\0\xf0\x3c\0\1") is not None


@dataclass
class Joined:
    """An edge (e0) and a backend (b0) with its decapsulator, joined by a router (r0, r1); the VIPs are on lo."""

    edge: Namespace
    backend: Namespace
    decapsulator: Decapsulator
    state: DecapState


@pytest.fixture
def joined() -> Iterator[Joined]:
    need_programs()
    made: list[Namespace] = []
    try:
        for _ in range(3):
            made.append(Namespace())
        edge, router, backend = made
        for namespace in made:
            with namespace.inside():
                for name in ("disable_ipv6", "accept_dad"):
                    Path(f"/proc/sys/net/ipv6/conf/default/{name}").write_text("0")
                    Path(f"/proc/sys/net/ipv6/conf/all/{name}").write_text("0")
                Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
                Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        kernel.veth(edge, "e0", router, "r0")
        kernel.veth(backend, "b0", router, "r1")
        for where, name, four, six in (
            (edge, "e0", "10.0.1.9/31", "fd00:1:9::1/64"), (router, "r0", "10.0.1.8/31", "fd00:1:9::2/64"),
            (backend, "b0", "10.0.1.1/31", "fd00:1::1/64"), (router, "r1", "10.0.1.0/31", "fd00:1::2/64"),
        ):  # fmt: skip
            where.ip("address", "add", four, "dev", name)
            where.ip("address", "add", six, "dev", name, "nodad")
        edge.ip("address", "add", "10.255.0.6/32", "dev", "lo")
        edge.ip("address", "add", "fd00:255::6/128", "dev", "lo", "nodad")
        for where, four, six in ((edge, "10.0.1.8", "fd00:1:9::2"), (backend, "10.0.1.0", "fd00:1::2")):
            where.ip("route", "add", "default", "via", four)
            where.ip("-6", "route", "add", "default", "via", six)
        router.ip("route", "add", "10.255.0.6/32", "via", "10.0.1.9")
        router.ip("-6", "route", "add", "fd00:255::6/128", "via", "fd00:1:9::1")
        with kernel.bpffs() as pins, backend.inside():
            text = (
                "version: 1\nname: b1\ninterface: b0\naddress: [10.0.1.1, 'fd00:1::1']\nvips: [203.0.113.10, "
                "'2001:db8:1::10']\nedges: [10.0.5.0/28, 'fd00:5::/64']\n"
            )
            told = backend_config.load(text, "backend.yaml")
            host.ensure(told)
            with Decapsulator.open(pins / "d", ["b0"], "auto", OBJECTS) as decapsulator:
                decapsulator.apply(told.decap_state)
                yield Joined(edge, backend, decapsulator, told.decap_state)
                decapsulator.detach()
    finally:
        for namespace in made:
            namespace.delete()


def asked(where: Joined, wanted: Target) -> tuple[bool, str]:
    with where.edge.inside(), raw_sockets.opened() as sockets, Asking(raw=Raw(sockets)) as asking:
        asking.engine.add(1, wanted)
        asking.until(lambda: bool(asking.outcomes))
        return asking.outcomes[0].ok, asking.outcomes[0].detail


def listening(where: Joined, address: str) -> socket.socket:
    with where.backend.inside():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return socket.create_server((address, 80), family=family)


@pytest.mark.kernel
@pytest.mark.parametrize("inner", INSIDE)
def test_a_syn_comes_back_through_every_kind_of_tunnel(joined: Joined, inner: dict[str, str]) -> None:
    with listening(joined, inner["vip"]):
        for backend in (4, 6):
            for encap in ("gre", "ipip"):
                found = asked(joined, target(encap, backend=backend, inner=inner))
                assert found == (True, f"a SYN-ACK of {inner['vip']} port 80 through the tunnel"), (encap, backend)


@pytest.mark.kernel
@pytest.mark.parametrize("inner", INSIDE)
def test_an_echo_comes_back_and_a_closed_port_is_told_from_a_dead_tunnel(joined: Joined, inner: dict[str, str]) -> None:
    assert asked(joined, target(probe="icmp", inner=inner))[0]
    ok, detail = asked(joined, target(inner=inner))
    assert not ok
    assert detail == f"the tunnel works, but {inner['vip']} port 80 refuses connections behind it"


@pytest.mark.kernel
@pytest.mark.parametrize("encap", ["gre", "gre-key", "ipip"])
def test_a_tunnel_that_the_backend_refuses_is_down_though_its_address_answers(joined: Joined, encap: str) -> None:
    """GLB's lesson: the backend itself is well, and every client's packet would be dropped."""
    key = 99 if encap != "ipip" else None
    only = Encap.GRE
    joined.decapsulator.apply(
        DecapState(joined.state.addresses, joined.state.vips, joined.state.edges, frozenset({only}), key=key)
    )
    with listening(joined, "203.0.113.10"), listening(joined, "10.0.1.1"):
        with joined.edge.inside():
            socket.create_connection(("10.0.1.1", 80), timeout=2).close()
        assert asked(joined, target(encap)) == (False, "no answer within 0.3 s")


@pytest.mark.kernel
def test_many_probes_at_once_get_their_own_answers(joined: Joined) -> None:
    wanted = target()
    with (
        listening(joined, "203.0.113.10"),
        joined.edge.inside(),
        raw_sockets.opened() as sockets,
        Asking(raw=Raw(sockets)) as asking,
    ):
        for number in range(50):
            asking.engine.add(number, wanted)
        asking.until(lambda: len({each.target for each in asking.outcomes}) == 50)
        assert all(each.ok for each in asking.outcomes)


@pytest.mark.kernel
def test_the_sockets_of_the_checker_see_nothing_but_answers_to_probes(joined: Joined) -> None:
    with listening(joined, "10.0.1.1"), joined.edge.inside(), raw_sockets.opened() as sockets:
        socket.create_connection(("10.0.1.1", 80), timeout=2).close()  # from an ephemeral port
        for name in ("tcp4", "tcp6", "icmp4", "icmp6", "send4"):
            with pytest.raises(BlockingIOError):
                sockets[name].recv(2000)
        with pytest.raises(OSError, match="Operation not permitted"):  # the filter is locked
            raw_sockets._filter(sockets["tcp4"], [(6, 0, 0, 0xFFFF)])


def test_numbers_of_probes_are_ports_that_kernels_leave_alone() -> None:
    random.seed(3)
    raw = Raw({})
    assert {raw.number() for _ in range(1 << 12)} == set(range(61440, 65536))
