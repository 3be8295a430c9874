"""The state of a lab, folded from samples: rates, health, links, changes. And who may ask for it."""

import http.client
import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from edge.datapath import netlink
from lab.topology.parse import load
from lab.view import page
from lab.view.counters import read_counters
from lab.view.live import Ends, Live
from lab.view.model import ActiveFault, Change, Counters, NodeSample, Sample, Session
from lab.view.server import Board, Server, is_ours, names

LINKS = [Ends("r1", "eth1", "e1", "eth1")]


def counters(packets: int, sent: int = 0, up: bool = True) -> Counters:
    return Counters(up, packets, sent, packets * 100, sent * 100)


def sample(t: float, router: Counters, edge: Counters, state: str = "running") -> Sample:
    return Sample(t, {"r1": NodeSample("running", {"eth1": router}), "e1": NodeSample(state, {"eth1": edge})})


@pytest.fixture(name="live")
def _live() -> Live:
    return Live("t", "netns", LINKS, {"10.0.0.1": "e1"})


def test_a_rate_is_a_difference(live: Live) -> None:
    live.take(sample(10, counters(0, 100), counters(100)))
    assert live.state(10)["links"][0]["packets"] == [0, 0]
    live.take(sample(12, counters(20, 300), counters(300, 20)))
    link = live.state(12.5)["links"][0]
    assert link["packets"] == [100.0, 10.0]
    assert link["bits"] == [80_000.0, 8_000.0]
    assert link["history"] == [0, 110]
    assert live.state(12.5)["age"] == 0.5


def test_what_only_one_end_counts_is_counted(live: Live) -> None:
    live.take(sample(0, counters(0, 0), counters(0)))
    live.take(sample(1, counters(0, 0), counters(50)))  # the router's end says it sent nothing
    assert live.state(1)["links"][0]["packets"] == [50.0, 0.0]


def test_a_counter_that_begins_again_is_no_negative_rate(live: Live) -> None:
    live.take(sample(0, counters(1000), counters(1000)))
    live.take(sample(1, counters(5), counters(5)))
    assert live.state(1)["links"][0]["packets"] == [0, 0]


@pytest.mark.parametrize(
    ("edge", "state", "up", "health", "link"),
    [
        (counters(0), "running", True, "up", True),
        (counters(0, up=False), "running", True, "degraded", False),
        (counters(0), "running", False, "degraded", True),
        (counters(0), "exited", True, "down", True),
    ],
)
def test_health(live: Live, edge: Counters, state: str, up: bool, health: str, link: bool) -> None:
    live.take(sample(0, counters(0), edge, state))
    live.take_sessions("e1", 0, [Session("10.0.0.0", "Established" if up else "Idle", up)])
    assert live.state(0)["nodes"]["e1"]["health"] == health
    assert live.state(0)["links"][0]["up"] is link


def test_a_node_that_is_dead_has_no_sessions(live: Live) -> None:
    live.take(sample(0, counters(0), counters(0), "exited"))
    live.take_sessions("e1", 0, [Session("10.0.0.0", "Established", True)])
    assert live.state(0)["nodes"]["e1"]["sessions"] == []


def test_peers_and_next_hops_have_names(live: Live) -> None:
    live.take(sample(0, counters(0), counters(0)))
    live.take_sessions("r1", 0, [Session("10.0.0.1", "Idle", False), Session("eth1", "Idle", False)])
    live.take_changes([Change(1.0, "r1", "203.0.113.10/32", ("10.0.0.1@eth1", "fe80::9@eth7"))])
    state = live.state(3)
    assert [session["peer_node"] for session in state["nodes"]["r1"]["sessions"]] == ["e1", "e1"]
    assert state["changes"] == [
        {"age": 2.0, "router": "r1", "prefix": "203.0.113.10/32", "hops": ["e1", "fe80::9@eth7"]}
    ]


