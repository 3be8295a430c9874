"""What is made of messages: a router's view, what differs from what is intended, and for how long facts are good."""

import contextlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.bmp.answer import AnswerError, parse_answer
from bgp.bmp.compare import LASTING, Lasting, Told, compare
from bgp.bmp.config import ReadBackConfig, RouterConfig, from_line, to_line
from bgp.bmp.cursor import BmpError
from bgp.bmp.facts import ASK_AFTER, ASK_DELAYS, ASK_GRACE, SETTLE, Hearsay
from bgp.bmp.packet import Messages
from bgp.bmp.readback import Fault, Others, ReadBack, RouterReport
from bgp.bmp.update import Path
from bgp.bmp.view import PATHS_MAX, PEERS_MAX, Facts, OurRoute, RouterView
from bgp.bmp.wire import ALIVE, RouterNews, StationError, decode, encode
from bgp.digest import FUNCTION
from bgp.route import Attributes, Route
from tests.bgp.bmp.bytes_of import (
    INITIATION,
    PEER_DOWN,
    add_path,
    attributes,
    bmp,
    monitor,
    nlri,
    opened,
    peer,
    peer_up,
    reach6,
    texts,
    update,
)

VIP, OTHER, VIP6 = IPv4Network("203.0.113.10/32"), IPv4Network("203.0.113.11/32"), IPv6Network("2001:db8:1::10/128")
US, EDGE, STRANGER = peer(), peer("10.0.7.1", 65110, "10.255.0.7"), peer("10.0.8.1", 65199, "10.255.0.8")
TRANSIT, SECOND = peer("10.0.9.1", 65102, "10.255.0.9"), peer("10.0.10.1", 65103, "10.255.0.10")


def post(head: bytes) -> bytes:
    return head[:1] + bytes((head[1] | 0x40,)) + head[2:]


def both(head: bytes, message: bytes) -> bytes:
    return monitor(head, message) + monitor(post(head), message)


def announce(head: bytes, prefix: str = str(VIP), **said: Any) -> bytes:
    return both(head, update(nlri(prefix), attributes(**said)))


def view_of(*messages: bytes, pre_only: bool = False) -> RouterView:
    view = RouterView((VIP, OTHER, VIP6), (IPv4Address("10.0.5.1"),), 65110, (65120,), pre_only=pre_only)
    take(view, *messages)
    return view


def take(view: RouterView, *messages: bytes) -> bool:
    changed = [view.take(message) for message in Messages().feed(b"".join(messages))]
    return any(changed)


def test_what_the_router_took_from_us_is_told_apart_from_what_it_received() -> None:
    view = view_of(peer_up(US), announce(US), monitor(US, update(nlri(str(OTHER)), attributes())))
    facts = view.facts()
    assert facts.session is True
    assert facts.ours[VIP].before == facts.ours[VIP].after == Path((65110,), IPv4Address("10.0.5.1"), origin=0)
    assert (facts.ours[OTHER].after, VIP6 in facts.ours) == (None, False)
    take(view, both(US, update(withdrawn=nlri(str(VIP)))))
    assert set(view.facts().ours) == {OTHER}
    take(view, monitor(US, update(said=attributes() + reach6(str(VIP6)))))
    assert set(view.facts().ours) == {OTHER, VIP6}


def test_a_session_that_ends_takes_its_routes_with_it() -> None:
    view = view_of(peer_up(US), announce(US), peer_up(EDGE), announce(EDGE))
    take(view, bmp(PEER_DOWN, US + b"\2"))
    assert (view.facts().session, view.facts().ours) == (False, {})
    assert view.facts().others == {VIP: {"node 10.255.0.7": False}}
    take(view, peer_up(US))
    assert (view.facts().session, view.facts().ours) == (True, {})


