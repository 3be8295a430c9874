"""The command `fairhop`: a table of verbs, each loaded only when it is called, so that help answers at once."""

import gc
import importlib
import sys
from typing import NamedTuple

import click


class _Verb(NamedTuple):
    target: str
    help: str


_VERBS = {
    "run": _Verb("edge.cli.run:run", "Run an edge node: check backends, forward, announce."),
    "check": _Verb("edge.cli.check:check", "Check a configuration file; every error with its place."),
    "status": _Verb("edge.cli.status:status", "Show what this node serves, announces and forwards."),
    "health": _Verb("edge.cli.health:health", "Show every check: state, since, last result, latency."),
    "bgp": _Verb("edge.cli.bgp:bgp", "Show sessions with routers, and what they are told and accepted."),
    "events": _Verb("edge.cli.events:events", "Show every transition with its reason, or follow them."),
    "why": _Verb("edge.cli.why:why", "Say where a flow goes, by the program and by Python."),
    "capture": _Verb("edge.cli.capture:capture", "Show packets with verdict, reason and backend; write pcapng."),
    "drain": _Verb("edge.cli.drain:drain", "Take this node, a VIP or a backend out of service."),
    "undrain": _Verb("edge.cli.drain:undrain", "Bring this node, a VIP or a backend back."),
    "blackhole": _Verb("edge.cli.drain:blackhole", "Ask the routers to drop all packets to one VIP."),
    "unblackhole": _Verb("edge.cli.drain:unblackhole", "Announce a blackholed VIP as before."),
    "reload": _Verb("edge.cli.reload:reload", "Read the configuration file again; a bad one changes nothing."),
    "rollback": _Verb("edge.cli.reload:rollback", "Follow the configuration from before the last reload."),
    "router-config": _Verb("edge.cli.router_config:router_config", "Write what the routers of these edges should run."),
    "forwarder": _Verb("edge.cli.forwarder:forwarder", "Load the forwarder from a file, attached to nothing."),
    "backend": _Verb("edge.cli.backend:backend", "Run a backend: decapsulate, hold the VIPs, answer the echo service."),
    "lab": _Verb("lab.cli.commands:lab", "Run a multi-site lab: up, down, status, exec, test, demo, bench."),
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _VERBS:
            return None
        module, _, attribute = _VERBS[cmd_name].target.partition(":")
        gc.disable()  # what is imported stays: looking through it again and again takes a tenth of the start
        command = getattr(importlib.import_module(module), attribute)
        gc.freeze()
        gc.enable()
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, verb.help) for name, verb in _VERBS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fairhop", prog_name="fairhop")
def cli() -> None:
    """An anycast edge: ExaBGP announces the VIP, XDP spreads its packets with Maglev, and a drain breaks nothing.

    Exit codes: 0 ok, 1 negative result, 2 usage, 3 unreachable, 4 wait timed out, 5 refused by a guard,
    77 permission, 78 configuration.
    """


def main() -> None:
    """Entry point of the command `fairhop`."""
    sys.exit(cli())
