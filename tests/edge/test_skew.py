"""Digests of configurations: what they cover, and when those of others are an alarm, or a reason to leave."""

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.bmp.readback import ReadBack, RouterReport
from edge.announcer.attributes import route_for
from edge.config.digest import digest_for, digests
from edge.config.file import load
from edge.decide.intent import Intent
from edge.decide.node import Node
from edge.policy.announce import Others, Reason, Stance
from edge.policy.skew import Skew, SkewRules, Skews, vote
from edge.show.status_skew import skew_facts
from tests.edge.test_config import GOOD
from tests.edge.test_config_rules import FULL
from tests.edge.test_node import OK

VIP, OTHER = IPv4Network("203.0.113.10/32"), IPv4Network("203.0.113.11/32")
VIP6, WIDE = IPv6Network("2001:db8:1::10/128"), IPv4Network("203.0.113.128/25")
OURS, THEIRS = 0x1111, 0x2222


def changed(*edits: tuple[str, str]) -> str:
    text = FULL
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


SKEWED = [
    ("another seed", ("seed: 7", "seed: 8")),
    ("another size", ("table_size: 101", "table_size: 103")),
    ("a backend more", ("server_id: 2}", "server_id: 2}\n      - {name: b9, address: 10.0.9.9, server_id: 9}")),
    ("another weight", ("server_id: 1}", "server_id: 1, weight: 2}")),
    ("another address", ("10.0.9.1", "10.0.9.2")),
    ("another key", ("key: 77", "key: 78")),
    ("another way to hash", ("pool: web, hash: client}", "pool: web}")),
    ("another server id", ("server_id: 2", "server_id: 3")),
    ("another form of ids", ("config_id: 2", "config_id: 3")),
    ("another port", ("protocol: tcp, port: 80", "protocol: tcp, port: 81")),
    ("no quic", ("pool: web, quic: true", "pool: web")),
]


@pytest.mark.parametrize("edit", [row[1] for row in SKEWED], ids=[row[0] for row in SKEWED])
def test_what_moves_flows_is_in_the_digest(edit: tuple[str, str]) -> None:
    assert digests(load(changed(edit), "f"))[VIP] != digests(load(FULL, "f"))[VIP]


OWN_AFFAIRS = [
    ("the node's name", ("node: a-e1", "node: a-e2")),
    ("names of backends", ("name: b1", "name: b7")),
    ("the order of backends", ("      - {name: b1, address: 10.0.9.1, server_id: 1}\n", ""),
     ("server_id: 2}", "server_id: 2}\n      - {name: b1, address: 10.0.9.1, server_id: 1}")),
    ("checks", ("check: {type: http, port: 80}", "check: {type: tcp, port: 8080, rise: 9}")),
    ("names of services and pools", ("name: h3", "name: quic"), ("pool: web", "pool: www"), ("  web:\n", "  www:\n")),
    ("limits", ("rate: 1000,", "rate: 9,")),
    ("sessions", ("asn: 65110", "asn: 65111")),
    ("how an address is written", ("fd00:9::2", "fd00:9:0::2")),
    ("another VIP's pool", ("10.0.9.3", "10.0.9.4")),
]  # fmt: skip


@pytest.mark.parametrize("edits", [row[1:] for row in OWN_AFFAIRS], ids=[str(row[0]) for row in OWN_AFFAIRS])
def test_what_is_a_node_s_own_is_not(edits: tuple[tuple[str, str], ...]) -> None:
    before, after = digests(load(FULL, "f")), digests(load(changed(*edits), "f"))
    assert {prefix: after[prefix] for prefix in (VIP, VIP6)} == {prefix: before[prefix] for prefix in (VIP, VIP6)}


def test_every_vip_has_its_own_digest() -> None:
    found = digests(load(FULL, "f"))
    assert {VIP, VIP6, WIDE} <= found.keys()
    assert len(set(found.values())) == len(found)
    assert all(0 <= each <= 0xFFFFFFFF for each in found.values())


def test_a_digest_is_carried_where_routers_are_read_back_and_nowhere_else() -> None:
    plain, asking = (
        load(FULL, "f"),
        load(changed(("announcer:\n", "announcer:\n  read_back: {listen: 10.0.4.1}\n")), "f"),
    )
    assert digest_for(plain, VIP) is None
    route = route_for(plain.announcer, VIP, Stance.ANNOUNCED)
    assert route is not None and route.large_communities == ()
    number = digests(asking)[VIP]
    for stance in (Stance.ANNOUNCED, Stance.DEPREFERRED):
        route = route_for(asking.announcer, VIP, stance, digest_for(asking, VIP))
        assert route is not None and route.large_communities == (f"65110:18504:{number}",)