def test_a_route_that_is_no_longer_received_is_not_accepted_either() -> None:
    view = view_of(peer_up(US), announce(US), monitor(US, update(withdrawn=nlri(str(VIP)))))
    assert view.facts().ours == {}
    only_post = view_of(peer_up(US), monitor(post(US), update(nlri(str(VIP)), attributes())))
    take(only_post, monitor(US, update(withdrawn=nlri(str(VIP)))))  # FRR without soft-reconfiguration inbound
    assert only_post.facts().ours[VIP].after is not None


def test_the_routers_own_as_in_front_is_taken_off() -> None:
    facts = view_of(peer_up(US), announce(US, path=(65101, 65110))).facts()
    held = facts.ours[VIP].after
    assert held is not None
    assert held.as_path == (65110,)


OTHERS: list[tuple[str, list[bytes], dict[str, bool]]] = [
    ("an edge of our own", [announce(EDGE)], {"node 10.255.0.7": False}),
    ("with its path made longer", [announce(EDGE, path=(65110, 65110))], {"node 10.255.0.7": False}),
    ("one that leaves", [announce(EDGE, communities=[(65535, 0)])], {"node 10.255.0.7": True}),
    ("another site over transit", [announce(TRANSIT, path=(65102, 65120))], {"AS 65120": False}),
    (
        "another site, leaving by one of two ways",
        [
            announce(TRANSIT, path=(65102, 65120), communities=[(65535, 0)]),
            announce(SECOND, path=(65103, 65120)),
        ],
        {"AS 65120": True},
    ),
    ("our own route, back again", [announce(TRANSIT, path=(65102, 65110))], {}),
    ("a path that begins nowhere", [announce(EDGE, path=())], {}),
    ("one that the policy refused", [monitor(EDGE, update(nlri(str(VIP)), attributes()))], {}),
    ("a stranger", [announce(STRANGER, path=(65199,))], {}),
    ("another prefix", [announce(EDGE, "198.51.100.0/24")], {}),
]


@pytest.mark.parametrize(("messages", "expected"), [row[1:] for row in OTHERS], ids=[row[0] for row in OTHERS])
def test_who_else_announces_is_never_counted_too_high(messages: list[bytes], expected: Mapping[str, bool]) -> None:
    view = view_of(*(peer_up(head) for head in (US, EDGE, STRANGER, TRANSIT, SECOND)), *messages)
    assert view.facts().others.get(VIP, {}) == expected


DIGESTS: list[tuple[str, list[bytes], dict[str, int | None]]] = [
    ("a node that carries one", [announce(EDGE, large=[(65110, FUNCTION, 7)])], {"node 10.255.0.7": 7}),
    ("one beside communities of other kinds", [announce(EDGE, large=[(65110, 1, 8), (65110, FUNCTION, 7)])],
     {"node 10.255.0.7": 7}),
    ("the digest of another AS", [announce(EDGE, large=[(65111, FUNCTION, 7)])], {"node 10.255.0.7": None}),
    ("two of them", [announce(EDGE, large=[(65110, FUNCTION, 7), (65110, FUNCTION, 8)])], {"node 10.255.0.7": None}),
    ("a node that carries none", [announce(EDGE)], {"node 10.255.0.7": None}),
    ("one whose policy takes it away",
     [monitor(EDGE, update(nlri(str(VIP)), attributes(large=[(65110, FUNCTION, 7)]))),
      monitor(post(EDGE), update(nlri(str(VIP)), attributes()))], {"node 10.255.0.7": 7}),
    ("ourselves", [announce(US, large=[(65110, FUNCTION, 7)])], {}),
    ("another site over transit", [announce(TRANSIT, path=(65102, 65120), large=[(65120, FUNCTION, 7)])], {}),
    ("a stranger", [announce(STRANGER, path=(65199,), large=[(65199, FUNCTION, 7)])], {}),
    ("one that the policy refused",
     [monitor(EDGE, update(nlri(str(VIP)), attributes(large=[(65110, FUNCTION, 7)])))], {}),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "expected"), [row[1:] for row in DIGESTS], ids=[row[0] for row in DIGESTS])
