"""`fairhop lab bench`, and `python -m lab.bench`: measure, print the figures and verdicts, write them down."""

import json
from pathlib import Path

import click

from edge.cli.common import NEGATIVE, fail
from edge.datapath.bpf_error import BpfError
from lab.cli.common import SCHEMA_VERSION, table, tell

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--json", "json_file", type=_FILE, metavar="FILE", help="Write every figure to FILE.")
@click.option("--plot", "plot_file", type=_FILE, metavar="FILE", help="Draw them to FILE (.png or .svg).")
@click.option("--only", "parts", type=click.Choice(["packets", "scale", "tables", "veth"]), multiple=True,
              help="Measure this part only; may be given again.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Few rounds: to see it work, not to quote its numbers.")
@click.option("--enforce", is_flag=True, help="Exit code 1 when a target is missed.")
def bench(json_file: Path | None, plot_file: Path | None, parts: tuple[str, ...], quick: bool, enforce: bool) -> None:
    """Measure what packets, tables and generations cost on this machine, against their targets. Needs root."""
    from lab.bench import harness, run

    try:
        report = run.run(run.QUICK if quick else run.THOROUGH, parts or run.PARTS, tell)
    except (harness.BenchError, BpfError) as error:
        fail(str(error), NEGATIVE)
    click.echo(table(list(report.table())))
    click.echo("\n".join(map(str, report.verdicts)))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        facts = {"schema_version": SCHEMA_VERSION, "quick": quick, **report.to_json()}
        json_file.write_text(json.dumps(facts, indent=2) + "\n")
    if plot_file:
        from lab.bench.plot import draw

        plot_file.parent.mkdir(parents=True, exist_ok=True)
        draw(report, plot_file)
    if enforce and not all(verdict.passed for verdict in report.verdicts):
        raise SystemExit(NEGATIVE)
