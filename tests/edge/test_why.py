"""The question `why` asks: flows in text, frames that are valid packets, answers that are read off the tunnel."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from edge.config.file import load
from edge.datapath.abi import Note
from edge.datapath.blocklist import BlockList, parse
from edge.datapath.hashing import FlowKey, flow_hash, slot_of
from edge.datapath.headers import ipv4_header
from edge.datapath.model import Protocol
from edge.decide.plan import PoolView, Tables, forwarder_state, select
from edge.show import offline, why
from tests.edge.test_config_rules import FULL

FLOW = why.FiveTuple(IPv4Address("198.51.100.7"), 40000, IPv4Address("203.0.113.10"), 80, Protocol.TCP)
FILE = Path(__file__).parents[2] / "docs" / "fairhop.yaml"


def test_a_flow_is_parsed_and_printed_alike() -> None:
    flow = why.parse_flow("198.51.100.7:40000", "203.0.113.10:80/tcp")
    assert flow == FLOW
    assert why.parse_flow(*str(flow).split()) == flow


def test_an_ipv6_flow_is_written_with_brackets() -> None:
    flow = why.parse_flow("[2001:db8::7]:40000", "[2001:db8:1::10]:443/udp")
    assert flow == why.FiveTuple(IPv6Address("2001:db8::7"), 40000, IPv6Address("2001:db8:1::10"), 443, Protocol.UDP)
    assert why.parse_flow(*str(flow).split()) == flow


@pytest.mark.parametrize(
    ("source", "destination", "named"),
    [
        ("198.51.100.7", "203.0.113.10:80/tcp", "'198.51.100.7': expected SRC:PORT"),
        ("198.51.100.7:0", "203.0.113.10:80/tcp", "'198.51.100.7:0'"),
        ("198.51.100.777:1", "203.0.113.10:80/tcp", "'198.51.100.777:1'"),
        ("198.51.100.7:1", "203.0.113.10:80", "'203.0.113.10:80': expected VIP:PORT/tcp"),
        ("198.51.100.7:1", "203.0.113.10:80/sctp", "expected VIP:PORT/tcp or VIP:PORT/udp"),
        ("198.51.100.7:1", "203.0.113.10:65536/udp", "'203.0.113.10:65536'"),
        ("2001:db8::7:40000", "[2001:db8:1::10]:80/tcp", "'2001:db8::7:40000': expected SRC:PORT"),
        ("[198.51.100.7]:1x", "203.0.113.10:80/tcp", "expected SRC:PORT"),
        ("[2001:db8::7]:1", "203.0.113.10:80/tcp", "expected addresses of one family"),
    ],
)
def test_a_flow_that_is_none_is_named(source: str, destination: str, named: str) -> None:
    with pytest.raises(why.FlowError, match=named):
        why.parse_flow(source, destination)


@pytest.mark.parametrize("protocol", list(Protocol))
def test_the_frame_is_a_packet_of_the_flow_with_a_right_checksum(protocol: Protocol) -> None:
    flow = why.FiveTuple(FLOW.client, FLOW.client_port, FLOW.vip, FLOW.vip_port, protocol)
    packet = Ether(why.frame(flow))
    layer = packet[TCP if protocol is Protocol.TCP else UDP]
    assert (packet[IP].src, layer.sport, packet[IP].dst, layer.dport) == ("198.51.100.7", 40000, "203.0.113.10", 80)
    given = packet[IP].chksum
    del packet[IP].chksum
    assert Ether(bytes(packet))[IP].chksum == given


@pytest.mark.parametrize("protocol", list(Protocol))
def test_an_ipv6_frame_is_a_packet_of_the_flow(protocol: Protocol) -> None:
    flow = why.FiveTuple(IPv6Address("2001:db8::7"), 40000, IPv6Address("2001:db8:1::10"), 80, protocol)
    packet = Ether(why.frame(flow))
    layer = packet[TCP if protocol is Protocol.TCP else UDP]
    assert (packet[IPv6].src, layer.sport, packet[IPv6].dst, layer.dport) == (
        "2001:db8::7",
        40000,
        "2001:db8:1::10",
        80,
    )
    assert packet[IPv6].plen == len(bytes(packet[IPv6])) - 40


def offline_full(source: str, destination: str, blocked: BlockList | None = None) -> dict[str, Any]:
    return offline.ask(load(FULL, "f.yaml"), blocked, why.parse_flow(source, destination)).answer()


def test_offline_answers_for_ipv6_prefixes_any_port_and_tunnels_of_both_families() -> None:
    found = [
        offline_full(f"[2001:db8:f::{client:x}]:40000", "[2001:db8:1::10]:80/tcp")["oracle"] for client in range(1, 40)
    ]
    assert {(each["verdict"], each["address"], each["encap"]) for each in found} == {
        ("tx", "10.0.9.1", "gre"),
        ("tx", "fd00:9::2", "gre"),
    }
    any_port = offline_full("198.51.100.7:40000", "203.0.113.200:4711/tcp")
    assert (any_port["backend"], any_port["oracle"]["address"], any_port["oracle"]["encap"]) == (
        "b3",
        "10.0.9.3",
        "ipip",
    )
    assert offline_full("198.51.100.7:40000", "203.0.113.200:9/tcp")["slot"] == any_port["slot"]
    assert any_port["slot"] == slot_of(flow_hash(FlowKey(FLOW.client, 0, 0, 6), 7), 101)


def test_a_blocked_source_is_told_and_a_dry_run_lets_it_through() -> None:
    lines = ["2001:db8:f::/48", "198.51.100.0/24"]
    for source, destination in (
        ("[2001:db8:f::1]:5", "[2001:db8:1::10]:80/tcp"),
        ("198.51.100.7:5", "203.0.113.10:80/tcp"),
    ):
        found = [
            offline_full(source, destination, blocked)["oracle"]["reason"]
            for blocked in (None, parse(lines, "b"), parse(lines, "b", dry_run=True))
        ]
        assert found == ["none", "blocked", "none"]


def test_one_client_has_one_slot_where_the_client_alone_is_hashed() -> None:
    slots = {offline_full(f"198.51.100.7:{port}", "203.0.113.10:80/tcp")["slot"] for port in range(1000, 1030)}
    assert len(slots) == 1


def test_a_backend_on_this_host_has_no_tunnel() -> None:
    assert why.path("pass", "none", b"", {Note.LOCAL}) == why.Path("pass", "none", None, "local")


def test_an_answer_of_the_edge_itself_leads_to_no_backend() -> None:
    answer = bytes(12) + b"\x08\0" + ipv4_header(FLOW.vip, FLOW.client, 1, 0)
    assert why.path("tx", "toobig", answer) == why.Path("tx", "toobig", None, None)


def test_the_offline_answer_names_slot_and_backend() -> None:
    answer = offline.ask(load(FILE.read_text(), str(FILE)), None, FLOW).answer()
    assert answer["backend"] == "a-b1"
    assert answer["oracle"] == {"verdict": "tx", "reason": "none", "address": "10.0.9.1", "encap": "gre"}
    assert answer["agree"] is None


def test_a_port_that_nobody_serves_is_a_drop_with_its_reason() -> None:
    flow = why.FiveTuple(FLOW.client, FLOW.client_port, FLOW.vip, 81, FLOW.protocol)
    answer = offline.ask(load(FILE.read_text(), str(FILE)), None, flow).answer()
    assert (answer["backend"], answer["oracle"]["verdict"], answer["oracle"]["reason"]) == (None, "drop", "no_service")


def test_a_program_that_says_something_else_is_told() -> None:
    by_oracle = why.Path("tx", "none", IPv4Address("10.0.9.1"), "gre")
    by_program = why.Path("tx", "none", IPv4Address("10.0.9.2"), "gre")
    config = load(FILE.read_text(), str(FILE))
    tables = {name: Tables(101).table(select(pool, PoolView()).members) for name, pool in config.pools.items()}
    state = forwarder_state(config, tables, {}, frozenset(), 1)
    assert why.describe(FLOW, state, by_oracle, by_program)["agree"] is False
    assert why.describe(FLOW, state, by_oracle, by_oracle)["agree"] is True
