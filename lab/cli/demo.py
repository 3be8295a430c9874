"""`fairhop lab demo`: the main job from the command line."""

import json
from pathlib import Path

import click

from edge.cli.common import NEGATIVE
from lab.cli.common import lab_options, load_topology, tell
from lab.cli.files import runtime_for


@click.command()
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write the same facts to FILE.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards.")
@click.option("--connections", default=1000, show_default=True, help="Long-lived connections that each client holds.")
@click.option("--rate", default=100.0, show_default=True, help="Short requests a second from each client.")
@lab_options
def demo(
    path: Path | None, runtime_name: str, json_file: Path | None, keep: bool, connections: int, rate: float
) -> None:
    """Bring the lab up, serve, drain and kill edges under traffic, and print the verdict.

    Exit code 0 when every check passes, else 1. The lab is taken down again, also after ctrl-C.
    """
    from lab import planning
    from lab.job import text
    from lab.job.bring_up import Owned
    from lab.job.demo import Amount, Demo

    topology = load_topology(path)
    runtime = runtime_for(runtime_name, topology)
    try:
        report = Demo(runtime, topology, planning.plan(topology), tell).run(Amount(connections, rate))
        if keep and isinstance(runtime, Owned):
            runtime.keep()
    finally:
        if isinstance(runtime, Owned):
            runtime.close()
        elif not keep:
            runtime.destroy(tell)
    click.echo("\n".join(text.lines(report)))
    if json_file:
        json_file.write_text(json.dumps(report.to_json(), indent=2) + "\n")
    if not report.passed:
        raise SystemExit(NEGATIVE)
