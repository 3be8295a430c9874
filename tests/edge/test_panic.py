"""How a pool that was used whole is used in part again: who comes back is never moved out, and who is dead leaves."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from edge.config.file import Config, load
from edge.decide.intent import Drain, Intent
from edge.decide.node import Node
from edge.decide.removals import Removals
from edge.policy.announce import Reason
from edge.policy.health import Result, State
from edge.policy.panic import Looks, Panic, PanicRules, Phase
from tests.edge.test_config import GOOD

NAMES = frozenset(f"b{number}" for number in range(1, 11))
SETTLE, LONGEST = 5.0, 30.0
OK, BAD = Result(True, "connected", 0.001), Result(False, "connection refused", 0.001)


def looks(healthy: frozenset[str], unknown: frozenset[str] = frozenset()) -> Looks:
    return Looks(len(healthy) < 3, NAMES, healthy, unknown)


def panicking() -> Panic:
    panic = Panic(PanicRules(SETTLE, LONGEST))
    assert panic.judge(looks(frozenset()), 0.0) is Phase.PANIC
    return panic


def some(count: int) -> frozenset[str]:
    return frozenset(sorted(NAMES)[:count])


def test_a_pool_without_a_panic_follows_its_checks() -> None:
    panic = Panic(PanicRules())
    assert panic.judge(looks(some(3)), 0.0) is Phase.CALM
    assert panic.next_deadline() is None


def test_leaving_ends_when_health_has_stood_still() -> None:
    panic = panicking()
    assert panic.next_deadline() is None
    assert panic.judge(looks(some(3)), 10.0) is Phase.LEAVING
    assert panic.next_deadline() == 15.0
    assert panic.judge(looks(some(4)), 14.9) is Phase.LEAVING
    assert panic.next_deadline() == 19.9
    assert panic.judge(looks(some(4)), 19.8) is Phase.LEAVING
    assert panic.judge(looks(some(4)), 19.9) is Phase.CALM


def test_leaving_ends_at_once_when_everybody_is_back() -> None:
    panic = panicking()
    panic.judge(looks(some(3)), 10.0)
    assert panic.judge(looks(NAMES), 10.1) is Phase.CALM


def test_a_pool_that_falls_ill_again_begins_anew() -> None:
    panic = panicking()
    panic.judge(looks(some(3)), 10.0)
    assert panic.judge(looks(some(2)), 12.0) is Phase.PANIC
    assert panic.judge(looks(some(3)), 40.0) is Phase.LEAVING
    assert panic.next_deadline() == 45.0


def test_newcomers_are_waited_for_until_each_has_a_result_and_no_longer() -> None:
    """A pool that a reload adds, or one whose check it changes: who is dead is known from the first result."""
    panic = Panic(PanicRules(SETTLE, LONGEST))
    assert panic.judge(looks(frozenset(), NAMES), 0.0) is Phase.PANIC
    assert panic.judge(looks(some(3), NAMES - some(4)), 0.1) is Phase.LEAVING
    assert panic.judge(looks(some(8), frozenset({"b9"})), 0.2) is Phase.LEAVING
    assert panic.judge(looks(some(8)), 0.3) is Phase.CALM


def test_a_newcomer_does_not_end_the_wait_for_those_that_were_there() -> None:
    panic = panicking()
    assert panic.judge(looks(some(2), frozenset({"b9"})), 1.0) is Phase.PANIC
    assert panic.judge(looks(some(3)), 2.0) is Phase.LEAVING


moments = st.lists(st.tuples(st.floats(0.001, 4.9), st.sets(st.sampled_from(sorted(NAMES)))), min_size=1, max_size=40)


@given(moments)
def test_no_sequence_of_returns_within_the_settle_time_moves_one_that_comes_back(
    steps: list[tuple[float, set[str]]],
) -> None:
    """Checks come back in any order, less than `settle` apart; the pool is whole from the first to the last of them."""
    panic, now, healthy = panicking(), 0.0, frozenset[str]()
    began: float | None = None
    for pause, more in steps:
        if not more - healthy:
            continue
        now += pause
        for between in (now - pause / 2, now):  # a turn of the node between two results
            if between == now:
                healthy |= more
            phase = panic.judge(looks(healthy), between)
            began = between if phase is not Phase.PANIC and began is None else began
            if began is not None and now >= began + LONGEST:
                return
            assert panic.whole or healthy == NAMES


@given(moments, st.data())
def test_what_is_dead_leaves_in_bounded_time_whatever_the_others_do(
    steps: list[tuple[float, set[str]]], data: st.DataObject
) -> None:
    """`longest` after the pool was in panic last, a dead one has no slots; others may flap meanwhile as they like."""
    panic, now = panicking(), 1.0
    living = sorted(NAMES - {"b10"})
    panic.judge(looks(some(3)), now)
    for pause, _ in steps:
        now += pause
        healthy = frozenset(data.draw(st.sets(st.sampled_from(living), min_size=3)))
        panic.judge(looks(healthy), now)
        assert panic.whole == (panic.phase is Phase.LEAVING)
        assert not panic.whole or now < 1.0 + LONGEST
    panic.judge(looks(frozenset(living)), 1.0 + LONGEST if now < 1.0 + LONGEST else now)
    assert not panic.whole


@given(moments, st.lists(st.floats(0, 200), max_size=30))
def test_nodes_that_see_the_same_do_the_same_however_often_they_look(
    steps: list[tuple[float, set[str]]], more: list[float]
) -> None:
    """The second node turns at other moments as well, and at every deadline, as the daemon does."""
    one, other, now = panicking(), panicking(), 0.0
    seen = looks(frozenset())
    for pause, healthy in steps:
        moments = {at for at in more if now < at < now + pause} | set(deadlines(other, now, now + pause))
        for moment in sorted(moments):
            other.judge(seen, moment)
        now, seen = now + pause, looks(frozenset(healthy))
        assert one.judge(seen, now) is other.judge(seen, now)


def deadlines(panic: Panic, after: float, before: float) -> Iterator[float]:
    at = panic.next_deadline()
    if at is not None and after < at < before:
        yield at


# In a whole node.

TEN = ", ".join(f"{{name: b{number}, address: 10.0.9.{number}}}" for number in range(1, 11))


def config(extra: str = "") -> Config:
    text = GOOD.replace("{name: a-b1, address: 10.0.9.1}", TEN)
    return load(text.replace("half_life: 0}", "half_life: 0" + extra + "}"), "f.yaml")


def tell(node: Node, names: frozenset[str], result: Result, now: float) -> None:
    """As many results as it takes, of backends whose hold_down and damping are over by then."""
    for name in sorted(names):
        for step in range(3):
            node.observe("web", name, result, now + step / 1000)


def used(node: Node) -> set[str]:
    return {m.key.replace("10.0.9.", "b") for m in node.selections()["web"].members if m.weight}


def lied_to(extra: str = "") -> Node:
    node = Node(config(extra), Intent(), now=0.0)
    tell(node, NAMES, OK, 1.0)
    node.forwarder_applied()
    node.decisions(1.0)
    tell(node, NAMES, BAD, 2.0)
    node.decisions(2.1)
    assert node.selections()["web"].panic
    return node


def test_a_pool_stays_whole_while_one_after_the_other_is_believed_again() -> None:
    node = lied_to()
    for number in range(1, 11):
        tell(node, frozenset({f"b{number}"}), OK, 10.0 + number)
        node.decisions(10.1 + number)
        assert used(node) == NAMES
    assert node.panics == {"web": Phase.CALM}


def test_preference_comes_back_with_the_threshold_and_not_with_the_last_backend() -> None:
    node = lied_to()
    tell(node, some(3), OK, 10.0)
    (decision,) = node.decisions(10.1).values()
    assert (decision.reason, node.panics) == (Reason.SERVING, {"web": Phase.LEAVING})
    assert node.next_deadline() == 15.1


def test_the_dead_leave_by_the_share_of_a_window_once_the_panic_is_over() -> None:
    node = lied_to()
    tell(node, some(3), OK, 10.0)
    node.decisions(10.1)
    node.decisions(15.0)
    assert used(node) == NAMES
    node.decisions(15.1)
    assert len(used(node)) == 5
    node.decisions(25.1)
    assert used(node) == some(3)


def test_a_drained_backend_gets_no_slots_while_the_pool_leaves_a_panic() -> None:
    node = lied_to()
    tell(node, some(3), OK, 10.0)
    node.set_intent(Intent(backends={"b9": Drain("2026-01-01T00:00:00Z", 0)}), 10.0)
    node.decisions(10.1)
    assert used(node) == NAMES - {"b9"}


def test_a_first_round_of_results_waits_for_nobody() -> None:
    node = Node(config(), Intent(), now=0.0)
    node.decisions(0.1)
    tell(node, some(4), OK, 1.0)
    node.decisions(1.1)
    tell(node, NAMES - some(4), BAD, 1.2)
    node.forwarder_applied()
    node.decisions(1.3)
    assert node.panics == {"web": Phase.CALM}
    assert len(used(node)) == 5, "by the share of a window"


def test_a_reload_changes_the_times_of_a_pool_that_is_leaving() -> None:
    node = lied_to()
    tell(node, some(3), OK, 10.0)
    node.decisions(10.1)
    node.reload(config(", leave_panic: {settle: 20, longest: 20}"), 11.0)
    assert node.next_deadline() == 30.1


def test_settling_takes_no_less_than_a_way_back_of_the_slowest_check() -> None:
    text = GOOD.replace(
        "{type: http, port: 80}", "{type: http, port: 80, interval: 10, timeout: 1, rise: 3, jitter: 0}"
    )
    assert load(text, "f").panic_rules("web") == PanicRules(31.0, 31.0)
    assert load(GOOD, "f").panic_rules("web") == PanicRules(5.0, 30.0)
    none = GOOD.replace("half_life: 0}", "half_life: 0, leave_panic: {settle: 0, longest: 0}}")
    rules = load(none, "f").panic_rules("web")
    assert rules.settle == rules.longest == 2 * 0.5 * 1.1 + 0.25


def test_removals_forget_a_pool_that_is_gone() -> None:
    removals = Removals(config())
    states = dict.fromkeys(NAMES, State.DOWN)
    removals.judge("web", states, (), 1.0)
    assert removals.whole("web")
    other = GOOD.replace("  web:\n", "  other:\n").replace("pool: web", "pool: other")
    removals.follow(load(other, "f"))
    assert removals.panics == {"other": Phase.CALM}
