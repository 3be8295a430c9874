"""`python -m lab.announce`: measure the announcer's times, print them with their verdicts, write them down."""

import json
from pathlib import Path

import click

from edge.cli.common import NEGATIVE, PERMISSION, fail
from lab.announce.plan import KINDS, Kind
from lab.announce.rows import ROWS
from lab.cli.common import table, tell

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--row", "rows", type=click.Choice([row.name for row in ROWS]), multiple=True, metavar="NAME",
              help="Measure this row only; may be given again.")  # fmt: skip
@click.option("--router", "kinds", type=click.Choice(KINDS), multiple=True,
              help="At this router only; may be given again.")  # fmt: skip
@click.option(
    "--repetitions",
    default=30,
    show_default=True,
    type=click.IntRange(1),
    help="Of each row; 100 planned drains for 30.",
)
@click.option("--alternate-for", default=600.0, show_default=True, help="Seconds that a checker alternates.")
@click.option(
    "--json",
    "json_file",
    type=_FILE,
    metavar="FILE",
    help="Write every value to FILE, which keeps the rows that are not measured now.",
)
@click.option("--real-time/--shared", default=True, show_default=True,
              help="Run the testbed before all else on the machine (SCHED_RR), or as everything else.")  # fmt: skip
@click.option("--plot", "plot_file", type=_FILE, metavar="FILE", help="Draw them to FILE (.png or .svg).")
@click.option("--enforce", is_flag=True, help="Exit code 1 when a bound is missed.")
def announce(
    rows: tuple[str, ...],
    kinds: tuple[Kind, ...],
    repetitions: int,
    alternate_for: float,
    json_file: Path | None,
    real_time: bool,
    plot_file: Path | None,
    enforce: bool,
) -> None:
    """Measure from events at an edge node to routes in a router's kernel, against their bounds. Needs root."""
    from lab.announce import run
    from lab.announce.figures import outcome_from_json
    from lab.announce.measures import Effort
    from lab.runtime import LabError

    try:
        effort = Effort(repetitions, alternate_for, real_time)
        report = run.run(run.tasks(rows, kinds), effort, tell)
    except LabError as error:
        fail(str(error), NEGATIVE)
    except PermissionError as error:
        fail(str(error), PERMISSION)
    if json_file and json_file.exists():
        earlier = json.loads(json_file.read_text())["rows"]
        report = report.with_earlier([outcome_from_json(row) for row in earlier])
    click.echo(table(report.table()))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(report.to_json(), indent=2) + "\n")
    if plot_file:
        from lab.announce.plot import draw

        plot_file.parent.mkdir(parents=True, exist_ok=True)
        draw(report.outcomes, plot_file)
    if enforce and report.failed:
        raise SystemExit(NEGATIVE)
