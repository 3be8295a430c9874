"""What a node says of itself: the verdict, what is acknowledged, and facts that JSON can carry."""

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from bgp.report import PeerStatus, PrefixStatus, SpeakerState
from bgp.rib import UNKNOWN
from bgp.route import GRACEFUL_SHUTDOWN, Prefix, Route
from bgp.supervisor import Phase
from edge.datapath.blocklist import parse
from edge.datapath.model import Counters
from edge.datapath.next_hop import Finding
from edge.decide.intent import Drain, Intent
from edge.decide.node import Node
from edge.decide.plan import Tables
from edge.policy.announce import Decision, Reason, Stance
from edge.show.status import ForwarderView, facts, verdict
from tests.edge.test_node import BAD, serving
from tests.edge.test_plan import config

VIP, OTHER = IPv4Network("203.0.113.10/32"), IPv4Network("203.0.113.11/32")
DRAIN = Drain("2026-01-01T00:00:00Z", 7, "new line card")

ANNOUNCED = Decision(Stance.ANNOUNCED, Reason.SERVING)
PANIC = Decision(Stance.DEPREFERRED, Reason.BACKENDS_DOWN)
DRAINING, DRAINED = Decision(Stance.DEPREFERRED, Reason.DRAINING, 9.0), Decision(Stance.WITHDRAWN, Reason.DRAINED)
STARTING, FAULTY = Decision(Stance.WITHDRAWN, Reason.STARTING), Decision(Stance.WITHDRAWN, Reason.FORWARDER)
LEAVING, LEFT = Decision(Stance.DEPREFERRED, Reason.STOPPING, 9.0), Decision(Stance.WITHDRAWN, Reason.STOPPING)

VERDICTS = [
    (ANNOUNCED, ANNOUNCED, "", "SERVING"),
    (ANNOUNCED, PANIC, "", f"DEGRADED ({Reason.BACKENDS_DOWN.value})"),
    (PANIC, PANIC, "", f"DEGRADED ({Reason.BACKENDS_DOWN.value})"),
    (DRAINING, DRAINING, "", "DRAINING"),
    (DRAINED, DRAINED, "", "DRAINED"),
    (DRAINING, PANIC, "", f"DEGRADED ({Reason.DRAINING.value}; {Reason.BACKENDS_DOWN.value})"),
    (STARTING, STARTING, "", f"NOT SERVING ({Reason.STARTING.value})"),
    (FAULTY, FAULTY, "eth1 is gone", f"NOT SERVING ({Reason.FORWARDER.value}; eth1 is gone)"),
    (LEAVING, LEAVING, "", f"DEGRADED ({Reason.STOPPING.value})"),
    (LEFT, LEFT, "", f"NOT SERVING ({Reason.STOPPING.value})"),
]


@pytest.mark.parametrize(("one", "other", "fault", "expected"), VERDICTS)
def test_the_verdict_is_one_line_that_says_why_not(one: Decision, other: Decision, fault: str, expected: str) -> None:
    assert verdict({VIP: one, OTHER: other}, fault) == expected


def test_a_skewed_configuration_is_in_the_verdict() -> None:
    assert verdict({VIP: ANNOUNCED}, "", "others differ") == "DEGRADED (skew: others differ)"
    assert verdict({VIP: ANNOUNCED, OTHER: PANIC}, "", "others differ").endswith("; skew: others differ)")
    assert verdict({VIP: DRAINED}, "", "others differ") == "DRAINED"


def view(*, applied: bool = True) -> ForwarderView:
    tables = {"web": Tables(101).table(serving().selections()["web"].members)} if applied else {}
    counters = Counters(9, 5, 1, {"martian": 3, "no_service": 0}, {"echo": 0, "other_host": 2})
    return ForwarderView({"eth1": "native"}, tables, 4 if applied else 0, applied, counters)


def speaker(*prefixes: PrefixStatus) -> SpeakerState:
    peer = PeerStatus("a-r1", IPv4Address("10.0.5.0"), 65101, True, 40.0, "")
    held: dict[Prefix, PrefixStatus] = dict(zip((VIP, OTHER), prefixes, strict=False))
    return SpeakerState(Phase.RUNNING, "relay 5 connected", 1.0, 2, 4, 5, 49.0, True, held, (peer,))


PLAIN, AVOID = Route(VIP), Route(VIP, communities=(GRACEFUL_SHUTDOWN,))


def acked(node: Node, status: PrefixStatus | None, now: float = 50.0) -> bool:
    state = speaker(status) if status else speaker()
    answer = facts(node, view(), state, [], now)["vips"][0]["acked"]
    assert isinstance(answer, bool)
    return answer


def test_acked_is_said_when_exabgp_holds_what_was_decided() -> None:
    held = PrefixStatus(PLAIN, PLAIN, PLAIN, 0)
    assert acked(serving(), held)
    assert not acked(serving(), replace(held, acked=UNKNOWN))
    assert not acked(serving(), replace(held, acked=None))
    assert not acked(serving(), replace(held, sent=AVOID))
    assert not acked(serving(), None)


def test_what_is_held_of_an_earlier_decision_is_not_acked() -> None:
    node = serving()
    node.set_intent(Intent(node=DRAIN), 50.0)
    assert not acked(node, PrefixStatus(PLAIN, PLAIN, PLAIN, 0), 50.5)
    assert acked(node, PrefixStatus(AVOID, AVOID, AVOID, 0), 50.5)
    assert not acked(node, PrefixStatus(AVOID, AVOID, AVOID, 0), 51.5)
    assert acked(node, PrefixStatus(None, None, None, 0), 51.5)
    assert not acked(node, PrefixStatus(None, None, UNKNOWN, 0), 51.5)


