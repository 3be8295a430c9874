"""The observers' pure parts: what routers print about their sessions, counters, and the join of requests with edges."""

import json

import pytest

from lab.observe.flowtap.edges import Edges
from lab.observe.flowtap.flows import Carriage
from lab.observe.rates import Count, read_sent
from lab.observe.reasons import difference
from lab.observe.session_text import Session, drops, read_sessions
from lab.traffic.evidence import Reason
from lab.traffic.flow import make_flow
from lab.traffic.series import Done, Finished, Sample, Series, merge_samples, per_second

FLOW = make_flow("198.51.100.9", 40000, "203.0.113.11", 7000)
OTHER = FLOW._replace(client_port=40001)

FRR = json.dumps(
    {
        "ipv4Unicast": {"peers": {"10.0.0.1": {"state": "Established", "connectionsDropped": 2}}},
        "ipv6Unicast": {"peers": {"10.0.0.1": {"state": "Established", "connectionsDropped": 2}}},
    }
)
# As BIRD 2.0.12 and GoBGP 3.10.0 print it.
BIRD = """\
BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     09:21:51.864

g          BGP        ---        down   09:21:51.865  Error: No listening socket
  BGP state:          Down
    Neighbor address: 127.0.0.3

up         BGP        ---        up     09:21:52.820  Established
  BGP state:          Established
    Neighbor address: 127.0.0.1
  Channel ipv4
    Routes:         4 imported, 1 exported, 0 preferred
  Channel ipv6
    Routes:         2 imported, 1 exported, 0 preferred

gone       BGP        ---        start  2026-11-30 09:21:56  Active        Received: Peer de-configured
  BGP state:          Active
    Neighbor address: 127.0.0.2
"""
GOBGP = json.dumps(
    [
        {"conf": {}, "state": {"neighbor_address": "10.0.0.1", "session_state": 6, "flops": 3}},
        {"conf": {}, "state": {"neighbor_address": "10.0.0.3", "session_state": 3}},
    ]
)


def test_sessions_are_read_from_each_program() -> None:
    assert read_sessions("frr", FRR) == {"10.0.0.1": Session("Established", 2)}
    assert read_sessions("gobgp", GOBGP) == {"10.0.0.1": Session("Established", 3), "10.0.0.3": Session("Active", 0)}
    assert read_sessions("bird", BIRD) == {
        "127.0.0.3": Session("Down", None, "09:21:51.865"),
        "127.0.0.1": Session("Established", None, "09:21:52.820"),
        "127.0.0.2": Session("Active", None, "2026-11-30 09:21:56"),
    }
    assert [each.prefixes for each in read_sessions("bird", BIRD).values()] == [0, 6, 0]


@pytest.mark.parametrize(("program", "text"), [("frr", '{"a": 1}'), ("gobgp", "[1]"), ("quagga", ""), ("frr", "x")])
def test_what_is_no_list_of_sessions_is_refused(program: str, text: str) -> None:
    with pytest.raises(ValueError):
        read_sessions(program, text)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (Session("Established", 1), Session("Established", 1), 0),
        (Session("Established", 1), Session("Active", 2), 1),
        (Session("Established", 1), Session("Established", 3), 2),
        (Session("Established", 4), Session("Established", 0), 1),  # the program was started anew
        (Session("Established", 0, age=60.0), Session("Established", 0, age=68.0), 0),
        (
            Session("Established", 0, age=60.0),
            Session("Established", 0, age=75.4),
            0,
        ),  # answered late
        (Session("Established", 0, age=60.0), Session("Established", 0, age=67.0), 0),
        (
            Session("Established", 0, age=2.0),
            Session("Established", 0, age=4.0),
            1,
        ),  # started anew, none counted
        (Session("Established", 0, age=60.0), Session("Established", 1, age=4.0), 1),
        (Session("Established", 0, age=2.0), Session("Connect", 0, age=0.0), 1),
        (Session("Established", 4), None, 1),
        (Session("Active", 4), None, 0),
        (Session("Established", None, "09:21:52.820"), Session("Established", None, "09:21:52.820"), 0),
        (Session("Established", None, "11:04:41.422"), Session("Established", None, "11:04:41.421"), 0),
        (Session("Established", None, "09:21:52.820"), Session("Established", None, "09:21:54.001"), 1),
        (Session("Established", None, "2026-11-30 09:21:56"), Session("Established", None, "2026-12-01 09:21:56"), 1),
        (Session("Active", None, "09:21:52.820"), Session("Established", None, "09:21:54.001"), 0),
    ],
)
def test_drops_are_those_between_two_readings(before: Session, after: Session | None, expected: int) -> None:
    assert drops({"p": before}, {} if after is None else {"p": after}, 8.0) == expected
    assert drops({}, {"p": before}, 8.0) == 0


def test_what_an_interface_sent_is_read_from_proc_net_dev() -> None:
    text = "Inter-| Receive | Transmit\n face |bytes packets\n  eth1: 1 2 0 0 0 0 0 0 30 4 0 0 0 0 0 0\n"
    assert read_sent(text) == {"eth1": Count(4, 30)}


def test_counters_that_fell_began_again() -> None:
    assert difference({"a": 3, "b": 1}, {"a": 5, "b": 1}) == {"a": 2, "b": 0}
    assert difference({"a": 3, "b": 1}, {"a": 2, "b": 4}) == {"a": 2, "b": 4}
    assert difference({}, {"a": 2}) == {"a": 2}


def test_a_request_has_the_edges_of_the_latest_interval_that_saw_it() -> None:
    edges = Edges()
    edges.learn(Carriage({FLOW: frozenset({"a-e2", "a-e1"}), OTHER: frozenset({"a-e1"})}, {}))
    edges.learn(Carriage({FLOW: frozenset({"a-e2"})}, {FLOW: "a-e1"}))
    done = [Done(1.0, "web", flow, "a-b1", None) for flow in (FLOW, OTHER)] + [Done(2.0, "web", None, "", Reason.LOCAL)]
    assert [placed.edges for placed in edges.place(done)] == [("a-e2",), ("a-e1",), ()]
    assert [placed.edge for placed in edges.place(done)] == ["a-e2", "a-e1", ""]
    assert edges.flows({OTHER: "a-b1"}) == {OTHER: (("a-e1",), "a-b1")}


def test_a_series_counts_by_second_and_backend_and_adds_up_over_clients() -> None:
    series = Series("web")
    for now, backend in ((1.0, "a"), (1.9, "a"), (2.0, "b")):
        series.answered(now, backend)
    series.failed(2.5, "")
    samples = series.samples(0, 3.0)
    assert samples == [Sample(1, "web", "a", 2, 0), Sample(2, "web", "", 0, 1), Sample(2, "web", "b", 1, 0)]
    assert series.samples(2, 3.0) == samples[1:]
    assert merge_samples([samples, samples]) == [
        s._replace(answered=2 * s.answered, failed=2 * s.failed) for s in samples
    ]
    assert per_second(samples, "stream") == {"web": [(1, 2, 0), (2, 1, 1)]}
    assert per_second(samples, "backend") == {"a": [(1, 2, 0)], "": [(2, 0, 1)], "b": [(2, 1, 0)]}
    assert series.samples(0, 4000.0) == [], "an hour is kept"


def test_finished_requests_are_told_once() -> None:
    finished = Finished()
    finished.add(Done(1.0, "web", FLOW, "a", None))
    assert [done.flow for done in finished.take()] == [FLOW]
    assert finished.take() == []
