"""Writes a report to a file."""

from pathlib import Path
from typing import Any

from lab.report import assets, page, result


def write(result_or_results: dict[str, Any], path: Path) -> None:
    """The report of a result, or of several, as one self-contained file. Raises ResultError, OSError."""
    sheet = assets.shared_sheet() + assets.text("lab.report", "report.css")
    document = page.render(result.read(result_or_results), sheet, assets.text("lab.report", "report.js"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document, encoding="utf-8")