def test_digests_of_nodes_are_read_as_they_were_received(
    messages: list[bytes], expected: Mapping[str, int | None]
) -> None:
    view = view_of(*(peer_up(head) for head in (US, EDGE, STRANGER, TRANSIT)), *messages)
    assert view.facts().digests.get(VIP, {}) == expected


def test_a_new_digest_takes_the_place_of_the_old_one() -> None:
    view = view_of(peer_up(EDGE), announce(EDGE, large=[(65110, FUNCTION, 7)]))
    assert take(view, announce(EDGE, large=[(65110, FUNCTION, 8)]))
    assert view.facts().digests == {VIP: {"node 10.255.0.7": 8}}


def test_a_node_of_two_words_carries_nothing_that_can_be_relied_on() -> None:
    reports = (
        RouterReport("r1", True, 0.0, digests={VIP: {"node a": 7, "node b": 7}}),
        RouterReport("r2", True, 0.0, digests={VIP: {"node a": 7, "node b": 8}}),
        RouterReport("r3", False, 0.0, digests={VIP: {"node a": 9}}),
    )
    assert ReadBack(reports).digests(VIP) == {"node a": 7, "node b": None}
    assert ReadBack(reports).digests(OTHER) == {}


def test_an_origin_that_nobody_expects_is_foreign() -> None:
    view = view_of(peer_up(STRANGER), announce(STRANGER, path=(65199,)), announce(TRANSIT, path=(65102, 64999)))
    assert view.facts().foreign == {VIP: {65199, 64999}}


def test_before_the_policy_is_all_that_a_router_may_tell() -> None:
    heard = (peer_up(EDGE), monitor(EDGE, update(nlri(str(VIP)), attributes())))
    assert view_of(*heard, pre_only=True).facts().others == {VIP: {"node 10.255.0.7": False}}


def test_a_full_table_costs_no_memory_and_is_no_news() -> None:
    view = view_of(peer_up(US), announce(US))
    everything = b"".join(nlri(f"{first}.{second}.0.0/16") for first in range(1, 99) for second in range(4))
    assert not take(view, monitor(US, update(everything, attributes())))
    assert set(view.facts().ours) == {VIP}


def test_peers_and_paths_have_an_end() -> None:
    view = view_of()
    heads = (peer(f"10.{n >> 8}.{n & 255}.1") for n in range(PEERS_MAX + 1))
    with pytest.raises(BmpError, match=f"more than {PEERS_MAX} peers"):
        take(view, *(bmp(PEER_DOWN, head + b"\2") for head in heads))
    many = view_of(peer_up(US, opened(65101, add_path(3)), opened(65110, add_path(3))))
    take(many, *(monitor(US, update(nlri(str(VIP), n), attributes())) for n in range(PATHS_MAX * 4)))
    take(many, *(monitor(US, update(withdrawn=nlri(str(VIP), n))) for n in range(PATHS_MAX)))
    assert VIP not in many.facts().ours


TOLD = Told("a-r1", (IPv4Address("10.0.5.0"),), 65110)
HELD = Path((65110,), IPv4Address("10.0.5.1"))


def differences(route: Route | None, held: OurRoute | None, told: Told = TOLD) -> dict[Fault, str]:
    facts = Facts(ours={VIP: held} if held else {})
    return {fault: detail for (fault, _, _), detail in compare({VIP: route}, facts, told).items()}


