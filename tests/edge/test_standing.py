"""Orders in monotonic time: their beginning, their end, and a wall clock that jumps."""

from edge.decide.intent import Drain, Intent
from edge.decide.standing import LONG_AGO, Standing

DRAIN = Drain("2026-01-01T00:00:00Z", 0)
TIMED = Drain("2026-01-01T00:00:00Z", 0, until=1_000_060.0)
VIP = "203.0.113.10/32"


def test_a_stored_order_has_had_its_time_and_a_new_one_begins_now() -> None:
    standing = Standing(Intent(node=DRAIN), now=5.0, wall=1_000_000.0)
    assert standing.since("node") == LONG_AGO
    standing.take(Intent(node=DRAIN, vips={VIP: DRAIN}), 9.0, 1_000_004.0)
    assert (standing.since("node"), standing.since("vip", VIP), standing.since("vip", "other")) == (LONG_AGO, 9.0, None)
    standing.take(Intent(), 10.0, 0.0)
    assert standing.since("node") is None


def test_an_order_ends_after_its_time_whatever_the_wall_clock_does() -> None:
    standing = Standing(Intent(), now=100.0, wall=1_000_000.0)
    standing.take(Intent(vips={VIP: TIMED}), 100.0, 1_000_000.0)
    standing.take(Intent(vips={VIP: TIMED}, backends={"b1": DRAIN}), 110.0, 1_003_610.0)  # an hour ahead meanwhile
    assert (standing.next_end(), standing.ended(159.9)) == (160.0, ())
    assert standing.ended(160.0) == (("vip", VIP),)


def test_a_new_end_of_the_same_order_counts() -> None:
    standing = Standing(Intent(node=TIMED), now=0.0, wall=1_000_000.0)
    longer = Drain(TIMED.since, 0, until=1_000_600.0)
    standing.take(Intent(node=longer), 30.0, 1_000_030.0)
    assert (standing.next_end(), standing.since("node")) == (600.0, LONG_AGO)


def test_an_order_that_ran_out_while_nobody_was_there_ends_at_once() -> None:
    assert Standing(Intent(node=TIMED), now=7.0, wall=2_000_000.0).ended(7.0) == (("node", ""),)
