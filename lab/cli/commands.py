"""`fairhop lab`: a thin shell around the runtimes. Data on stdout, messages on stderr."""

import time
from dataclasses import asdict
from pathlib import Path

import click

from edge.cli.common import CONFIG, NEGATIVE, fail, json_option, print_json
from lab.cli.bench import bench
from lab.cli.common import SCHEMA_VERSION, lab_options, load_topology, table, tell
from lab.cli.compare import compare
from lab.cli.demo import demo
from lab.cli.fault import fault
from lab.cli.inspect import inspect
from lab.cli.lifecycle import deploy, destroy, events, restart, save, start, stop
from lab.cli.report import report
from lab.cli.test import test
from lab.cli.view import view
from lab.runtime import NodeStatus
from lab.runtimes.files import runtime_for


@click.group()
def lab() -> None:
    """Run a multi-site lab, on network namespaces or on containerlab.

    The topology is --topology FILE or NAME (or FAIRHOP_LAB_TOPOLOGY), or else the one *.clab.yml in the current
    folder or in ./containerlab; of several there, two-site.
    """


@lab.command()
@click.option("--reconfigure", is_flag=True, help="Take the lab down first if it runs.")
@lab_options
def up(path: Path | None, runtime_name: str, reconfigure: bool) -> None:
    """Bring the lab up and leave it up; returns when every node is ready and every router has converged."""
    from lab.job.bring_up import bring_up
    from lab.job.converge import converge

    topology = load_topology(path)
    began = time.monotonic()
    bring_up(runtime_for(runtime_name, topology), topology, tell, converge=converge, reconfigure=reconfigure)
    took = time.monotonic() - began
    tell(f"lab {topology.name} is up: {len(topology.nodes)} nodes, {len(topology.links)} links, {took:.1f} s")


@lab.command()
@click.option("--name", help="A lab of namespaces by its name, without its file.")
@lab_options
def down(path: Path | None, runtime_name: str, name: str | None) -> None:
    """Take the lab down: nothing of it stays, whoever brought it up and however that ended."""
    if name is None:
        topology = load_topology(path)
        began = time.monotonic()
        runtime_for(runtime_name, topology).destroy(tell)
        tell(f"down took {time.monotonic() - began:.2f} s")
        return
    from lab.netns.runtime import destroy

    tell(f"lab {name} is gone" if destroy(name) else f"there is no lab {name}")


@lab.command()
@click.option("--all", "every", is_flag=True, help="List every lab of namespaces on this machine instead.")
@json_option
@lab_options
def status(path: Path | None, runtime_name: str, every: bool, as_json: bool) -> None:
    """Show the nodes; exit code 0 when all of them run, else 1."""
    if every:
        _show_labs(as_json)
        return
    topology = load_topology(path)
    nodes = runtime_for(runtime_name, topology).nodes()
    if as_json:
        print_json(
            {
                "schema_version": SCHEMA_VERSION,
                "lab": topology.name,
                "runtime": runtime_name,
                "nodes": [asdict(node) for node in nodes],
            }
        )
    else:
        click.echo(table([("NODE", "STATE", "PID", "GROUP"), *(_node_row(node) for node in nodes)]))
    if any(node.state != "running" for node in nodes):
        raise SystemExit(NEGATIVE)


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds before the command is killed.")
@json_option
@lab_options
def execute(
    path: Path | None, runtime_name: str, node: str, command: tuple[str, ...], timeout: float, as_json: bool
) -> None:
    """Run COMMAND in NODE; its exit code is this command's."""
    done = runtime_for(runtime_name, load_topology(path)).exec(node, command, timeout)
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "node": node, **asdict(done)})
    else:
        click.echo(done.stdout, nl=False)
        click.echo(done.stderr, nl=False, err=True)
    raise SystemExit(done.returncode if done.returncode >= 0 else 128 - done.returncode)


@lab.command()
@click.option("--format", "kind", type=click.Choice(["mermaid", "dot"]), default="mermaid", show_default=True)
@click.option("--mermaid", "kind", flag_value="mermaid", help="The same as --format mermaid.")
@click.option("--dot", "kind", flag_value="dot", help="The same as --format dot.")
@json_option
@lab_options
def graph(path: Path | None, runtime_name: str, kind: str, as_json: bool) -> None:
    """Draw the topology as text for Mermaid or Graphviz."""
    from lab.topology import graph as drawing

    topology = load_topology(path)
    if as_json:
        links = [{"a": str(link.a), "b": str(link.b), "mtu": link.mtu} for link in topology.links]
        nodes = [{"name": node.name, "labels": dict(node.labels)} for node in topology.nodes.values()]
        print_json({"schema_version": SCHEMA_VERSION, "lab": topology.name, "nodes": nodes, "links": links})
    else:
        click.echo(drawing.mermaid(topology) if kind == "mermaid" else drawing.dot(topology))


@lab.command()
@json_option
@lab_options
def check(path: Path | None, runtime_name: str, as_json: bool) -> None:
    """Find what would make a measurement lie: offloads, missing peer programs, MTUs; exit code 1 when there is any."""
    from lab.observe.inspect_links import check as find

    topology = load_topology(path)
    findings = find(runtime_for(runtime_name, topology), topology)
    if as_json:
        facts = [asdict(finding) for finding in findings]
        print_json({"schema_version": SCHEMA_VERSION, "lab": topology.name, "findings": facts})
    else:
        click.echo("\n".join(str(finding) for finding in findings) or f"[PASS] {len(topology.links)} links are honest")
    if findings:
        raise SystemExit(NEGATIVE)


@lab.command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; exit code 1 when a file differs.")
@lab_options
def render(path: Path | None, runtime_name: str, only_check: bool) -> None:
    """Derive every node's addresses and files from the topology file and write them beside it."""
    from lab import planning
    from lab.render import folder, lab_files

    topology = load_topology(path)
    try:
        wanted = lab_files.render(planning.plan(topology))
    except planning.PlanError as error:
        fail(f"{topology.file}: {error}", CONFIG)
    place = Path(topology.folder)
    difference = folder.compare(place, wanted)
    for line in difference.lines():
        click.echo(line)
    if not only_check:
        folder.write(place, wanted, difference)
    elif difference:
        fail(f"{topology.file}: the files above differ from the description: run `fairhop lab render`", NEGATIVE)
    tell(f"{topology.file}: {len(wanted)} files are as described")


def _show_labs(as_json: bool) -> None:
    from lab.netns.runtime import records
    from lab.netns.state import as_json as plain

    found = list(records())
    if as_json:
        print_json({"schema_version": SCHEMA_VERSION, "labs": [plain(record) for record in found]})
        return
    rows = [(r.lab, "kept" if r.kept else f"of process {r.tool}", r.owner, str(len(r.netns)), r.file) for r in found]
    click.echo(table([("LAB", "STATE", "OWNER", "NODES", "FILE"), *rows]))


def _node_row(node: NodeStatus) -> tuple[str, ...]:
    return node.name, node.state, str(node.pid or "-"), node.labels.get("clab-node-group", "") or "-"


lab.add_command(bench)
lab.add_command(demo)
lab.add_command(report)
lab.add_command(compare)
lab.add_command(view)
for _verb in (deploy, destroy, events, inspect, restart, save, start, stop):
    lab.add_command(_verb)
lab.add_command(test)
lab.add_command(fault)
