"""The report in a real browser: nothing is fetched, nothing overlaps, the keyboard reaches the marks."""

import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from lab.report import html
from tests import browser
from tests.lab.report import sample

pytestmark = browser.marks

Rect = dict[str, float]

_TEXTS = """svg => [...svg.querySelectorAll('text')].filter(t => t.textContent).map(t => {
    const r = t.getBoundingClientRect();
    return {words: t.textContent, left: r.left, right: r.right, top: r.top, bottom: r.bottom}})"""
_BOXES = """selector => [...document.querySelectorAll(selector)].map(e => {
    const r = e.getBoundingClientRect();
    const words = e.getAttribute('aria-label') || e.id;
    return {words, left: r.left, right: r.right, top: r.top, bottom: r.bottom}})"""


@pytest.fixture(scope="module", name="tab")
def _tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Tab]:
    with browser.tab(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def show(tab: browser.Tab, result: dict[str, Any], folder: Path) -> Path:
    """Write the report and open it."""
    file = folder / "report.html"
    html.write(result, file)
    tab.complaints.clear()
    tab.asked.clear()
    tab.page.goto(file.as_uri())
    return file


def overlaps(boxes: list[Rect], slack: float = 1.0) -> list[tuple[Any, Any]]:
    """Pairs of boxes that share more than `slack` pixels both ways."""
    return [
        (one["words"], other["words"])
        for one, other in combinations(boxes, 2)
        if min(one["right"], other["right"]) - max(one["left"], other["left"]) > slack
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > slack
    ]


def test_the_report_is_self_contained_and_whole(tab: browser.Tab, tmp_path: Path) -> None:
    file = show(tab, sample.result(), tmp_path)
    assert tab.page.title().endswith("fairhop lab report")
    browser.ARTIFACTS.mkdir(parents=True, exist_ok=True)
    tab.page.screenshot(path=browser.ARTIFACTS / "report.png", full_page=True)
    charts = tab.page.evaluate(_BOXES, "svg.topology, svg.cdf, details[open] svg.timeline, details[open] svg.rates")
    assert len(charts) == 6
    assert all(chart["right"] - chart["left"] > 300 and chart["bottom"] - chart["top"] > 80 for chart in charts)
    assert overlaps(charts) == []
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert tab.complaints == []
    assert tab.asked == [file.as_uri()]


@pytest.mark.parametrize(
    "lab",
    [
        sample.topology(sites=1, edges=2, backends=2, clients=1),
        sample.topology(),
        sample.topology(sites=3, edges=3, backends=6, transits=2, clients=2),
        sample.spine_leaf(),
    ],
    ids=["8 nodes", "two sites", "41 nodes", "spine-leaf"],
)
def test_words_do_not_overlap(tab: browser.Tab, tmp_path: Path, lab: dict[str, Any]) -> None:
    show(tab, sample.result(lab=lab, repetitions=2, broken_run=2), tmp_path)
    for chart in tab.page.query_selector_all("details[open] svg.chart, svg.topology, svg.cdf"):
        assert overlaps(chart.evaluate(_TEXTS)) == [], chart.get_attribute("aria-label")
    nodes = tab.page.evaluate(_BOXES, "svg.topology .node")
    assert len(nodes) == len(lab["nodes"])
    assert overlaps(nodes) == []


def test_the_keyboard_reaches_every_mark(tab: browser.Tab, tmp_path: Path) -> None:
    show(tab, sample.result(repetitions=1, broken_run=1, marks=60), tmp_path)
    lane = tab.page.locator("svg.timeline .lane-marks").first
    marks = lane.locator(".mark")
    marks.first.focus()
    tips = []
    for _ in range(marks.count()):
        tips.append(tab.page.locator("#tip").text_content())
        tab.page.keyboard.press("ArrowRight")
    assert tips == [title.text_content() for title in marks.locator("title").all()]
    assert len(set(tips)) > 3
    assert tab.page.locator("#tip").is_visible()
    tab.page.keyboard.press("Escape")
    assert not tab.page.locator("#tip").is_visible()
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.closest('.lane-marks') !== null")
    assert tab.page.evaluate("document.activeElement.querySelector('title').textContent") not in tips


def test_dark_and_light_differ_and_both_can_be_read(tab: browser.Tab, tmp_path: Path) -> None:
    show(tab, sample.result(repetitions=1, broken_run=0), tmp_path)
    contrasts = []
    for scheme in ("light", "dark"):
        tab.page.emulate_media(color_scheme=scheme)
        contrasts.append(tab.page.evaluate(_CONTRAST))
    tab.page.emulate_media(color_scheme="light")
    assert contrasts[0]["back"] != contrasts[1]["back"]
    assert min(each["least"] for each in contrasts) >= 4.5


_CONTRAST = """() => {
    const light = c => { const v = c.match(/[0-9.]+/g).slice(0, 3).map(x => x / 255)
        .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2] };
    const ratio = (a, b) => {
        const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
        return (x + 0.05) / (y + 0.05) };
    const back = getComputedStyle(document.querySelector('section')).backgroundColor;
    const words = 'p, td, h1, h2, svg .lane-name, svg .tick-label, svg .axis-title';
    const found = [...document.querySelectorAll(words)].map(e =>
        ratio(e instanceof SVGElement ? getComputedStyle(e).fill : getComputedStyle(e).color, back));
    const badges = [...document.querySelectorAll('.badge')].map(e =>
        ratio(getComputedStyle(e).color, getComputedStyle(e).backgroundColor));
    return {back, least: Math.min(...found, ...badges)} }"""


def test_a_large_run_is_small_and_quick(tab: browser.Tab, tmp_path: Path) -> None:
    file = show(tab, sample.large(), tmp_path)
    assert file.stat().st_size < 2_000_000
    began = time.monotonic()
    tab.page.goto(file.as_uri())
    tab.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert time.monotonic() - began < 1.0
    assert "10,000 marks are" in tab.page.content()
    assert tab.page.locator("svg.timeline .mark").count() < 1000


def test_what_names_hold_is_no_markup(tab: browser.Tab, tmp_path: Path) -> None:
    evil = "<img src=x onerror=document.title='taken'>"
    found = sample.result(repetitions=1, broken_run=1)
    found["scenario"]["title"] = found["runs"][0]["marks"][0]["flow"] = found["checks"][0]["name"] = evil
    found["topology"]["nodes"][0]["name"] = evil
    show(tab, found, tmp_path)
    assert tab.page.locator("h1").text_content() == evil
    assert tab.page.locator("img").count() == 0
    assert tab.complaints == []
