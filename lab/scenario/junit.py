"""Results as JUnit XML: a suite for each scenario, a case for each check. No I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from lab.scenario.checks import Check
from lab.scenario.judge import all_checks
from lab.scenario.result import Result

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class NotRun:
    """A scenario without a verdict: `skipped` because something named is missing, or in `error`."""

    name: str
    reason: str
    skipped: bool


def document(results: Sequence[Result], not_run: Sequence[NotRun] = ()) -> str:
    """The XML text. A skip is `skipped`, a lab that could not run an `error`: neither is a pass."""
    root = ET.Element("testsuites", name="fairhop lab test")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for result in results:
        suite = _suite(result)
        root.append(suite)
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
    for each in not_run:
        suite = _suite_not_run(each)
        root.append(suite)
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
    for name, total in totals.items():
        root.set(name, str(total))
    root.set("time", f"{sum(_seconds(result) for result in results):.3f}")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(result: Result) -> ET.Element:
    cases = [(run.number, check) for run in result.runs for check in all_checks(run)]
    cases += [(0, check) for check in result.checks]
    failures = sum(not check.holds for _, check in cases)
    suite = ET.Element(
        "testsuite", name=result.name, tests=str(len(cases)), failures=str(failures), errors="0",
        skipped="0", time=f"{_seconds(result):.3f}", timestamp=result.around.when.removesuffix("Z"),
        hostname=result.around.runtime,
    )  # fmt: skip
    for number, check in cases:
        prefix = f"run {number}: " if number and len(result.runs) > 1 else ""
        suite.append(_case(result.name, prefix, check))
    return suite


def _case(scenario: str, prefix: str, check: Check) -> ET.Element:
    case = ET.Element("testcase", classname=f"scenario.{scenario}", name=_text(prefix + check.name), time="0")
    if not check.holds:
        text = _text(f"{check.value} (expected {check.bound})")
        failure = ET.SubElement(case, "failure", message=text, type="bound")
        failure.text = _text(str(check))
    elif not check.judged:
        ET.SubElement(case, "system-out").text = _text(str(check))
    return case


def _suite_not_run(each: NotRun) -> ET.Element:
    kind = "skipped" if each.skipped else "error"
    suite = ET.Element(
        "testsuite", name=each.name, tests="1", failures="0", errors=str(int(not each.skipped)),
        skipped=str(int(each.skipped)), time="0",
    )  # fmt: skip
    case = ET.SubElement(suite, "testcase", classname=f"scenario.{each.name}", name=each.name, time="0")
    ET.SubElement(case, kind, message=_text(each.reason))
    return suite


def _seconds(result: Result) -> float:
    return sum(run.whole.until for run in result.runs)


def _text(text: str) -> str:
    """Without the characters that XML cannot have."""
    return _NOT_XML.sub("?", text)
