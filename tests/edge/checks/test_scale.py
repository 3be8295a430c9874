"""Many checks at once: none late by much, none lost. `tests.edge.checks.scale` measures 10,000."""

import asyncio

import pytest

from tests.edge.checks import scale

pytestmark = [pytest.mark.process, pytest.mark.calm]


def test_two_thousand_checks_a_second_are_hardly_late() -> None:
    rate, _, late = scale.engine_alone(2000, "tcp", 3.0)
    assert rate > 1800
    assert late[int(len(late) * 0.99)] < 0.1  # 4 ms with both cores busy


def test_they_reach_the_daemon_and_nothing_is_stale() -> None:
    said = asyncio.run(scale.whole_way(1000, "tcp", 2.0))
    assert ", 0 failed, " in said, said
    assert "0 stale, 0 restarts" in said, said
