"""The whole report as one HTML document. No I/O."""

from collections.abc import Iterable, Sequence

from lab.report import cdf, marks, rates, tables, timeline, topology
from lab.report.failover import bounds_of, failover_times
from lab.report.result import Result, Run
from lab.report.scale import percentile, seconds
from lab.report.svg import Content, Markup, el, join

_DRAWN_RUNS = 6  # with charts; the others have their rows in tables
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def render(results: Sequence[Result], sheet: str, script: str) -> str:
    """One document for all the results, an overview first where there are several; `sheet` and `script` stand in it."""
    title = results[0].scenario.title or results[0].scenario.name if len(results) == 1 else f"{len(results)} scenarios"
    head = el(
        "head", el("meta", charset="utf-8"), el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=_POLICY), el("title", f"{title} - fairhop lab report"),
        el("style", Markup(sheet)),
    )  # fmt: skip
    overview = _overview(results) if len(results) != 1 else None
    many = len(results) > 1
    body = [part for index, result in enumerate(results) for part in _result(result, f"s{index}", many)]
    main = el("main", overview, *body)
    return "<!doctype html>\n" + el("html", head, el("body", main, el("script", Markup(script))), lang="en") + "\n"


def _overview(results: Sequence[Result]) -> Markup:
    passed = sum(result.passed for result in results)
    rows = []
    for index, result in enumerate(results):
        checks = [check for _, check in result.all_checks() if check.judged]
        name = el("a", result.scenario.name, href=f"#s{index}")
        met = f"{sum(check.passed for check in checks)} of {len(checks)}"
        rows.append(
            (tables.badge(result.passed), name, result.scenario.title, result.topology.name, result.runtime, met)
        )
    head = el("div", tables.badge(passed == len(results)), el("h1", "Lab scenarios"), class_="title")
    said = el("p", f"{passed} of {len(results)} scenarios passed.", class_="soft")
    shown = tables.table(("verdict", "scenario", "what it shows", "topology", "runtime", "checks passed"), rows)
    return el("header", head, said, shown, class_="card")


def _result(result: Result, anchor: str, many: bool) -> list[Markup]:
    drawn = _drawn(result)
    first = next((run for run in drawn if not run.passed), drawn[0] if drawn else None)
    times = failover_times(result)
    parts = [_head(result, anchor, many)]
    parts.append(el("section", el("h2", "Verdict"), tables.checks(result)))
    drawing = el("div", topology.draw(result.topology), topology.legend(result.topology))
    parts.append(el("section", el("h2", f"Topology {result.topology.name}"), drawing))
    if times:
        parts.append(_failover(result, times))
    parts.append(el("section", el("h2", "Runs"), tables.runs(result), _not_drawn(result, drawn)))
    folded = many and result.passed  # of many scenarios, those that failed are what people look for
    parts += [_run(run, is_open=not folded and (run is first or len(drawn) <= 2)) for run in drawn]
    parts.append(_about(result))
    return parts


def _drawn(result: Result) -> list[Run]:
    """The runs that get charts: those that failed, then the first ones."""
    ranked = sorted(result.runs, key=lambda run: (run.passed, run.number))[:_DRAWN_RUNS]
    return sorted(ranked, key=lambda run: run.number)


def _not_drawn(result: Result, drawn: Sequence[Run]) -> Markup | None:
    left_out = len(result.runs) - len(drawn)
    if not left_out:
        return None
    which = (
        "those that failed first, then by number" if not all(run.passed for run in result.runs) else "the first ones"
    )
    return el(
        "p", f"{len(drawn)} runs are drawn below ({which}); {left_out} more are in this table alone.", class_="note"
    )


def _head(result: Result, anchor: str, many: bool) -> Markup:
    scenario = result.scenario
    title = el("h2" if many else "h1", scenario.title or scenario.name)
    covers = f"; covers {', '.join(scenario.covers)}" if scenario.covers else ""
    said = f"Scenario {scenario.name} on {result.topology.name}, runtime {result.runtime}, {result.when}{covers}"
    checks = [check for _, check in result.all_checks() if check.judged]
    times = [value for each in failover_times(result).values() for value in each]
    tiles = [
        ("checks passed", f"{sum(check.passed for check in checks)} of {len(checks)}"),
        ("runs passed", f"{sum(run.passed for run in result.runs)} of {len(result.runs)}"),
        ("marks (gaps, failures)", f"{sum(len(run.marks) for run in result.runs):,}"),
        ("route changes", f"{sum(len(run.route_changes) for run in result.runs):,}"),
    ]
    if times:
        tiles += [
            ("failover_time, median", seconds(percentile(times, 0.5))),
            ("failover_time, longest", seconds(max(times))),
        ]
    return el(
        "header",
        el("div", tables.badge(result.passed), el("div", title, el("p", said, class_="soft")), class_="title"),
        el("div", *(el("div", el("b", text), el("span", name), class_="tile") for name, text in tiles), class_="tiles"),
        class_="card",
        id=anchor,
    )


