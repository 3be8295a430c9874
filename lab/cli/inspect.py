"""`fairhop lab inspect`: the nodes of one lab, or of all labs of namespaces, as a table, JSON or CSV."""

import csv
import io
from pathlib import Path

import click

from edge.cli.common import NEGATIVE, print_json
from lab.cli.common import SCHEMA_VERSION, lab_options, load_topology, table
from lab.runtimes.files import runtime_for

_COLUMNS = ("lab", "name", "kind", "group", "state", "pid", "netns")


@click.command()
@click.option("-f", "--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--name", default="", help="A lab of namespaces by its name, without its file.")
@click.option("--all", "every", is_flag=True, help="Every lab of namespaces on this machine.")
@lab_options
def inspect(path: Path | None, runtime_name: str, form: str, name: str, every: bool) -> None:
    """Show nodes with their kind, state, process and network namespace; 1 when there is none."""
    rows = recorded(name) if every or name else described(path, runtime_name)
    if form == "json":
        labs: dict[str, list[dict[str, str | int]]] = {}
        for row in rows:
            labs.setdefault(str(row["lab"]), []).append(row)
        print_json({"schema_version": SCHEMA_VERSION, "labs": labs})
    elif form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        click.echo(text.getvalue(), nl=False)
    else:
        lines = [[str(row[column]) or "-" for column in _COLUMNS] for row in rows]
        click.echo(table([[column.upper() for column in _COLUMNS], *lines]))
    if not any(row["state"] == "running" for row in rows):
        raise SystemExit(NEGATIVE)


def described(path: Path | None, runtime_name: str) -> list[dict[str, str | int]]:
    """Rows of the lab that a file describes."""
    topology = load_topology(path)
    runtime = runtime_for(runtime_name, topology)
    rows: list[dict[str, str | int]] = []
    for status in runtime.nodes():
        node = topology.nodes[status.name]
        netns = str(runtime.netns(status.name)) if status.state != "absent" else ""
        values = (topology.name, status.name, node.kind, node.group, status.state, status.pid, netns)
        rows.append(dict(zip(_COLUMNS, values, strict=True)))
    return rows


def recorded(only: str) -> list[dict[str, str | int]]:
    """Rows of every lab of namespaces, or of one, from what was recorded at its deployment."""
    from lab.netns import state
    from lab.netns.runtime import records

    rows: list[dict[str, str | int]] = []
    for record in records():
        for node, labels in record.labels.items() if not only or record.lab == only else ():
            pid = state.node_pid(record.lab, node)
            shown = "running" if pid else "exited" if node in record.netns else "-"
            kind, group = labels.get("clab-node-kind", ""), labels.get("clab-node-group", "")
            values = (record.lab, node, kind, group, shown, pid, record.netns.get(node, ""))
            rows.append(dict(zip(_COLUMNS, values, strict=True)))
    return rows
