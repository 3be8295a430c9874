"""`fairhop lab test`: scenarios from the command line."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.common import NEGATIVE, UNREACHABLE, USAGE, fail
from edge.strictyaml import ConfigError
from lab.cli.common import lab_options, table, tell
from lab.cli.files import runtime_for
from lab.runtime import LabError

if TYPE_CHECKING:
    from lab.scenario.parse import Case
    from lab.scenario.suite import Findings

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--list", "only_list", is_flag=True, help="Print name, title, topology and rules, and run nothing.")
@click.option("--core", is_flag=True, help="Only the scenarios marked `core: true`.")
@click.option(
    "--repetitions", type=click.IntRange(min=1), metavar="N", help="Run each N times, not as often as it says."
)
@click.option("--report", "in_full", is_flag=True, help="Print each scenario's whole report, not its checks alone.")
@click.option("--keep", is_flag=True, help="Leave the last lab up afterwards.")
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write the results to FILE.")
@click.option("--junit-xml", "junit_file", type=_FILE, metavar="FILE", help="Write them as JUnit XML.")
@click.option("--html", "html_file", type=_FILE, metavar="FILE", help="Write them as one HTML page.")
@lab_options
def test(
    path: Path | None, runtime_name: str, names: tuple[str, ...], only_list: bool, core: bool, repetitions: int | None,
    in_full: bool, keep: bool, json_file: Path | None, junit_file: Path | None, html_file: Path | None,
) -> None:  # fmt: skip
    """Run scenarios: those called NAME, or all in ./containerlab/scenarios (--topology DIR or FILE for others).

    Prints one [PASS] or [FAIL] line a check, and a table. Exit codes: 0 all passed, 1 something failed, 2 usage or a
    bad file, 3 a lab could not run or a scenario was skipped. Progress goes to stderr.
    """
    from lab.scenario import junit, result
    from lab.scenario.suite import Suite

    cases = _cases(names, path, core=core)
    if only_list:
        click.echo(table([("NAME", "TITLE", "TOPOLOGY", "COVERS"), *map(_listed, cases)]))
        return
    if not names:
        cases = [case for case in cases if runtime_name in case.scenario.runtimes]
    if not cases:
        fail("no scenario is selected", USAGE)
    suite = Suite(
        lambda topology: runtime_for(runtime_name, topology), tell, lambda found: _show(found, in_full=in_full)
    )
    findings = suite.run(cases, repetitions, keep=keep)
    facts = result.of_many(findings.results)
    if json_file:
        json_file.write_text(json.dumps(facts, indent=2) + "\n")
    if junit_file:
        junit_file.write_text(junit.document(findings.results, findings.not_run))
    if html_file:
        from lab.report import html

        html.write(facts, html_file)
    click.echo("\n".join(_summary(findings)))
    raise SystemExit(code_of(findings))


def code_of(findings: "Findings") -> int:
    """A failure beats what could not run, which beats success."""
    if any(not result.passed for result in findings.results):
        return NEGATIVE
    return UNREACHABLE if findings.not_run or not findings.results else 0


def _cases(names: Sequence[str], path: Path | None, *, core: bool) -> "list[Case]":
    from lab.scenario import files

    try:
        cases = files.read(files.find(names, path))
    except ConfigError as error:
        click.echo(str(error), err=True)
        raise SystemExit(USAGE) from None
    except (LabError, OSError) as error:
        fail(str(error), USAGE)
    return [case for case in cases if case.scenario.core or not core]


def _listed(case: "Case") -> tuple[str, ...]:
    scenario = case.scenario
    return scenario.name, scenario.title, scenario.topology, " ".join(scenario.covers) or "-"


def _show(found: "object", *, in_full: bool) -> None:
    from lab.scenario import text
    from lab.scenario.result import Result

    assert isinstance(found, Result)
    click.echo("\n".join(text.report(found) if in_full else text.brief(found)) + "\n")


def _summary(findings: "Findings") -> list[str]:
    rows = [("SCENARIO", "VERDICT", "CHECKS", "RUNS", "SECONDS")]
    for result in findings.results:
        checks = result.every_check
        passed = sum(check.passed for check in checks)
        seconds = sum(run.whole.until for run in result.runs)
        verdict = "PASS" if result.passed else "FAIL"
        counts = f"{passed} of {len(checks)}"
        rows.append((result.scenario.name, verdict, counts, str(len(result.runs)), f"{seconds:.1f}"))
    for each in findings.not_run:
        rows.append((each.name, "SKIP" if each.skipped else "ERROR", each.reason, "0", "0.0"))
    good = sum(result.passed for result in findings.results)
    total = len(findings.results) + len(findings.not_run)
    verdict = "PASS" if good == total and total else "FAIL"
    return [table(rows), f"VERDICT {verdict}: {good} of {total} scenarios passed"]