def _failover(result: Result, times: dict[str, list[float]]) -> Markup:
    bounds = bounds_of(result)
    rows = [
        (
            el("span", el("i", class_=f"swatch curve colour-{index % cdf.COLOURS}"), step, class_="key"),
            str(len(each)), *(seconds(percentile(each, share)) for share in (0.5, 0.9, 0.99, 1.0)),
        )
        for index, (step, each) in enumerate(times.items())
    ]  # fmt: skip
    head = ("step", "events", "median", "p90", "p99", "longest")
    drawn = len(times) and el("div", cdf.draw(times, bounds))
    few = min(len(each) for each in times.values()) < 100
    note = "A percentile is the smallest value that so many events do not exceed; below 100 events p99 is the longest."
    beside = el("div", tables.table(head, rows, range(1, 6)), el("p", note, class_="note") if few else None)
    without = None if bounds else el("p", "The scenario sets no bound on failover_time.", class_="note")
    return el(
        "section",
        el("h2", "failover_time over repetitions"),
        el("div", drawn or None, join(beside, without), class_="beside"),
    )


def _run(run: Run, is_open: bool) -> Markup:
    chart, notes = timeline.draw(run)
    parts: list[Content] = [el("h3", "Timeline"), chart, _marks_legend(run), *_notes(notes)]
    parts.append(tables.data("Steps as a table", tables.steps(run)))
    if run.faults:
        parts.append(tables.data("Faults as a table", tables.faults(run)))
    if run.marks:
        parts.append(tables.data("Marks as a table", tables.marks(run)))
    if run.route_changes:
        parts.append(tables.data("Route changes as a table", tables.changes(run)))
    if run.next_hops:
        parts.append(tables.data("Next hops as a table", tables.next_hops(run)))
    parts.append(tables.left_out(run))
    for what, unit, series in (
        ("Edges", "packets/s", run.rates.edges),
        ("Backends", "answers/s", run.rates.backends),
    ):
        if series:
            chart, notes = rates.draw(run, what, unit, series)
            parts += [el("h3", f"{what}, {unit}"), chart, *_notes(notes)]
            parts.append(tables.data(f"{what} as a table", tables.rates(series, unit)))
    if run.rates.streams:
        chart, _ = rates.draw_streams(run)
        key = el("span", el("i", class_="swatch", style="background:var(--red)"), "failed", class_="key")
        parts += [el("h3", "Streams, answered and failed per second"), chart, el("p", key, class_="legend")]
    for title, found in (("What each stream saw", tables.streams(run)), ("Packets by reason", tables.reasons(run))):
        if found:
            parts += [el("h3", title), found]
    summary = el("summary", f"Run {run.number} ", tables.badge(run.passed))
    return el("details", summary, *parts, class_="run", open=is_open)


def _marks_legend(run: Run) -> Markup | None:
    kinds = sorted({mark.kind for mark in run.marks})
    keys = [_key(f"mark mark-{marks.shape_of(kind)}", marks.symbol(marks.shape_of(kind), 8, 8), kind) for kind in kinds]
    if run.route_changes:
        bar = el("rect", x=6.5, y=1, width=3, height=14, rx=1)
        keys.append(_key("route", bar, "route change"))
        if any(not change.hops for change in run.route_changes):
            keys.append(_key("route route-none", bar, "a prefix lost its last next hop"))
    return el("p", *keys, class_="legend") if keys else None


def _key(class_: str, drawing: Markup, words: str) -> Markup:
    symbol = el("svg", el("g", drawing, class_=class_), viewBox="0 0 16 16", aria_hidden="true")
    return el("span", symbol, words, class_="key")


def _notes(notes: Iterable[str]) -> list[Markup]:
    return [el("p", note, class_="note") for note in notes]


def _about(result: Result) -> Markup:
    pairs = [
        ("fairhop", result.fairhop), ("kernel", result.kernel), ("cores", str(result.cores or "")),
        ("runtime", result.runtime), ("when", result.when), ("scenario file", result.scenario.file),
        *result.versions.items(),
    ]  # fmt: skip
    return el("section", el("h2", "Made with"), tables.facts(pairs))
