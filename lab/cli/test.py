"""`fairhop lab test`: scenarios from the command line."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from edge.cli.common import NEGATIVE, UNREACHABLE, USAGE, fail
from edge.text.strictyaml import ConfigError
from lab.cli.common import lab_options, table, tell
from lab.runtime import LabError
from lab.runtimes.files import runtime_for

if TYPE_CHECKING:
    from lab.scenario.parse import Case
    from lab.scenario.result import Result
    from lab.scenario.suite import Findings

_FILE = click.Path(dir_okay=False, path_type=Path)
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files that the results are written to, where they are asked for."""

    json: Path | None
    junit: Path | None
    html: Path | None

    def write(self, findings: "Findings") -> None:
        """Write them all."""
        from lab.scenario import junit, result

        facts = result.of_many(findings.results)
        if self.json:
            self.json.write_text(json.dumps(facts, indent=2) + "\n")
        if self.junit:
            self.junit.write_text(junit.document(findings.results, findings.not_run))
        if self.html:
            from lab.report import html

            html.write(facts, self.html)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which scenarios, of those that there are, and on which of their topologies."""

    core: bool
    on: str | None

    def holds(self, case: "Case") -> bool:
        """Whether it is one of them."""
        return (case.scenario.core or not self.core) and self.on in (None, case.topology.name)


def selection(command: F) -> F:
    """`--core` and `--on`, handed to the command as one `Selection`."""

    def run(core: bool, on: str | None, **others: Any) -> Any:
        return command(only=Selection(core, on), **others)

    wrapped: Callable[..., Any] = update_wrapper(run, command)
    wrapped = click.option("--core", is_flag=True, help="Only the scenarios marked `core: true`.")(wrapped)
    words = "Only on this topology, of those that the scenarios name."
    return cast(F, click.option("--on", metavar="LAB", help=words)(wrapped))


def outputs(command: F) -> F:
    """`--json`, `--junit-xml` and `--html`, handed to the command as one `Outputs`."""

    def run(json_file: Path | None, junit_file: Path | None, html_file: Path | None, **others: Any) -> Any:
        return command(files=Outputs(json_file, junit_file, html_file), **others)

    wrapped: Callable[..., Any] = update_wrapper(run, command)
    for names, words in (
        (("--html", "html_file"), "Write them as one HTML page."),
        (("--junit-xml", "junit_file"), "Write them as JUnit XML."),
        (("--json", "json_file"), "Write the results to FILE."),
    ):
        wrapped = click.option(*names, type=_FILE, metavar="FILE", help=words)(wrapped)
    return cast(F, wrapped)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--list", "only_list", is_flag=True, help="Print name, title, topology and rules, and run nothing.")
@click.option(
    "--repetitions", type=click.IntRange(min=1), metavar="N", help="Run each N times, not as often as it says."
)
@click.option("--report", "in_full", is_flag=True, help="Print each scenario's whole report, not its checks alone.")
@selection
@outputs
@lab_options
def test(
    path: Path | None, runtime_name: str, names: tuple[str, ...], only_list: bool, only: Selection,
    repetitions: int | None, in_full: bool, files: Outputs,
) -> None:  # fmt: skip
    """Run scenarios: those called NAME, or all in ./containerlab/scenarios (--topology DIR or FILE for others).

    Prints one [PASS] or [FAIL] line a check, and a table. Exit codes: 0 all passed, 1 something failed, 2 usage or a
    bad file, 3 a lab could not run or a scenario was skipped. Progress goes to stderr.
    """
    from lab.scenario import suite

    cases = [case for case in _cases(names, path) if only.holds(case)]
    if only_list:
        click.echo(table([("NAME", "TITLE", "TOPOLOGY", "COVERS"), *map(_listed, cases)]))
        return
    if not names:  # those that are for another runtime are left out, and it is said
        for case in (each for each in cases if runtime_name not in each.scenario.runtimes):
            tell(f"{case.name}: left out: {suite.obstacle(case, runtime_name)}")
        cases = [case for case in cases if runtime_name in case.scenario.runtimes]
    if not cases:
        fail("no scenario is selected", USAGE)
    with suite.Labs(partial(runtime_for, runtime_name), tell) as labs:
        findings = suite.run(cases, labs, repetitions, partial(_show, in_full=in_full))
    files.write(findings)
    click.echo("\n".join(_summary(findings)))
    raise SystemExit(code_of(findings))


def code_of(findings: "Findings") -> int:
    """A failure beats what could not run, which beats success."""
    if any(not result.passed for result in findings.results):
        return NEGATIVE
    return UNREACHABLE if findings.not_run or not findings.results else 0


def _cases(names: Sequence[str], path: Path | None) -> "list[Case]":
    from lab.scenario import files

    try:
        return files.read(files.find(names, path))
    except ConfigError as error:
        click.echo(str(error), err=True)
        raise SystemExit(USAGE) from None
    except (LabError, OSError) as error:
        fail(str(error), USAGE)


def _listed(case: "Case") -> tuple[str, ...]:
    scenario = case.scenario
    return scenario.name, scenario.title, case.topology.name, " ".join(scenario.covers) or "-"


def _show(found: "Result", *, in_full: bool) -> None:
    from lab.scenario import text

    click.echo("\n".join(text.report(found) if in_full else text.brief(found)) + "\n")


def _summary(findings: "Findings") -> list[str]:
    rows = [("SCENARIO", "VERDICT", "CHECKS", "RUNS", "SECONDS")]
    for result in findings.results:
        checks = [check for check in result.every_check if check.judged]
        passed = sum(check.passed for check in checks)
        seconds = sum(run.whole.until for run in result.runs)
        verdict = "PASS" if result.passed else "FAIL"
        counts = f"{passed} of {len(checks)}"
        rows.append((result.name, verdict, counts, str(len(result.runs)), f"{seconds:.1f}"))
    for each in findings.not_run:
        rows.append((each.name, "SKIP" if each.skipped else "ERROR", each.reason, "0", "0.0"))
    good = sum(result.passed for result in findings.results)
    total = len(findings.results) + len(findings.not_run)
    verdict = "PASS" if good == total and total else "FAIL"
    return [table(rows), f"VERDICT {verdict}: {good} of {total} scenarios passed"]