def test_the_facts_of_a_serving_node() -> None:
    node = serving()
    events = [{"at": "now", "subject": "x", "old": "a", "new": "b", "reason": ""}]
    found = facts(node, view(), speaker(PrefixStatus(PLAIN, PLAIN, PLAIN, 0)), events, 50.0)
    assert json.loads(json.dumps(found)) == found
    assert (found["schema_version"], found["node"], found["verdict"]) == (1, "a-e1", "SERVING")
    behind = {"accepted": None, "healthy": 3, "backends": 3, "panic": False}
    said = {"prefix": str(VIP), "stance": "announced", "reason": "serving", "until": None, "acked": True}
    assert found["vips"] == [said | behind]
    forwarder = found["forwarder"]
    assert forwarder["rx"] == forwarder["tx"] + forwarder["passed"] + sum(forwarder["drops"].values())
    assert (forwarder["drops"], forwarder["notes"]) == ({"martian": 3}, {"other_host": 2})
    assert found["announcer"]["peers"] == [
        {"name": "a-r1", "address": "10.0.5.0", "asn": 65101, "up": True, "since": 10.0, "reason": ""}
    ]
    assert (found["announcer"]["phase"], found["announcer"]["restarts"], found["events"]) == ("running", 2, events)


def test_a_pool_tells_slots_health_and_drain_of_each_backend() -> None:
    node = serving(Intent(backends={"b2": DRAIN}))
    for moment in range(3):
        node.observe("web", "b1", BAD, 40.0 + moment)
        node.observe("web", "b3", BAD, 40.0 + moment)
    found = facts(node, view(), speaker(), [], 50.0)
    pool = found["pools"][0]
    backends = {backend["name"]: backend for backend in pool["backends"]}
    assert sum(backend["slots"] for backend in backends.values()) == 101
    assert [backends[name]["drained"] for name in ("b1", "b2", "b3")] == [False, True, False]
    assert (backends["b3"]["state"], backends["b3"]["since"]) == ("down", 8.0)
    assert (backends["b3"]["last"], backends["b3"]["latency"]) == ("connection refused", 0.001)
    assert (pool["healthy"], pool["panic"], len(pool["digest"])) == (1, True, 64)
    order = {"since": DRAIN.since, "uid": 7, "reason": "new line card", "until": None, "forced": False}
    assert found["intent"]["backends"]["b2"] == order


def test_backends_without_a_next_hop_are_named_with_the_reason() -> None:
    node = serving()
    b1, b2, b3 = (backend.address for backend in node.config.pools["web"].backends)
    known = {b1: Finding.RESOLVED, b2: Finding.NO_ROUTE}
    found = facts(node, replace(view(), findings=known), speaker(), [], 50.0)
    assert found["forwarder"]["waiting"] == {
        "b2": "no route to it, or the route refuses",
        "b3": "no MAC address known for any of its gateways",
    }
    assert [backend["next_hop"] for backend in found["pools"][0]["backends"]] == [
        "resolved",
        "no route to it, or the route refuses",
        "no MAC address known for any of its gateways",
    ]
    reached = replace(view(), findings=known | {b2: Finding.LOCAL, b3: Finding.RESOLVED})
    assert facts(node, reached, speaker(), [], 50.0)["forwarder"]["waiting"] == {}


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_block_list_in_force_is_shown(dry_run: bool) -> None:
    listed = parse(["192.0.2.0/24", "2001:db8::/32"], "b.txt", dry_run=dry_run)
    found = facts(serving(), replace(view(), blocked=listed), speaker(), [], 50.0)
    shown = {"prefixes": 2, "dry_run": dry_run, "digest": listed.digest, "hits": 0, "most_hit": {}}
    assert found["forwarder"]["block_list"] == shown
    assert facts(serving(), view(), speaker(), [], 50.0)["forwarder"]["block_list"] is None


def test_the_prefixes_that_met_most_packets_are_shown_first_and_ten_of_them() -> None:
    listed = parse([f"192.0.2.{n}" for n in range(20)], "b.txt")
    hits = {n: 100 + n // 2 for n in range(19)} | {20: 5000}
    found = facts(serving(), replace(view(), blocked=listed, hits=hits), speaker(), [], 50.0)
    shown = found["forwarder"]["block_list"]
    assert list(shown["most_hit"].items())[:3] == [
        ("192.0.2.18/32", 109),
        ("192.0.2.16/32", 108),
        ("192.0.2.17/32", 108),
    ]
    assert len(shown["most_hit"]) == 10
    assert shown["hits"] == sum(100 + n // 2 for n in range(19))


def test_a_node_that_has_seen_nothing_yet_has_facts_too() -> None:
    node = Node(config(), Intent(node=DRAIN), 49.0)
    found = facts(node, view(applied=False), speaker(), [], 50.0)
    pool = found["pools"][0]
    assert (pool["digest"], pool["imbalance"], pool["backends"][0]["slots"]) == (None, None, 0)
    assert (pool["backends"][0]["last"], pool["backends"][0]["latency"]) == (None, None)
    assert found["verdict"].startswith("NOT SERVING (starting")
    assert found["intent"]["node"]["uid"] == 7


def test_a_fault_is_in_the_verdict_and_in_the_forwarders_part() -> None:
    node = serving()
    node.set_fault("interfaces", "not attached to eth1: no such device")
    found = facts(node, view(), speaker(), [], 50.0)
    assert found["forwarder"]["fault"] == "not attached to eth1: no such device"
    assert found["verdict"].endswith("; not attached to eth1: no such device)")
