"""What nodes run beside fairhop: GoBGP's table as routes, nftables as a balancer, the gate, the QUIC-like responder."""

import asyncio
import contextlib
import json
import socket

import pytest

from edge.datapath.oracle_quic import server_id
from lab.nodes.gate import Gate
from lab.nodes.gobgp_table import changes, routes
from lab.nodes.nft_rules import Backend, Balance, Check, Health, Service, parse, rules
from lab.traffic.quic_server import Responder, first_datagram, later_datagram, serve
from tests.lab.other_labs import FOLDER

BACKENDS = (Backend("b1", "10.0.9.1", "fd00::1"), Backend("b2", "10.0.10.1", "fd00::2"))
BALANCE = Balance(
    Check(80, "/healthz", 0.5, 0.4, 2, 2),
    (Service("203.0.113.10", "tcp", 80), Service("2001:db8:1::10", "udp", 7000)),
    BACKENDS,
)


def path(hop: str, *ases: int, **attributes: int) -> dict[str, object]:
    kinds = {"origin": 1, "med": 4, "preference": 5}
    attrs: list[dict[str, object]] = [{"type": kinds[key], "value": value} for key, value in attributes.items()]
    attrs.append({"type": 2, "as_paths": [{"segment_type": 2, "num": len(ases), "asns": list(ases)}]})
    attrs.append({"type": 14, "nexthop": hop} if ":" in hop else {"type": 3, "nexthop": hop})
    return {"nlri": {}, "attrs": attrs}


def table(**prefixes: list[dict[str, object]]) -> str:
    return json.dumps({f"203.0.113.{key[1:]}/32": paths for key, paths in prefixes.items()})


def test_equal_paths_are_used_together_and_worse_ones_not() -> None:
    text = table(
        p1=[path("10.0.1.1", 65110), path("10.0.3.1", 65110), path("10.0.0.1", 65102, 65110)],
        p2=[path("10.0.1.1", 65110, preference=1), path("10.0.0.1", 65102, 65110, preference=100)],
        p3=[path("10.0.1.1", 65110, med=5), path("10.0.3.1", 65110)],
        p4=[path("10.0.1.1", 65110, origin=2), path("10.0.3.1", 65110, origin=0)],
        p5=[path("0.0.0.0"), path("10.0.0.1", 65102)],
        p6=[path("fd00::3", 65110), path("fd00::1", 65110)],
    )
    assert routes(text, 16) == {
        "203.0.113.1/32": ("10.0.1.1", "10.0.3.1"),
        "203.0.113.2/32": ("10.0.0.1",),
        "203.0.113.3/32": ("10.0.3.1",),
        "203.0.113.4/32": ("10.0.3.1",),
        "203.0.113.6/32": ("fd00::1", "fd00::3"),
    }
    assert routes(text, 1)["203.0.113.1/32"] == ("10.0.1.1",)
    assert routes("", 16) == {}


def test_only_what_differs_is_written() -> None:
    installed = {"203.0.113.1/32": ("10.0.1.1",), "203.0.113.2/32": ("10.0.1.1",), "203.0.113.3/32": ("10.0.1.1",)}
    wanted = {"203.0.113.1/32": ("10.0.1.1", "10.0.3.1"), "203.0.113.2/32": ("10.0.1.1",)}
    assert [*changes(installed, wanted)] == [
        "route replace 203.0.113.1/32 proto bgp metric 20 nexthop via 10.0.1.1 nexthop via 10.0.3.1",
        "route del 203.0.113.3/32 proto bgp metric 20",
    ]
    assert [*changes(wanted, wanted)] == []


def test_flows_are_hashed_over_the_living_alone() -> None:
    both = rules(BALANCE, {"b1", "b2"})
    assert "ip daddr 203.0.113.10 tcp dport 80 dnat to jhash ip saddr . tcp sport mod 2" in both
    assert "map { 0 : fd00::1, 1 : fd00::2 }" in both
    one = rules(BALANCE, {"b2"})
    assert "mod 1 seed 0x5eed map { 0 : 10.0.10.1 }" in one
    assert "10.0.9.1" not in one
    assert "dnat to" not in rules(BALANCE, ())


