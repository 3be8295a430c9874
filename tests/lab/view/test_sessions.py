"""What routers and edges say of their sessions, as they were seen to say it, and the journal of faults."""

import json

import pytest

from lab.view import faults, sessions
from lab.view.model import ActiveFault, Session

FRR = """{"ipv4Unicast": {"routerId": "10.255.0.2", "as": 65101, "peers": {
  "10.0.0.0": {"peerUptimeMsec": 61000, "pfxRcd": 3, "state": "Established", "connectionsDropped": 0},
  "10.0.5.1": {"peerUptimeMsec": 0, "pfxRcd": 0, "state": "Active", "connectionsDropped": 0}}},
 "ipv6Unicast": {"peers": {
  "10.0.0.0": {"peerUptimeMsec": 61000, "pfxRcd": 2, "state": "Established", "connectionsDropped": 0}}}}"""

BIRD = """BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     09:18:25.679

s4         Static     master4    up     09:18:25.679
  Channel ipv4
    State:          UP
    Routes:         1 imported, 0 exported, 1 preferred

up1        BGP        ---        up     09:18:30.680  Established
  BGP state:          Established
    Neighbor address: 127.0.0.1
    Neighbor port:    1790
  Channel ipv4
    State:          UP
    Routes:         4 imported, 1 exported, 0 preferred
  Channel ipv6
    State:          UP
    Routes:         2 imported, 1 exported, 0 preferred

down1      BGP        ---        start  09:18:25.679  Active        Socket: Connection closed
  BGP state:          Active
    Neighbor address: 127.0.0.9
    Connect delay:    3.648/5
  Channel ipv4
    State:          DOWN
"""

GOBGP = """[{"conf":{"neighbor_address":"127.0.0.2","peer_asn":65002},
  "state":{"neighbor_address":"127.0.0.2","session_state":6},"afi_safis":[{"state":{"accepted":2}},{"state":{}}]},
 {"conf":{"neighbor_address":"127.0.0.3"},"state":{"session_state":3}}]"""

EDGE = {"peers": [{"address": "10.0.5.0", "state": "Established", "up": True, "announced": 4, "since": 12.5}]}


def test_frr_tells_a_peer_once_for_each_family() -> None:
    assert sessions.of_router("frr", FRR) == [
        Session("10.0.0.0", "Established", True, 5, 61.0),
        Session("10.0.5.1", "Active", False, 0, 0.0),
    ]
    assert sessions.of_router("frr", "{}") == []


def test_bird_tells_other_protocols_too() -> None:
    assert sessions.of_router("bird", BIRD) == [
        Session("127.0.0.1", "Established", True, 6),
        Session("127.0.0.9", "Active", False, 0),
    ]


def test_gobgp_tells_states_as_numbers() -> None:
    assert sessions.of_router("gobgp", GOBGP) == [
        Session("127.0.0.2", "Established", True, 2),
        Session("127.0.0.3", "Active", False, 0),
    ]
    assert sessions.of_router("gobgp", "null") == []


def test_an_edge_tells_what_it_announces() -> None:
    assert sessions.of_edge(EDGE) == [Session("10.0.5.0", "Established", True, 4, 12.5)]


@pytest.mark.parametrize(("router", "text"), [("frr", "no"), ("gobgp", "{}x"), ("frr", '{"a": {"peers": {"b": {}}}}')])
def test_what_cannot_be_read_is_said(router: str, text: str) -> None:
    with pytest.raises(ValueError, match="its sessions cannot be read"):
        sessions.of_router(router, text)


def test_the_journal_of_faults_is_read_tolerantly() -> None:
    row = {"name": "x", "kind": "loss", "text": "30 % on a-r1:eth3", "since": 3.5, "undo": ["later"]}
    wanted = [ActiveFault("x", "loss", "30 % on a-r1:eth3", 3.5)]
    assert faults.read(json.dumps([row])) == wanted
    assert faults.read(json.dumps({"version": 9, "faults": [row]})) == wanted
    assert faults.read(json.dumps([{"fault": {"mtu": {}}}, 3])) == [ActiveFault("mtu", "mtu", "mtu", None)]
    assert faults.read("") == []
    with pytest.raises(ValueError, match="holds no list"):
        faults.read("{}")
