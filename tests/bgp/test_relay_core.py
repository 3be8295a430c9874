"""The relay's rules against a model of ExaBGP that reorders as the real one does."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgp.relay_core import ACK_LIMIT, RelayCore
from bgp.route import GRACEFUL_SHUTDOWN, Attributes, Prefix, Route
from bgp.wire import Declare, State, WireError, decode_state, encode_declare
from tests.bgp.exabgp_model import ExaBGP, Peer

VIP6 = IPv6Network("2001:db8:1::12/128")
VIPS: list[Prefix] = [IPv4Network(f"203.0.113.{n}/32") for n in (10, 11)] + [VIP6]
HOPS = tuple((IPv4Address(f"10.0.{n}.0"), IPv6Address(f"fd00:0:0:{n}::1")) for n in (5, 6))
LEASE = 2.0


@dataclass
class Bench:
    """A relay between a daemon and the model, with time in our hands."""

    exabgp: ExaBGP = field(default_factory=lambda: ExaBGP("10.0.5.0", "10.0.6.0"))
    now: float = 100.0
    seq: int = 0
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.relay = RelayCore(VIPS, self.now)
        self.relay.daemon_connected(self.now)

    def declare(self, routes: Mapping[Prefix, Route | None], lease: float = LEASE) -> None:
        self.seq += 1
        entries = {p: None if r is None else (r, self.now + lease) for p, r in routes.items()}
        self.relay.daemon_data(encode_declare(Declare(self.seq, entries)), self.now)

    def turn(self, seconds: float = 0.002) -> None:
        """Everything that is due now, then time passes."""
        self.exabgp.write(self.relay.exabgp_output(self.now))
        self.exabgp.turn()
        if data := self.exabgp.read():
            self.relay.exabgp_data(data, self.now)
        if state := self.relay.daemon_output(self.now):
            self.states.append(decode_state(state, self.states[-1] if self.states else None))
        self.now += seconds
        self.relay.handle_timer(self.now)

    def settle(self, turns: int = 60) -> None:
        for _ in range(turns):
            self.turn()

    def tables(self) -> list[dict[str, str]]:
        return [peer.table for peer in self.exabgp.peers if peer.up]


HOPS4 = tuple((IPv4Address(f"10.0.{n}.0"), IPv4Address(f"10.0.{n}.1")) for n in (5, 6))
MIXED = ("65110:8",)
"""Said of a prefix: the second peer is told something else."""


def route(prefix: Prefix, communities: tuple[str, ...] = ()) -> Route:
    if communities == MIXED:
        other = ((HOPS[1][0], Attributes(communities=("65110:9",))),)
        return Route(prefix, HOPS if prefix.version == 6 else HOPS4, communities=communities, overrides=other)
    return Route(prefix, HOPS if prefix.version == 6 else "self", communities=communities)


def announced(bench: Bench, prefix: Prefix) -> list[bool]:
    return [str(prefix) in table for table in bench.tables()]


def both_up() -> Bench:
    bench = Bench()
    for peer in bench.exabgp.peers:
        bench.exabgp.open(peer)
    bench.settle()
    return bench


def test_a_new_relay_withdraws_every_prefix_before_it_hears_of_a_daemon() -> None:
    bench = Bench()
    bench.relay.daemon_lost()
    bench.turn()
    assert bench.exabgp.commands == [
        *(f"withdraw route {prefix} next-hop self" for prefix in VIPS[:2]),
        f"withdraw route {VIP6}",
    ]


def test_silence_ends_each_lease_at_its_own_time() -> None:
    bench = both_up()
    bench.declare({VIPS[0]: Route(VIPS[0]), VIPS[1]: Route(VIPS[1])})
    bench.settle(10)
    bench.now += 1.0
    bench.seq += 1
    entries = {VIPS[0]: (Route(VIPS[0]), bench.now + LEASE), VIPS[1]: (Route(VIPS[1]), bench.now + 0.1)}
    bench.relay.daemon_data(encode_declare(Declare(bench.seq, entries)), bench.now)
    bench.settle(100)
    assert announced(bench, VIPS[0]) == [True, True]
    assert announced(bench, VIPS[1]) == [False, False]
    bench.now += LEASE
    bench.relay.handle_timer(bench.now)
    bench.settle()
    assert announced(bench, VIPS[0]) == [False, False]


def test_a_lease_outlives_a_daemon_that_is_restarted() -> None:
    bench = both_up()
    bench.declare({VIPS[0]: Route(VIPS[0])})
    bench.settle(10)
    bench.relay.daemon_lost()
    bench.now += LEASE / 2
    bench.relay.daemon_connected(bench.now)
    bench.settle(10)
    bench.declare({VIPS[0]: Route(VIPS[0])})
    bench.now += LEASE * 0.9
    bench.settle(10)
    commands = [command for command in bench.exabgp.commands if str(VIPS[0]) in command]
    assert commands[-1] == f"announce route {VIPS[0]} next-hop self"


def test_an_old_declaration_from_a_full_socket_buys_no_time() -> None:
    bench = both_up()
    line = encode_declare(Declare(1, {VIPS[0]: (Route(VIPS[0]), bench.now + LEASE)}))
    bench.now += LEASE + 0.1
    bench.relay.daemon_data(line, bench.now)
    bench.settle()
    assert announced(bench, VIPS[0]) == [False, False]


def test_half_a_declaration_does_nothing_and_a_bad_one_changes_nothing() -> None:
    bench = both_up()
    line = encode_declare(Declare(1, {VIPS[0]: (Route(VIPS[0]), bench.now + LEASE)}))
    bench.relay.daemon_data(line[:-1], bench.now)
    bench.settle(10)
    assert announced(bench, VIPS[0]) == [False, False]
    with pytest.raises(WireError):
        bench.relay.daemon_data(b" garbage\n", bench.now)
    bench.settle(10)
    assert announced(bench, VIPS[0]) == [False, False]


def test_withdrawals_leave_before_announcements() -> None:
    bench = both_up()
    bench.declare({VIPS[2]: route(VIPS[2])})
    bench.settle()
    del bench.exabgp.commands[:]
    bench.declare({VIPS[0]: Route(VIPS[0]), VIPS[1]: Route(VIPS[1])})
    bench.settle()
    verbs = [command.partition(" route")[0] for command in bench.exabgp.commands]
    assert verbs == ["neighbor 10.0.5.0 withdraw", "neighbor 10.0.6.0 withdraw", "announce", "announce"]


def test_a_hung_exabgp_is_noticed_also_when_there_is_nothing_to_say() -> None:
    bench = both_up()
    assert bench.relay.abort is None
    bench.relay.exabgp_output(bench.now + 1.0)
    bench.relay.handle_timer(bench.now + 1.0 + ACK_LIMIT - 0.01)
    assert bench.relay.abort is None
    assert bench.relay.next_deadline(daemon_writable=False) == pytest.approx(bench.now + 1.0 + ACK_LIMIT)
    bench.relay.handle_timer(bench.now + 1.0 + ACK_LIMIT)
    assert bench.relay.abort == "ExaBGP has not answered for 2.0 s"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"error\n", "ExaBGP refused to withdraw 203.0.113.10/32"),
        (b"done\n" * 4, "ExaBGP answered more commands than it was given"),
        (b"done\ndone\nerror\n", f"ExaBGP refused to withdraw {VIP6}"),
    ],
)
def test_answers_that_leave_no_trust_end_exabgp(answer: bytes, reason: str) -> None:
    bench = Bench()
    assert bench.relay.exabgp_output(bench.now).count(b"\n") == len(VIPS)
    bench.relay.exabgp_data(answer, bench.now)
    assert bench.relay.abort == reason
    assert decode_state(bench.relay.daemon_output(bench.now)).abort == reason


def test_a_refused_announcement_is_tried_again_and_costs_no_other() -> None:
    bench = both_up()
    bench.exabgp.refuse = 1
    bench.declare({VIPS[0]: Route(VIPS[0]), VIPS[1]: Route(VIPS[1])})
    bench.settle(10)
    assert [announced(bench, vip)[0] for vip in VIPS[:2]] == [False, True]
    assert bench.relay.state().prefixes[VIPS[0]].refusals == 1
    for _ in range(600):
        bench.declare({VIPS[0]: Route(VIPS[0]), VIPS[1]: Route(VIPS[1])})
        bench.turn()
    assert announced(bench, VIPS[0]) == [True, True]
    assert bench.relay.abort is None


def test_an_ipv6_prefix_that_one_peer_refuses_counts_as_refused() -> None:
    bench = both_up()
    bench.declare({VIP6: route(VIP6)})
    assert bench.relay.exabgp_output(bench.now).count(b"\n") == 2
    bench.relay.exabgp_data(b"error\n", bench.now)
    assert bench.relay.state().prefixes[VIP6].refusals == 0, "the other peer has not answered yet"
    bench.relay.exabgp_data(b"done\n", bench.now)
    assert bench.relay.state().prefixes[VIP6].refusals == 1
    assert bench.relay.abort is None


def test_a_withdrawal_that_names_a_peer_that_is_gone_is_repeated_for_all() -> None:
    bench = both_up()
    bench.declare({VIP6: route(VIP6)})
    bench.settle()
    del bench.exabgp.peers[1], bench.exabgp.commands[:]
    bench.declare({})
    bench.settle()
    assert bench.exabgp.commands[-1] == f"withdraw route {VIP6}"
    assert bench.tables() == [{}]
    assert bench.relay.abort is None


MANY: list[Prefix] = [IPv4Network(f"203.0.112.{n}/32") for n in range(120)]


def test_many_prefixes_alike_share_commands_and_one_that_is_refused_then_stands_alone() -> None:
    bench = both_up()
    bench.declare({prefix: Route(prefix, med=7) for prefix in MANY})
    bench.settle()
    del bench.exabgp.commands[:]
    bench.exabgp.refuse = 1
    bench.declare({prefix: Route(prefix) for prefix in MANY})
    bench.settle()
    shared = [command.count("/32") for command in bench.exabgp.commands if " nlri " in command]
    refused = [prefix for prefix in MANY if bench.relay.state().prefixes[prefix].refusals]
    assert (shared, len(refused)) == ([50, 50, 20], 50)
    bench.now += 1.0
    bench.settle()
    assert sum(command.startswith("announce route") for command in bench.exabgp.commands) == 50
    assert bench.relay.state().converged and set(bench.tables()[0]) == {str(prefix) for prefix in MANY}
    bench.declare({})
    bench.settle()
    assert bench.tables() == [{}, {}]


def test_a_peer_that_a_new_configuration_brought_is_told_what_all_know_already() -> None:
    bench = both_up()
    bench.declare({VIPS[0]: Route(VIPS[0])})
    bench.settle()
    bench.exabgp.peers[1] = Peer("10.0.6.0")  # as when its ASN changed
    bench.seq += 1
    entries = {VIPS[0]: (Route(VIPS[0]), bench.now + LEASE)}
    bench.relay.daemon_data(encode_declare(Declare(bench.seq, entries, generation=1)), bench.now)
    bench.settle(5)
    bench.relay.exabgp_data(PEER_DOWN, bench.now)
    bench.exabgp.open(bench.exabgp.peers[1])
    bench.settle()
    assert announced(bench, VIPS[0]) == [True, True]
    assert bench.relay.state().converged


PEER_DOWN = (
    b'{"exabgp": "5.0.0", "type": "state", "neighbor": {"address": {"local": "127.0.0.1", "peer": "10.0.6.0"}, '
    b'"state": "down"}}\n'
)


def graceful(patience: float = 30.0) -> Bench:
    bench = Bench()
    bench.relay = RelayCore(VIPS, bench.now, patience)
    bench.relay.daemon_connected(bench.now)
    return bench


def ends(bench: Bench) -> list[str]:
    return [command for command in bench.exabgp.commands if " eor " in command]


def test_with_graceful_restart_a_relay_says_nothing_until_it_hears_of_a_daemon_and_ends_the_rib_last() -> None:
    bench = graceful()
    bench.exabgp.open(bench.exabgp.peers[0])
    bench.settle()
    assert bench.exabgp.commands == ["show neighbor json"]
    bench.declare({VIPS[0]: Route(VIPS[0]), VIP6: route(VIP6)})
    bench.settle()
    assert ends(bench) == [f"neighbor 10.0.5.0 announce eor ipv{version} unicast" for version in (4, 6)]
    assert not [command for command in bench.exabgp.commands[-2:] if " eor " not in command], "said after the end"
    bench.exabgp.open(bench.exabgp.peers[1])
    bench.settle()
    assert len(ends(bench)) == 4 and ends(bench)[-1].startswith("neighbor 10.0.6.0")
    assert announced(bench, VIPS[0]) == [True, True]


def test_with_graceful_restart_nobody_s_word_is_the_end_of_all_routes() -> None:
    bench = graceful(patience=1.0)
    bench.relay.daemon_lost()
    bench.exabgp.open(bench.exabgp.peers[0])
    bench.settle()
    assert ends(bench) == []
    bench.now += 1.0
    bench.settle()
    assert len(ends(bench)) == 2
    assert [command for command in bench.exabgp.commands if command.startswith("withdraw")]


def test_a_session_that_closes_while_it_is_told_something_costs_nobody_else_anything() -> None:
    bench = both_up()
    bench.declare({VIPS[0]: Route(VIPS[0])})
    bench.settle()
    assert bench.exabgp.commands.count("flush adj-rib out") == 1
    for peer in bench.exabgp.peers:
        bench.exabgp.close(peer)
    bench.exabgp.open(bench.exabgp.peers[0])
    bench.turn()
    bench.exabgp.close(bench.exabgp.peers[0])
    bench.settle()
    assert bench.relay.abort is None


def test_the_state_names_sessions_prefixes_and_the_last_declaration() -> None:
    bench = Bench()
    bench.exabgp.open(bench.exabgp.peers[0])
    bench.declare({VIPS[0]: Route(VIPS[0], med=5)})
    bench.settle()
    for _ in range(200):
        bench.turn()
    state = bench.states[-1]
    assert (state.seq, state.converged, state.abort) == (1, True, None)
    assert state.prefixes[VIPS[0]].acked == Route(VIPS[0], med=5)
    assert state.prefixes[VIPS[1]].acked is None
    assert {address: peer.up for address, peer in state.peers.items()} == {
        IPv4Address("10.0.5.0"): True,
        IPv4Address("10.0.6.0"): False,
    }


def test_convergence_is_claimed_only_after_exabgp_s_loop_has_turned() -> None:
    bench = both_up()
    bench.declare({VIPS[0]: Route(VIPS[0])})
    while not bench.relay.state().converged or bench.relay.state().prefixes[VIPS[0]].acked is None:
        bench.turn()
    assert announced(bench, VIPS[0]) == [True, True]


def test_a_session_that_opens_late_gets_no_route_withdrawn_meanwhile() -> None:
    bench = Bench()
    late, other = bench.exabgp.peers
    bench.exabgp.open(other)
    bench.settle()
    for communities in ((), (GRACEFUL_SHUTDOWN,), None):
        say(bench, (communities, None, None))
        bench.settle()
    assert late.pending, "ExaBGP holds nothing for the late session: this test tests nothing"
    bench.exabgp.open(late)
    bench.settle()
    assert bench.tables() == [{}, {}]


def test_a_withdrawal_replaces_the_announcement_that_waits_for_a_session() -> None:
    bench = Bench()
    for communities in ((GRACEFUL_SHUTDOWN,), None):
        say(bench, (communities, None, None))
        bench.settle()
    waiting = [announce for changes in bench.exabgp.peers[0].pending.values() for announce in changes.values()]
    assert waiting and not any(waiting)


SAYINGS = st.sampled_from([None, (), (GRACEFUL_SHUTDOWN,), ("65110:7",), MIXED])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("declare"), st.tuples(SAYINGS, SAYINGS, SAYINGS)),
        st.tuples(st.just("declare and settle"), st.tuples(SAYINGS, SAYINGS, SAYINGS)),
        st.tuples(st.just("turn"), st.integers(1, 6)),
        st.tuples(st.just("open"), st.integers(0, 1)),
        st.tuples(st.just("close"), st.integers(0, 1)),
        st.tuples(st.just("refuse"), st.integers(1, 2)),
        st.tuples(st.just("lapse"), st.just(0)),
    ),
    max_size=12,
)


def say(bench: Bench, sayings: tuple[tuple[str, ...] | None, ...]) -> dict[Prefix, Route | None]:
    routes = {p: None if c is None else route(p, c) for p, c in zip(VIPS, sayings, strict=True)}
    bench.declare(routes, lease=50.0)
    return routes


def attributes(route: Route, peer: str) -> str:
    hop = "self" if route.next_hop == "self" else str(dict(route.next_hop)[IPv4Address(peer)])
    said = route.told(IPv4Address(peer)).communities
    return f"next-hop {hop}" + (f" community [ {said[0]} ]" if said else "")


@settings(max_examples=500, deadline=None)
@given(STEPS)
def test_routers_end_with_what_was_declared_last_whatever_happened_before(steps: list[tuple[str, object]]) -> None:
    bench = Bench()
    wanted: dict[Prefix, Route | None] = {}
    for what, value in steps:
        if what.startswith("declare"):
            assert isinstance(value, tuple)
            wanted = say(bench, value)
            bench.settle(20 if what.endswith("settle") else 0)
        elif what == "turn":
            assert isinstance(value, int)
            bench.settle(value)
        elif what == "lapse":
            bench.now += 51.0
            bench.relay.handle_timer(bench.now)
            bench.relay.abort = None  # nobody turned ExaBGP's loop meanwhile
            wanted = {}
        elif what == "refuse":
            assert isinstance(value, int)
            bench.exabgp.refuse = value
        else:
            assert isinstance(value, int)
            getattr(bench.exabgp, what)(bench.exabgp.peers[value])
    for peer in bench.exabgp.peers:
        bench.exabgp.open(peer)
    bench.exabgp.refuse = 0
    bench.settle(40)
    bench.now += 1.0  # a refused announcement is due again
    bench.settle(40)
    assert bench.tables() == [
        {str(p): attributes(r, peer) for p, r in wanted.items() if r} for peer in ("10.0.5.0", "10.0.6.0")
    ]
    assert bench.relay.abort is None
    assert bench.relay.state().converged
