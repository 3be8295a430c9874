"""What is played again, and what stands: pytest inside pytest, the witnesses' word given by hand."""

import pytest

from tests.again import TIMES, longest, play
from tests.pauses import Pause

pytest_plugins = ["pytester"]


class _Told:
    """Instead of witnesses: a pause of so many seconds in each play."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._asked = seconds, 0

    @property
    def found(self) -> list[Pause]:
        self._asked += 1
        return [Pause(0, float(number), number + self._seconds) for number in range(self._asked // 2)]


@pytest.mark.parametrize(
    ("pause", "passes_at", "outcome", "plays"),
    [
        (0.05, 1, "passed", 1),
        (0.05, 2, "passed", 2),
        (0.05, 99, "failed", TIMES),
        (0.01, 2, "failed", 1),
        (0.0, 1, "passed", 1),
    ],
)
def test_a_failure_is_played_again_only_on_the_witnesses_word(
    pytester: pytest.Pytester, pause: float, passes_at: int, outcome: str, plays: int
) -> None:
    item = pytester.getitem(
        f"""
        import pytest
        seen = []

        @pytest.fixture
        def fresh():
            return []

        def test_times(fresh):
            fresh.append(1)
            seen.append(len(fresh))
            assert len(seen) >= {passes_at}
        """,
        "test_times",
    )
    reports = play(item, _Told(pause), None)  # type: ignore[arg-type]
    assert [report.outcome for report in reports if report.when == "call"] == [outcome]
    assert item.module.seen == [1] * plays, "each play has its fixtures anew"  # type: ignore[attr-defined]


def test_the_longest_of_no_pause_is_none() -> None:
    assert (longest([]), longest([Pause(0, 1.0, 1.5), Pause(1, 1.0, 1.25)])) == (0.0, 0.5)
