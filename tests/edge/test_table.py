"""Words for people."""

import pytest

from edge.cli.table import why


@pytest.mark.parametrize(
    ("until", "said"),
    [
        (None, "held back"),
        (872.4, "held back (14m32s more)"),
        (9.99, "held back (9s more)"),
        (-0.2, "held back (0s more)"),
    ],
)
def test_a_reason_says_how_long_it_holds(until: float | None, said: str) -> None:
    assert why({"reason": "held back", "until": until}) == said