VOTES = [
    ([], Skew.UNKNOWN),
    ([None], Skew.UNKNOWN),
    ([OURS], Skew.AGREED),
    ([THEIRS], Skew.SPLIT),  # two nodes cannot tell who is wrong
    ([THEIRS, OURS], Skew.AGREED),  # the third one is
    ([THEIRS, THEIRS], Skew.OUTVOTED),
    ([THEIRS, 3], Skew.AGREED),  # nobody has a majority
    ([THEIRS, THEIRS, OURS], Skew.SPLIT),  # two against two
    ([THEIRS, THEIRS, THEIRS, OURS], Skew.OUTVOTED),
    ([THEIRS, None], Skew.AGREED),  # one that carries none agrees with nobody
    ([THEIRS, THEIRS, None], Skew.SPLIT),
    ([THEIRS, THEIRS, 3, 3], Skew.AGREED),
]


@pytest.mark.parametrize(("others", "expected"), VOTES)
def test_a_vote(others: list[int | None], expected: Skew) -> None:
    assert vote(OURS, others).skew is expected


digest = st.sampled_from([1, 2, 3])


@given(st.lists(digest, min_size=2, max_size=9))
def test_of_nodes_that_see_each_other_those_who_are_outvoted_never_are_most_of_all(fleet: list[int]) -> None:
    """Whoever leaves for it, most nodes stay, and they agree with each other."""
    votes = [vote(own, fleet[:at] + fleet[at + 1 :]) for at, own in enumerate(fleet)]
    outvoted = [each for each in votes if each.skew is Skew.OUTVOTED]
    assert 2 * len(outvoted) < len(fleet)
    staying = {own for own, each in zip(fleet, votes, strict=True) if each.skew is not Skew.OUTVOTED}
    assert not outvoted or staying == {outvoted[0].other}


@given(st.lists(digest | st.none(), max_size=9), st.randoms())
def test_the_order_of_nodes_changes_nothing(others: list[int | None], random: object) -> None:
    assert vote(1, others) == vote(1, list(reversed(others)))


LEAVES = SkewRules(10.0, withdraw=True)


def heard(rules: SkewRules = LEAVES) -> tuple[Skews, Callable[..., Skews]]:
    skews = Skews(rules)

    def hear(now: float, *others: int | None) -> Skews:
        skews.hear({VIP: OURS}, {VIP: {f"node {number}": each for number, each in enumerate(others)}}, now)
        return skews

    return skews, hear


def test_a_difference_is_an_alarm_when_it_has_lasted_and_none_when_it_is_over() -> None:
    skews, hear = heard()
    hear(100.0, THEIRS, THEIRS)
    assert (skews.alarm, skews.reason, skews.next_deadline()) == (None, "", 110.0)
    assert hear(109.9, THEIRS, THEIRS).alarm is None
    assert hear(110.0, THEIRS, THEIRS).alarm is Skew.OUTVOTED
    assert skews.next_deadline() is None
    assert skews.reason == "203.0.113.10/32: 2 of 2 other node(s) carry 00002222, this one 00001111"
    assert skews.leaving == {VIP: 110.0}
    assert hear(111.0, OURS, THEIRS).reason == ""
    assert not skews.leaving
    hear(112.0, THEIRS, THEIRS)
    assert not skews.alarms, "it begins anew"


def test_who_becomes_outvoted_later_leaves_later() -> None:
    """So that a node is de-preferred first, for all of `drain.settle`, whatever was before."""
    skews, hear = heard()
    hear(100.0, THEIRS)
    assert hear(120.0, THEIRS).alarm is Skew.SPLIT
    assert not hear(130.0, THEIRS, THEIRS).leaving
    assert skews.alarm is Skew.OUTVOTED
    assert hear(140.0, THEIRS, THEIRS).leaving == {VIP: 140.0}


def test_an_alarm_alone_makes_nobody_leave() -> None:
    skews, hear = heard(SkewRules(10.0))
    hear(100.0, THEIRS, THEIRS)
    assert hear(200.0, THEIRS, THEIRS).alarm is Skew.OUTVOTED
    assert not skews.leaving


# In a whole node.

ASKING = GOOD.replace("announcer:\n", "announcer:\n  read_back: {listen: 10.0.5.1}\n")


