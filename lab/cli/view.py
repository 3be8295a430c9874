"""`fairhop lab view`: the live page of a running lab."""

import time
from ipaddress import ip_address
from pathlib import Path

import click

from edge.cli.common import USAGE, fail
from lab.cli.common import lab_options, load_topology, tell
from lab.runtimes.files import runtime_for


@click.command()
@click.option("--port", default=8600, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--listen", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="Who reaches this address may look, and change nothing.")  # fmt: skip
@lab_options
def view(path: Path | None, runtime_name: str, port: int, listen: str) -> None:
    """Serve a page that shows the running lab: nodes, link rates, BGP sessions, faults and route changes, each second.

    Ends with ctrl-C; the lab goes on.
    """
    from lab import planning
    from lab.report import assets
    from lab.view.page import render
    from lab.view.server import Board, Server
    from lab.view.source import Source

    try:
        ip_address(listen)
    except ValueError:
        fail(f"--listen {listen}: expected an IP address such as 127.0.0.1", USAGE)
    topology = load_topology(path)
    try:
        plan = planning.plan(topology)
    except planning.PlanError:
        plan = None  # a lab without our labels: it has no routes that we know of
        tell("route changes are not shown: the topology has not all the labels that say which routes there are")
    sheet = assets.shared_sheet() + assets.text("lab.view", "view.css")
    document = render(topology, runtime_name, sheet, assets.text("lab.view", "view.js"))
    board = Board()
    runtime = runtime_for(runtime_name, topology)
    with Server(listen, port, document, board) as server, Source(runtime, topology, plan, board):
        server.start()
        tell(f"{topology.name}: {server.url} (ctrl-C ends)")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            tell("")