def test_each_difference_has_its_name() -> None:
    plain = Route(VIP)
    assert differences(plain, OurRoute(HELD, HELD)) == {}
    assert differences(None, None) == {}
    assert differences(plain, None) == {Fault.MISSING: ""}
    assert differences(plain, OurRoute(HELD, None)) == {Fault.REFUSED: ""}
    assert differences(plain, OurRoute(HELD, None), replace(TOLD, pre_only=True)) == {}
    assert differences(plain, OurRoute(None, HELD)) == {}
    assert differences(None, OurRoute(HELD, None)) == {Fault.LINGERING: ""}
    facts = Facts(ours={VIP: OurRoute(HELD, HELD)}, foreign={VIP: frozenset({64999, 65199})})
    assert compare({VIP: plain}, facts, TOLD) == {(Fault.FOREIGN, "a-r1", VIP): "AS 64999, AS 65199"}


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (replace(HELD, med=5), "med 5, announced none"),
        (replace(HELD, as_path=(65110, 65110)), "as_path 65110 65110, announced 65110"),
        (replace(HELD, communities=("1:2",)), "communities 1:2, announced none"),
        (replace(HELD, large_communities=("1:2:3",)), "large communities 1:2:3, announced none"),
    ],
)
def test_other_attributes_than_announced_are_told(held: Path, words: str) -> None:
    assert differences(Route(VIP), OurRoute(held, HELD)) == {Fault.DIFFERS: words}


def test_a_peer_that_is_told_something_else_is_compared_with_that() -> None:
    route = Route(VIP, overrides=((IPv4Address("10.0.5.0"), Attributes(med=9)),))
    assert differences(route, OurRoute(replace(HELD, med=9), HELD)) == {}
    assert differences(route, OurRoute(HELD, HELD)) == {Fault.DIFFERS: "med none, announced 9"}


def test_a_difference_is_a_finding_once_it_has_lasted_without_a_break() -> None:
    lasting, key = Lasting(), (Fault.MISSING, "a-r1", VIP)
    assert lasting.judge({key: ""}, 10.0) == ()
    assert lasting.judge({key: ""}, 10.0 + LASTING - 0.1) == ()
    (finding,) = lasting.judge({key: ""}, 10.0 + LASTING)
    assert (finding.fault, finding.router, finding.prefix, finding.since) == (*key, 10.0)
    assert lasting.judge({}, 26.0) == ()
    assert lasting.judge({key: ""}, 27.0) == ()


ROUTER = RouterConfig("a-r1", IPv4Address("10.0.5.0"), (IPv4Address("10.0.5.0"),), (IPv4Address("10.0.5.1"),))
CONFIG = ReadBackConfig(65110, IPv4Address("10.255.0.6"), (VIP, OTHER), (ROUTER,), IPv4Address("10.0.5.1"), grace=5.0)
TAKEN = Facts(True, ours={VIP: OurRoute(HELD, HELD)}, others={VIP: {"node 10.255.0.7": False}}, updates=1)


def news(facts: Facts | None = TAKEN, reason: str = "") -> RouterNews:
    return RouterNews("a-r1", facts, reason)


def test_facts_are_good_when_the_session_has_settled_and_unknown_after_the_grace() -> None:
    hearsay = Hearsay(CONFIG)
    assert hearsay.read_back().others(VIP) is None
    hearsay.heard(news(), 1.0)
    assert hearsay.turn(1.1) == []
    assert hearsay.read_back().accepted(VIP) == {"a-r1": None}
    (event,) = hearsay.turn(1.0 + SETTLE)
    assert (event.subject, event.old, event.new) == ("read-back a-r1", "unknown", "known")
    assert hearsay.read_back().accepted(VIP) == {"a-r1": True}
    assert hearsay.read_back().others(VIP) == Others(1, 0)
    hearsay.heard(news(None, "its BMP session ended"), 10.0)
    assert hearsay.turn(14.9) == []
    assert hearsay.read_back().accepted(VIP) == {"a-r1": True}
    (event,) = hearsay.turn(15.0)
    assert (event.new, event.reason) == ("unknown", "its BMP session ended")
    assert hearsay.read_back().others(VIP) is None