def told(more: str, carried: dict[str, int | None] | None, staying: int) -> Node:
    config = load(ASKING.replace("half_life: 0}", f"half_life: 0, skew: {{{more}}}}}"), "f")
    node = Node(config, Intent(), now=0.0)
    node.observe("web", "a-b1", OK, 1.0)
    node.forwarder_applied()
    node.set_others({VIP: Others(staying)})
    node.set_carried({VIP: carried} if carried else {})
    return node


def stance(node: Node, now: float) -> tuple[Stance, Reason]:
    decision = node.decisions(now)[VIP]
    return decision.stance, decision.reason


AGAINST: dict[str, int | None] = {"node 10.255.0.7": 1, "node 10.255.0.8": 1}


def test_by_default_a_node_serves_on_and_says_what_it_sees() -> None:
    node = told("after: 60", AGAINST, 2)
    assert stance(node, 10.0) == (Stance.ANNOUNCED, Reason.SERVING)
    assert node.next_deadline() == 70.0
    assert stance(node, 70.0) == (Stance.ANNOUNCED, Reason.SERVING)
    assert node.skews.alarm is Skew.OUTVOTED
    own = digests(node.config)[VIP]
    assert node.skews.reason == f"203.0.113.10/32: 2 of 2 other node(s) carry 00000001, this one {own:08x}"


def test_an_outvoted_node_that_is_told_to_leaves_as_a_drain_does_and_comes_back_when_it_agrees() -> None:
    node = told("after: 60, do: withdraw", AGAINST, 2)
    assert stance(node, 10.0) == (Stance.ANNOUNCED, Reason.SERVING)
    assert stance(node, 70.0) == (Stance.DEPREFERRED, Reason.SKEWED)
    assert stance(node, 71.0) == (Stance.WITHDRAWN, Reason.SKEWED)
    node.set_carried({VIP: dict.fromkeys(AGAINST, digests(node.config)[VIP])})
    assert stance(node, 80.0) == (Stance.ANNOUNCED, Reason.SERVING)


def test_the_last_announcer_stays_whatever_others_carried() -> None:
    node = told("after: 60, do: withdraw", AGAINST, 0)
    node.decisions(10.0)
    assert stance(node, 100.0) == (Stance.DEPREFERRED, Reason.LAST)


def test_of_two_nodes_that_differ_neither_leaves() -> None:
    node = told("after: 60, do: withdraw", {"node 10.255.0.7": 1}, 1)
    node.decisions(10.0)
    assert stance(node, 100.0) == (Stance.ANNOUNCED, Reason.SERVING)
    assert node.skews.alarm is Skew.SPLIT


def test_a_reload_that_brings_the_others_configuration_ends_the_alarm() -> None:
    right = load(ASKING.replace("seed: 7", "seed: 8"), "f")
    node = told("after: 0", dict.fromkeys(AGAINST, digests(right)[VIP]), 2)
    node.decisions(10.0)
    assert node.skews.alarm is Skew.OUTVOTED
    node.reload(right, 11.0)
    node.decisions(11.0)
    assert not node.skews.alarms
    assert node.skews.reason == ""


def shown(node: Node, *routers: RouterReport, asked: bool = True) -> tuple[str, str]:
    node.decisions(10.0)
    facts = skew_facts(node, ReadBack(routers) if asked else None)
    return facts["state"], facts["reason"]


def test_status_says_why_nothing_is_known() -> None:
    known, lost = RouterReport("r1", True, 0.0), RouterReport("r1", False, 0.0)
    assert shown(told("", None, 0), asked=False) == ("unknown", "no router is read back (announcer.read_back)")
    assert shown(told("", None, 0), lost) == ("unknown", "no router can be read back just now")
    assert shown(told("", None, 0), known) == ("unknown", "routers tell of no other node's configuration")
    unheard = told("", {"node 10.255.0.7": None}, 1)
    assert shown(unheard, known) == ("unknown", "1 other node(s) carry no digest, or routers do not show it")
    node = told("", None, 1)
    node.set_carried({VIP: {"node 10.255.0.7": digests(node.config)[VIP]}})
    assert shown(node, known) == ("agreed", "no majority of 1 other node(s) carries anything else")
    state, reason = shown(told("after: 60", AGAINST, 2), known)
    assert (state, reason.endswith("; an alarm when it lasts for 60 s")) == ("outvoted", True)


def test_status_shows_both_digests() -> None:
    node = told("after: 0", AGAINST, 2)
    node.decisions(10.0)
    facts = skew_facts(node, None)
    assert facts["vips"][str(VIP)] == {
        "digest": f"{digests(node.config)[VIP]:08x}",
        "state": "outvoted",
        "other": "00000001",
        "against": 2,
        "others": 2,
        "alarm": True,
    }
