"""Columns for people: as wide as they must be and never cut."""

from collections.abc import Mapping, Sequence
from typing import Any


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line a row, each column as wide as its widest cell; the first row holds the headings."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def why(row: Mapping[str, Any]) -> str:
    """The reason of a decision, with how long it still holds if it changes by itself."""
    left = row["until"]
    return row["reason"] if left is None else f"{row['reason']} ({age(max(0.0, left))} more)"


def age(seconds: float | None) -> str:
    """Seconds as people say them: 42s, 3m07s, 2h05m; `-` for none."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