def test_a_session_that_comes_back_within_the_grace_changes_nothing_until_it_has_told_all() -> None:
    hearsay = Hearsay(CONFIG)
    hearsay.heard(news(replace(TAKEN, complete=True)), 1.0)
    hearsay.turn(1.0)
    hearsay.heard(news(None, "gone"), 10.0)
    hearsay.heard(news(Facts(updates=1)), 11.0)  # only begun
    assert hearsay.turn(11.5) == []
    assert hearsay.read_back().accepted(VIP) == {"a-r1": True}
    hearsay.heard(news(replace(TAKEN, complete=True)), 12.0)
    assert hearsay.turn(12.0) == []
    assert hearsay.turn(30.0) == []
    hearsay.heard(news(Facts(complete=True)), 31.0)
    hearsay.turn(31.0)
    assert hearsay.read_back().accepted(VIP) == {"a-r1": False}


def test_a_router_that_tells_of_no_route_at_all_is_unknown() -> None:
    hearsay = Hearsay(CONFIG)
    hearsay.heard(news(Facts(session=True)), 0.0)
    assert hearsay.turn(20.0) == []
    (router,) = hearsay.read_back().routers
    assert (router.known, "monitor its adj-rib-in" in router.reason) == (False, True)


def test_what_is_announced_and_not_accepted_for_15_seconds_is_told_and_taken_back() -> None:
    hearsay = Hearsay(CONFIG)
    hearsay.intend({VIP: Route(VIP), OTHER: Route(OTHER)})
    hearsay.heard(news(replace(TAKEN, complete=True)), 0.0)
    assert [event.subject for event in hearsay.turn(0.0)] == ["read-back a-r1"]
    assert hearsay.turn(LASTING - 0.1) == []
    (event,) = hearsay.turn(LASTING)
    assert (event.subject, event.old, event.new) == ("route 203.0.113.11/32 at a-r1", "as intended", "missing")
    assert [finding.prefix for finding in hearsay.read_back().findings] == [OTHER]
    hearsay.intend({VIP: Route(VIP)})
    (event,) = hearsay.turn(20.0)
    assert (event.old, event.new) == ("missing", "as intended")
    assert hearsay.read_back().findings == ()


def test_only_frr_is_asked_again_and_ever_more_seldom() -> None:
    for description, expected in (("FRRouting 8.4.4", 5), ("3.10.0", 0)):
        hearsay = Hearsay(CONFIG)
        hearsay.intend({OTHER: Route(OTHER)})
        hearsay.heard(news(Facts(complete=True, description=description)), 0.0)
        asked = []
        for tick in range(4 * 200):
            hearsay.turn(tick / 4)
            asked += [tick / 4] * len(hearsay.to_ask())
        assert len(asked) == expected
        pauses = [after - before for before, after in itertools.pairwise(asked)]
        assert pauses == list(ASK_DELAYS[: len(pauses)])
        assert all(first == ASK_AFTER for first in asked[:1])


def test_a_session_that_we_ended_ourselves_has_time_to_come_back() -> None:
    hearsay = Hearsay(replace(CONFIG, grace=1.0))
    hearsay.intend({OTHER: Route(OTHER)})
    frr = replace(TAKEN, complete=True, description="FRRouting 8.4.4")
    hearsay.heard(news(frr), 0.0)
    hearsay.turn(0.0)
    hearsay.turn(ASK_AFTER)
    assert hearsay.to_ask() == ["a-r1"]
    hearsay.heard(news(None, "it was made to tell everything again"), ASK_AFTER + 0.1)
    assert hearsay.turn(ASK_AFTER + ASK_GRACE) == []
    hearsay.heard(news(frr), ASK_AFTER + ASK_GRACE)
    hearsay.turn(ASK_AFTER + ASK_GRACE)
    hearsay.heard(news(None, "gone"), ASK_AFTER + ASK_GRACE + 3.0)  # by itself
    assert "unknown" not in [event.new for event in hearsay.turn(ASK_AFTER + ASK_GRACE + 3.9)]
    assert "unknown" in [event.new for event in hearsay.turn(ASK_AFTER + ASK_GRACE + 4.0)]


