"""`fairhop lab deploy`, `destroy`, `start`, `stop`, `restart`: containerlab's verbs for whole labs and for one node."""

import time
from pathlib import Path

import click

from edge.cli.common import NEGATIVE, fail
from lab.cli.common import ends_well, lab_options, load_topology, tell
from lab.runtimes.files import runtime_for


@click.command()
@click.option("--reconfigure", is_flag=True, help="Take the lab down first if it runs.")
@lab_options
def deploy(path: Path | None, runtime_name: str, reconfigure: bool) -> None:
    """Bring the lab up and leave it up; returns when every node is ready, without waiting for routes as `up` does."""
    from lab.job.bring_up import bring_up

    topology = load_topology(path)
    began = time.monotonic()
    bring_up(runtime_for(runtime_name, topology), topology, tell, reconfigure=reconfigure)
    tell(f"lab {topology.name} is deployed: {len(topology.nodes)} nodes, {time.monotonic() - began:.2f} s")


@click.command()
@click.option("--name", help="A lab of namespaces by its name, without its file.")
@click.option("--all", "every", is_flag=True, help="Every lab of namespaces on this machine.")
@lab_options
def destroy(path: Path | None, runtime_name: str, name: str | None, every: bool) -> None:
    """Take the lab down: nothing of it stays, whoever brought it up and however that ended."""
    if not every and name is None:
        topology = load_topology(path)
        runtime_for(runtime_name, topology).destroy(tell)
        return
    destroy_named(every=every, name=name or "")


def destroy_named(*, every: bool, name: str) -> None:
    """Remove labs of namespaces without their files."""
    from lab.netns import state
    from lab.netns.runtime import destroy as remove

    for each in state.labs() if every else [name]:
        tell(f"lab {each} is gone" if remove(each) else f"there is no lab {each}")


@click.command()
@click.argument("node")
@lab_options
def start(path: Path | None, runtime_name: str, node: str) -> None:
    """Start NODE again, which was stopped or killed, with the links it had; returns when it is ready."""
    runtime_for(runtime_name, load_topology(path)).start(node)
    tell(f"node {node} runs")


@click.command()
@click.argument("node")
@lab_options
def stop(path: Path | None, runtime_name: str, node: str) -> None:
    """End NODE: SIGTERM, after 10 s SIGKILL; its links stay up."""
    runtime_for(runtime_name, load_topology(path)).stop(node)
    tell(f"node {node} has ended")


@click.command()
@click.argument("node")
@lab_options
def restart(path: Path | None, runtime_name: str, node: str) -> None:
    """Stop NODE and start it with the links it had; returns when it is ready."""
    began = time.monotonic()
    runtime_for(runtime_name, load_topology(path)).restart(node)
    tell(f"node {node} is ready again after {time.monotonic() - began:.2f} s")


@click.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Instead of clab-LAB beside the file.")
@lab_options
def save(path: Path | None, runtime_name: str, folder: Path | None) -> None:
    """Write the configuration that each node's FRR runs to clab-LAB/NODE/frr.conf beside the topology file."""
    topology = load_topology(path)
    runtime = runtime_for(runtime_name, topology)
    place = folder or Path(topology.folder, f"clab-{topology.name}")
    running = [node.name for node in runtime.nodes() if node.pid]
    if not running:
        fail(f"lab {topology.name} does not run", NEGATIVE)
    for node in running:
        if runtime.exec(node, ["sh", "-c", "test -S /run/frr/zebra.vty && command -v vtysh"]).returncode:
            tell(f"{node}: runs no FRR: nothing to save")
            continue
        done = runtime.exec(node, ["vtysh", "-c", "show running-config no-header"])
        if done.returncode:
            fail(f"{node}: vtysh: {done.stderr or done.stdout}", NEGATIVE)
        file = place / node / "frr.conf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(done.stdout.lstrip("\n"))
        click.echo(str(file))


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on until interrupted; else show what there is and end.")
@click.option("--name", default="", help="Only this lab of namespaces; default: all of them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--for", "seconds", type=float, help="End after so many seconds.")
def events(follow: bool, name: str, as_json: bool, seconds: float | None) -> None:
    """Follow labs of namespaces: nodes started, ready, ended; links up, down, gone."""
    import json
    from dataclasses import asdict

    from lab.netns.observe import LabWatch

    watch = LabWatch(name)
    try:
        for event in watch.follow(seconds if seconds is not None or follow else 0.3):
            facts = {key: value for key, value in asdict(event).items() if value not in ("", 0)}
            words = " ".join(f"{value}" for value in facts.values())
            click.echo(json.dumps(facts) if as_json else words)
    except KeyboardInterrupt:
        raise SystemExit(0) from None
    finally:
        watch.close()


events.callback = ends_well(events.callback) if events.callback else None