def test_a_rendered_balance_json_is_read_whole() -> None:
    read = parse((FOLDER / "nft/a-e1/balance.json").read_text())
    assert [one.name for one in read.backends] == ["a-b1", "a-b2", "a-b3"]
    assert {(one.protocol, one.port) for one in read.services} == {("tcp", 80), ("tcp", 7000), ("udp", 7000)}


def test_a_backend_falls_and_rises_after_so_many_in_a_row() -> None:
    health = Health(["b1", "b2"], rise=2, fall=3)
    assert health.living() == frozenset()
    assert [health.saw(name, well=True) for name in ("b1", "b2")] == [True, True]
    assert [health.saw("b1", well) for well in (False, False, True, False, False, False)] == [False] * 5 + [True]
    assert health.living() == {"b2"}
    assert [health.saw("b1", well) for well in (True, False, True, True)] == [False, False, False, True]
    assert health.living() == {"b1", "b2"}


def test_a_backend_that_was_dead_at_the_start_needs_its_rise() -> None:
    health = Health(["b1"], rise=2, fall=2)
    assert [health.saw("b1", well) for well in (False, True, True)] == [True, False, True]


def test_the_gate_opens_and_closes_after_two_looks_and_never_while_held() -> None:
    gate = Gate()
    looks = [(True, False), (True, False), (True, True), (True, False), (False, False), (True, False)]
    assert [gate.saw(*look) for look in looks] == [False, True, False, True, True, True]
    assert [gate.saw(working, False) for working in (False, False, True)] == [True, False, False]


@pytest.mark.parametrize(("length", "config_id", "number"), [(1, 0, 7), (2, 0, 300), (3, 6, 70000)])
def test_an_edge_reads_the_server_in_the_ids_that_a_server_gives(length: int, config_id: int, number: int) -> None:
    server = Responder("b1", number, length, config_id)
    name, cid, payload = (server.answer(first_datagram(bytes(range(8)), b"hello you")) or b"").split(b" ", 2)
    assert (name, payload, len(cid)) == (b"b1", b"hello you", 16)
    later = later_datagram(bytes.fromhex(cid.decode()), b"more")
    assert server_id(later, length) == (config_id, number)
    assert server_id(first_datagram(bytes(8), b""), length) is None, "a first datagram goes by the hash"
    assert server.answer(later) == b"b1 " + cid + b" more"
    assert Responder("b2", 9, length, config_id).answer(later) == b"b2 " + cid + b" more"


def test_ids_are_repeated_for_a_repeated_client_and_differ_between_clients() -> None:
    server = Responder("b1", 7, 2, 0)
    assert server.cid(bytes(8)) == server.cid(bytes(8)) != server.cid(b"otherone")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x40short",
        first_datagram(bytes(8), b"")[:-1],
        b"\xc1" + first_datagram(bytes(8), b"")[1:],
        first_datagram(bytes(8), b"x").replace(b"\xfa\x1c", b"\x00\x00"),
        b"ping",
    ],
)
def test_what_is_not_ours_is_not_answered(data: bytes) -> None:
    assert Responder("b1", 7, 2, 0).answer(data) is None


def test_the_server_answers_from_the_address_that_was_asked() -> None:
    async def ask() -> tuple[bytes, str]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        serving = asyncio.create_task(serve(Responder("b1", 7, 2, 0), port))
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.setblocking(False)
                loop = asyncio.get_running_loop()
                for _ in range(50):
                    client.sendto(first_datagram(bytes(8), b"hi"), ("127.0.0.2", port))
                    with contextlib.suppress(TimeoutError, ConnectionError):
                        answer, sender = await asyncio.wait_for(loop.sock_recvfrom(client, 100), 0.1)
                        return answer, sender[0]
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
        raise AssertionError("no answer")

    answer, sender = asyncio.run(ask())
    assert (answer[:3], answer[-3:], sender) == (b"b1 ", b" hi", "127.0.0.2")
