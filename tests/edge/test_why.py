"""The question `why` asks: flows in text, frames that are valid packets, answers that are read off the tunnel."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from edge import offline, why
from edge.config import load
from edge.datapath.model import Protocol
from edge.plan import PoolView, Tables, forwarder_state, select

FLOW = why.FiveTuple(IPv4Address("198.51.100.7"), 40000, IPv4Address("203.0.113.10"), 80, Protocol.TCP)
FILE = Path(__file__).parents[2] / "docs" / "fairhop.yaml"


def test_a_flow_is_parsed_and_printed_alike() -> None:
    flow = why.parse_flow("198.51.100.7:40000", "203.0.113.10:80/tcp")
    assert flow == FLOW
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


def test_the_offline_answer_names_slot_and_backend() -> None:
    answer = offline.why(load(FILE.read_text(), str(FILE)), FLOW)
    assert answer["backend"] == "a-b1"
    assert answer["oracle"] == {"verdict": "tx", "reason": "none", "address": "10.0.9.1", "encap": "gre"}
    assert answer["agree"] is None


def test_a_port_that_nobody_serves_is_a_drop_with_its_reason() -> None:
    flow = why.FiveTuple(FLOW.client, FLOW.client_port, FLOW.vip, 81, FLOW.protocol)
    answer = offline.why(load(FILE.read_text(), str(FILE)), flow)
    assert (answer["backend"], answer["oracle"]["verdict"], answer["oracle"]["reason"]) == (None, "drop", "no_service")


def test_a_program_that_says_something_else_is_told() -> None:
    by_oracle = why.Path("tx", "none", IPv4Address("10.0.9.1"), "gre")
    by_program = why.Path("tx", "none", IPv4Address("10.0.9.2"), "gre")
    config = load(FILE.read_text(), str(FILE))
    tables = {name: Tables(101).table(select(pool, PoolView()).members) for name, pool in config.pools.items()}
    state = forwarder_state(config, tables, {}, frozenset(), 1)
    assert why.describe(FLOW, state, by_oracle, by_program)["agree"] is False
    assert why.describe(FLOW, state, by_oracle, by_oracle)["agree"] is True
