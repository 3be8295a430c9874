"""Writes a report to a file."""

from pathlib import Path
from typing import Any

from lab.report import page, result


def write(result_or_results: dict[str, Any], path: Path) -> None:
    """The report of a result (or of several, see `result.read`) as one self-contained file. Raises ResultError, OSError."""
    document = page.render(result.read(result_or_results))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document, encoding="utf-8")