def test_changes_are_told_newest_first_and_not_without_end(live: Live) -> None:
    live.take(sample(0, counters(0), counters(0)))
    live.take_changes([Change(float(t), "r1", "p", ()) for t in range(1000)])
    assert [change["age"] for change in live.state(1000)["changes"]] == [float(age) for age in range(1, 51)]


def test_a_fault_names_its_nodes(live: Live) -> None:
    found = ActiveFault("loss", "loss", "30 % of packets towards r1:eth1 are lost; e10 is not e1x", None)
    live.take(Sample(0, sample(0, counters(0), counters(0)).nodes, [found]))
    assert live.state(0)["faults"][0]["nodes"] == ["r1"]


def test_counters_are_read_from_the_kernels_bytes() -> None:
    stats = struct.pack("=24Q", 7, 9, 700, 900, *range(20))
    payload = netlink.LINK.pack(0, 1, 2, 0x41, 0)
    payload += netlink.attribute(3, b"eth1\0") + netlink.attribute(23, stats) + netlink.attribute(33, b"\1")
    datagram = netlink.request(netlink.RTM_NEWLINK, 0, 1, payload)
    found: dict[str, Counters] = {}
    assert read_counters(datagram, found) is False
    assert found == {"eth1": Counters(True, 7, 9, 700, 900)}
    assert read_counters(netlink.request(netlink.NLMSG_DONE, 0, 1, b"\0" * 4), found) is True
    with pytest.raises(netlink.NetlinkError):
        read_counters(netlink.request(netlink.RTM_NEWLINK, 0, 1, payload[:16]), found)


def test_a_page_names_every_node_and_link() -> None:
    lab = load(
        "name: t\ntopology:\n  nodes:\n    a: {kind: linux}\n    b: {kind: linux, labels: {fairhop.role: edge}}\n"
        '  links:\n    - {endpoints: ["a:eth1", "b:eth1"]}\n',
        "t.clab.yml",
    )
    text = page.render(lab, "netns", "", "")
    assert 'data-node="a"' in text
    assert 'data-a="a:eth1" data-b="b:eth1"' in text


# The server -----------------------------------------------------------------------------------------------------------


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    with Server("127.0.0.1", 0, "<p>page", Board()) as server:
        server.start()
        yield server


def get(server: Server, target: str = "/", host: str | None = None, method: str = "GET") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=15)) as connection:
        connection.putrequest(method, target, skip_host=host is not None)
        if host:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.headers["Content-Security-Policy"] or answer.status == 501
        return answer.status, answer.read()


def test_the_page_and_nothing_else_is_served(server: Server) -> None:
    assert get(server) == (200, b"<p>page")
    assert get(server, method="HEAD") == (200, b"")
    assert get(server, "/../../etc/passwd")[0] == 404
    assert get(server, "/state.json?after=x")[0] == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)) as connection:
        connection.request(method, "/state.json")
        assert connection.getresponse().status == 501


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:{}", 200), ("127.0.0.1:{}", 200), ("LOCALHOST:{}", 200), ("evil.example:{}", 421), ("127.0.0.1", 421),
     ("127.0.0.1:1", 421), ("evil.example", 421), ("10.0.0.1:{}", 421)],
)  # fmt: skip
def test_only_this_hosts_names_are_answered(server: Server, host: str, status: int) -> None:
    assert get(server, host=host.format(server.server_address[1]))[0] == status


def test_names_of_other_addresses() -> None:
    assert "[::1]:8600" in names("::1", 8600)
    assert not is_ours("evil.example:80", "0.0.0.0", names("0.0.0.0", 80))
    assert is_ours("192.0.2.1:80", "0.0.0.0", names("0.0.0.0", 80))


def test_who_waits_is_told_at_once(server: Server) -> None:
    server.board.publish({"nodes": {}})
    threading.Timer(0.3, server.board.publish, [{"nodes": {"a": 1}}]).start()
    began = time.monotonic()
    status, body = get(server, "/state.json?after=1")
    assert status == 200
    assert json.loads(body) == {"number": 2, "nodes": {"a": 1}}
    assert 0.25 < time.monotonic() - began < 2
