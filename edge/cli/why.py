"""`fairhop why`: where a flow goes, by the real program and by Python."""

from pathlib import Path
from typing import Any

import click

from edge.cli.common import NEGATIVE, USAGE, fail, json_option, print_json, request, socket_option
from edge.cli.config_file import read_node
from edge.config.file import Config
from edge.datapath.blocklist import BlockList
from edge.datapath.bpf_error import BpfError
from edge.datapath.loading import LoadedForwarder
from edge.show import offline
from edge.show.why import FiveTuple, FlowError, parse_flow, path


@click.command()
@click.argument("source", metavar="SRC:PORT")
@click.argument("destination", metavar="VIP:PORT/PROTO")
@click.option(
    "--config", "config", type=click.Path(dir_okay=False, exists=True, path_type=Path), help="Answer offline."
)
@json_option
@socket_option
def why(source: str, destination: str, config: Path | None, as_json: bool, socket_path: str) -> None:
    """Say which backend the flow from SRC:PORT to VIP:PORT/PROTO reaches, and why.

    Asks the running daemon, which runs the loaded program on such a packet and holds the answer against the Python
    oracle; exit code 1 if they differ. With --config, answers from the file alone, every backend taken as healthy and
    reachable: by the program, loaded for this question, and by the oracle. Without privilege the oracle answers alone.
    """
    try:
        flow = parse_flow(source, destination)
    except FlowError as error:
        fail(str(error), USAGE)
    if config:
        answer = _offline(*read_node(config), flow)
    else:
        answer = request(socket_path, "why", source=source, destination=destination)
    print_json(answer) if as_json else click.echo(_sentence(answer))
    if answer["agree"] is False:
        fail("the loaded program and the oracle differ: please report this flow", NEGATIVE)


def _offline(config: Config, blocked: BlockList | None, flow: FiveTuple) -> dict[str, Any]:
    question = offline.ask(config, blocked, flow)
    try:
        with LoadedForwarder(question.state, offline.INTERFACES, blocked) as loaded:
            trace = loaded.run(question.packet)
    except BpfError as error:
        return question.answer(unasked=str(error))
    return question.answer(path(trace.verdict.name.lower(), trace.reason.label, trace.frame, trace.notes))


def _sentence(answer: dict[str, Any]) -> str:
    oracle = answer["oracle"]
    if oracle["encap"] == "local":
        where = f"slot {answer['slot']} -> backend {answer['backend']} on this host"
    elif oracle["address"] is None:
        where = f"{oracle['verdict']}: {oracle['reason']}"
    else:
        backend = f"backend {answer['backend']} ({oracle['address']})"
        where = f"slot {answer['slot']} -> {backend} in {oracle['encap']}"
    alone = "by the oracle alone" + (f": {answer['unasked']}" if answer.get("unasked") else "")
    by = {True: "program and oracle agree", False: f"THE PROGRAM SAYS {answer['program']}", None: alone}
    return f"{answer['flow']}: {where} ({by[answer['agree']]})"
