"""`fairhop lab bench`, and `python -m lab.bench`: measure, print the verdicts, write them down."""

import json
import platform
from pathlib import Path
from typing import Any

import click

from edge.cli.common import NEGATIVE, fail
from edge.datapath.bpf_error import BpfError
from lab.cli.common import SCHEMA_VERSION, table, tell


@click.command()
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write every figure to FILE.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Few rounds: to see it work, not to quote its numbers.")
@click.option("--enforce", is_flag=True, help="Exit code 1 when a target is missed.")
def bench(json_file: Path | None, quick: bool, enforce: bool) -> None:
    """Measure what packets, tables and generations cost on this machine, against their targets. Needs root."""
    from lab.bench import harness, packets

    amount = packets.Amount(3, 20_000) if quick else packets.Amount()
    harness.pin_to_one_cpu()
    try:
        rows = packets.measure(amount, tell)
    except (harness.BenchError, BpfError) as error:
        fail(str(error), NEGATIVE)
    verdicts = [verdict for row in rows for verdict in row.verdicts()]
    heads = ("PACKET", "FLOWS", "NET ns", "WITH RESTORING ns")
    click.echo(table([heads, *((row.case, row.flows, _ns(row.net), _ns(row.plain)) for row in rows)]))
    click.echo("\n".join(map(str, verdicts)))
    if json_file:
        facts: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "machine": {"kernel": platform.release(), "cpu": _cpu()},
            "quick": quick,
            "packets": [row.to_json() for row in rows],
            "verdicts": [verdict.to_json() for verdict in verdicts],
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(facts, indent=2) + "\n")
    if enforce and not all(verdict.passed for verdict in verdicts):
        raise SystemExit(NEGATIVE)


def _ns(figure: Any) -> str:
    return f"{figure.median:.1f} ({figure.min:.1f}..{figure.max:.1f})"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
