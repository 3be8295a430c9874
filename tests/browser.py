"""A real browser for tests: Debian's chromium, driven by playwright, with what it complained about."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = "/usr/bin/chromium"
ARTIFACTS = Path(__file__).parents[1] / "build" / "artifacts"
marks = [
    pytest.mark.browser,
    pytest.mark.skipif(not os.access(CHROMIUM, os.X_OK), reason=f"not installed: chromium ({CHROMIUM})"),
]
"""What a test that opens a browser carries."""

_FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class Tab:
    """One page in a browser of its own. `complaints`: errors of the console and of scripts. `asked`: every URL."""

    page: "Page"
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def tab(profile: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Tab]:
    """A browser with an empty profile in folder `profile`; it is closed at the end."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - half a second, and only browser tests need it

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=_FLAGS, viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
        )  # fmt: skip
        try:
            opened = Tab(context.new_page())
            opened.page.on("console", lambda m: opened.complaints.append(m.text) if m.type == "error" else None)
            opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
            opened.page.on("request", lambda request: opened.asked.append(request.url))
            yield opened
        finally:
            context.close()
