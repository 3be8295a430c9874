"""adj_rib_out: whatever order of declarations, answers, errors and resets, it ends where it was told to."""

from ipaddress import IPv4Network, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from bgp.rib import RETRY, UNKNOWN, AdjRibOut, Change, Held
from bgp.route import GRACEFUL_SHUTDOWN, Prefix, Route

PREFIXES: list[Prefix] = [IPv4Network(f"203.0.113.{n}/32") for n in range(2)]
PREFIXES += [IPv6Network(f"2001:db8:1::{n}/128") for n in range(2)]
A, B, C, D = PREFIXES
STEPS = st.lists(
    st.one_of(
        st.dictionaries(st.sampled_from(PREFIXES), st.sampled_from([None, (), (GRACEFUL_SHUTDOWN,)])),
        st.sampled_from(["batch", "ack", "refuse", "session", "wait"]),
    ),
    max_size=40,
)


def test_a_new_rib_withdraws_what_it_knows_nothing_about() -> None:
    rib = AdjRibOut([A, B])
    assert rib.view()[A].sent is UNKNOWN and not rib.converged
    assert rib.next_batch(10, 0.0) == (Change(A, None, None), Change(B, None, None))


def test_withdrawals_come_first_and_carry_what_was_announced() -> None:
    rib = AdjRibOut([])
    rib.declare({C: Route(C, med=7)})
    rib.next_batch(10, 0.0)
    rib.acked()
    rib.declare({A: Route(A), B: Route(B)})
    assert rib.next_batch(2, 0.0) == (Change(C, None, Route(C, med=7)), Change(A, Route(A), None))


def test_one_batch_is_outstanding_at_a_time() -> None:
    rib = AdjRibOut([A])
    assert rib.next_batch(10, 0.0)
    rib.declare({A: Route(A)})
    assert rib.next_batch(10, 0.0) == ()
    rib.acked()
    assert rib.next_batch(10, 0.0) == (Change(A, Route(A), None),)


def test_a_refused_change_is_unknown_and_waits() -> None:
    rib = AdjRibOut([])
    rib.declare({A: Route(A)})
    rib.next_batch(1, 5.0)
    assert rib.refused(5.0) == Change(A, Route(A), None)
    assert rib.view()[A].sent is UNKNOWN and rib.view()[A].refusals == 1
    assert rib.next_batch(1, 5.0 + RETRY - 0.01) == () and rib.next_deadline() == 5.0 + RETRY
    assert rib.next_batch(1, 5.0 + RETRY) == (Change(A, Route(A), Route(A)),)
    rib.acked()
    assert rib.converged and rib.next_deadline() is None


def test_a_new_wish_for_a_refused_prefix_does_not_wait() -> None:
    rib = AdjRibOut([])
    rib.declare({A: Route(A)})
    rib.next_batch(1, 5.0)
    rib.refused(5.0)
    rib.declare({})
    assert rib.next_batch(1, 5.0) == (Change(A, None, Route(A)),)


def test_a_refused_withdrawal_is_repeated_at_once_and_without_the_route() -> None:
    rib = AdjRibOut([])
    rib.declare({A: Route(A, med=7)})
    rib.next_batch(1, 5.0)
    rib.acked()
    rib.declare({})
    assert rib.next_batch(1, 5.0) == (Change(A, None, Route(A, med=7)),)
    rib.refused(5.0)
    assert rib.next_batch(1, 5.0) == (Change(A, None, None),)


def test_an_opened_session_repeats_withdrawals_and_only_these() -> None:
    rib = AdjRibOut([A])
    rib.declare({B: Route(B)})
    rib.next_batch(10, 0.0)
    rib.acked()
    rib.acked()
    before = rib.converged
    rib.forget_withdrawn()
    assert (before, rib.converged) == (True, False)
    assert rib.next_batch(10, 0.0) == (Change(A, None, None),)


@given(STEPS)
def test_the_other_side_ends_with_the_last_declaration(
    steps: list[dict[Prefix, tuple[str, ...] | None] | str],
) -> None:
    rib, now = AdjRibOut(PREFIXES[:2]), 0.0
    held: dict[Prefix, Held] = dict.fromkeys(PREFIXES, UNKNOWN)
    wanted: dict[Prefix, Route | None] = {}

    def answer(refuse: bool) -> None:
        change = rib.refused(now) if refuse else rib.acked()
        held[change.prefix] = UNKNOWN if refuse else change.route

    for step in steps:
        if isinstance(step, dict):
            wanted = {p: None if c is None else Route(p, communities=c) for p, c in step.items()}
            rib.declare(wanted)
        elif step == "batch":
            batch = rib.next_batch(3, now)
            assert len({change.prefix for change in batch}) == len(batch)
            kinds = [change.route is not None for change in batch]
            assert kinds == sorted(kinds), "an announcement left before a withdrawal"
        elif step == "session":
            rib.forget_withdrawn()
        elif step == "wait":
            now += RETRY
        elif rib.outstanding:
            answer(refuse=step == "refuse")
    for _ in range(12):
        now += RETRY
        while rib.outstanding:
            answer(refuse=False)
        rib.next_batch(3, now)
    assert rib.converged
    known = set(PREFIXES[:2]) | {p for step in steps if isinstance(step, dict) for p in step}
    assert {p: held[p] for p in known} == {p: wanted.get(p) for p in known}
