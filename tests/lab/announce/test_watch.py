"""The watch: what is armed before an event is not missed, however short it lasts."""

import time
from ipaddress import IPv4Network

import pytest

from bgp.route import Prefix
from lab.announce.measures_long import _by_drain
from lab.announce.traffic import Losses
from lab.announce.watch import Watch
from lab.runtime import LabError
from lab.traffic.facts import Facts

ONE, OTHER = IPv4Network("203.0.113.1/32"), IPv4Network("203.0.113.2/32")


class Told(Watch):
    """A watch that a test tells."""

    def tell(self, now: float, *changes: tuple[Prefix, tuple[str, ...]]) -> None:
        with self._changed:
            for prefix, hops in changes:
                self._put(now, prefix, hops)
            self._look(now)


def test_a_route_that_went_for_a_moment_is_seen() -> None:
    watch = Told([ONE])
    watch.tell(1.0, (ONE, ("10.0.0.1",)))
    armed = watch.arm(lambda table: ONE not in table)
    watch.tell(2.0, (ONE, ()))
    watch.tell(2.1, (ONE, ("10.0.0.1",)))
    assert watch.wait(armed, 0.1, "gone") == 2.0
    assert watch.table() == {ONE: ("10.0.0.1",)}


def test_only_changes_of_the_watched_prefixes_are_kept() -> None:
    watch = Told([ONE])
    watch.tell(1.0, (ONE, ("a",)), (OTHER, ("a",)))
    watch.tell(2.0, (ONE, ("a",)))
    watch.tell(3.0, (ONE, ("a", "b")))
    assert watch.changes() == [(1.0, ONE, ("a",)), (3.0, ONE, ("a", "b"))]
    assert watch.changes(since=2.5) == [(3.0, ONE, ("a", "b"))]


def test_what_does_not_come_about_is_an_error_with_what_is_there() -> None:
    watch = Told([ONE])
    watch.tell(1.0, (ONE, ("10.0.0.1",)))
    with pytest.raises(LabError, match=r"gone: not within 0.01 s; the router has 1 routes: 203.0.113.1/32 via"):
        watch.until(lambda table: not table, 0.01, "gone")


def test_what_holds_already_holds_now() -> None:
    before = time.monotonic()
    assert before <= Told([ONE]).until(lambda table: not table, 0.1, "empty") <= time.monotonic()


def test_losses_belong_to_the_drain_that_was_begun_last() -> None:
    facts = Facts("all", 0.0, 9.0, failed={"reset": 3})
    losses = Losses(100, (0.5, 2.5, 2.6, 8.0), 0.01, facts)
    assert _by_drain([1.0, 2.0, 3.0], [1, 0, 0], losses) == [2, 2, 3]