def test_the_same_announcer_at_two_routers_is_one_and_leaving_if_it_is_so_at_any() -> None:
    one = RouterReport("a-r1", True, 0.0, others={VIP: {"node 10.255.0.7": False, "AS 65120": False}})
    two = RouterReport("a-r2", True, 0.0, others={VIP: {"node 10.255.0.7": True}})
    deaf = RouterReport("a-r3", False, 0.0)
    assert ReadBack((one, two, deaf)).others(VIP) == Others(1, 1)
    assert ReadBack((deaf,)).others(VIP) is None


def test_lines_between_station_and_daemon_say_what_was_said() -> None:
    full = replace(
        TAKEN,
        digests={VIP: {"node 10.255.0.7": 7, "node 10.255.0.8": None}},
        foreign={VIP: frozenset({64999})},
        peers=3,
        description="FRRouting",
    )
    full = replace(full, ours={VIP: OurRoute(Path((1, 2), None, 7, ("1:2",), ("1:2:3",), 2), None)})
    for told in (news(full), news(None, "gone")):
        assert decode(encode(told)) == told
    assert decode(ALIVE) is None
    sent = from_line(to_line(replace(CONFIG, command=("glass", "--json"), origins=(65120,))))
    assert replace(sent, routers=(replace(sent.routers[0], peers=ROUTER.peers),)) == replace(
        CONFIG, command=("glass", "--json"), origins=(65120,), grace=sent.grace
    )


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 70000) | st.sampled_from([str(VIP), "a-r1", "router", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([str(VIP), "name", "ours"]), inner),
    max_leaves=8,
)


KEYS = ("session", "complete", "ours", "others", "foreign", "digests", "peers", "updates", "description")


@given(st.sampled_from(["type", "name", "reason", "facts"]), PLAIN, st.sampled_from(KEYS))
def test_a_station_that_lies_raises_one_error_only(key: str, value: Any, inner: str) -> None:
    plain = json.loads(encode(news()))
    for changed in (plain | {key: value}, plain | {"facts": plain["facts"] | {inner: value}}, value):
        with contextlib.suppress(StationError):
            decode(json.dumps(changed).encode())


def test_a_station_that_leaves_a_pair_out_raises_that_error_too() -> None:
    plain = json.loads(encode(news()))
    plain["facts"]["ours"] = {str(VIP): []}
    with pytest.raises(StationError):
        decode(json.dumps(plain).encode())


ANSWER = {"a-r1": {str(VIP): ["10.255.0.6", "10.255.0.7"], "198.51.100.0/24": ["10.255.0.9"]}, "a-r9": {}}


def test_a_looking_glass_names_announcers_by_their_router_id() -> None:
    facts = parse_answer(json.dumps(ANSWER).encode(), CONFIG)
    assert set(facts) == {"a-r1"}
    assert set(facts["a-r1"].ours) == {VIP}
    assert facts["a-r1"].others == {VIP: {"node 10.255.0.7": False}}
    assert differences(Route(VIP), facts["a-r1"].ours[VIP]) == {}


NO_ANSWERS = [
    b"", b"[]", b"{", b'{"a-r1": 5}', b'{"a-r1": {"x": []}}', b'{"a-r1": {"203.0.113.10/32": ["x"]}}',
    b'{"a-r1": {"203.0.113.10/32": 5}}', b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("text", NO_ANSWERS)
def test_what_is_no_answer_is_refused(text: bytes) -> None:
    with pytest.raises(AnswerError):
        parse_answer(text, CONFIG)


def test_a_router_says_what_it_is() -> None:
    assert view_of(bmp(INITIATION, texts((1, b"FRRouting 8.4.4")))).facts().description == "FRRouting 8.4.4"
