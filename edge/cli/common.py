"""What the commands share: exit codes, options, and how facts and errors reach people."""

import json
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from edge.control.ask import DEFAULT_SOCKET, Answer, RefusedError, UnreachableError, ask

NEGATIVE, USAGE, UNREACHABLE, TIMED_OUT, REFUSED, PERMISSION, CONFIG = 1, 2, 3, 4, 5, 77, 78

F = TypeVar("F", bound=Callable[..., Any])


def socket_option(command: F) -> F:
    """`--socket`, where the daemon answers."""
    return click.option(
        "--socket", "socket_path", default=DEFAULT_SOCKET, envvar="FAIRHOP_SOCKET", show_default=True, metavar="PATH",
        help="The daemon's control socket.",
    )(command)  # fmt: skip


def json_option(command: F) -> F:
    """`--json`, the same facts for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")(command)


def fail(message: str, code: int) -> NoReturn:
    """End with a message on stderr and an exit code."""
    click.echo(f"fairhop: {message}", err=True)
    sys.exit(code)


def request(socket_path: str, verb: str, **arguments: Any) -> Answer:
    """Ask the daemon; ends the command with the right exit code where it does not answer or refuses."""
    try:
        return ask(socket_path, verb, **arguments)
    except UnreachableError as error:
        fail(str(error), UNREACHABLE)
    except RefusedError as refused:
        fail(str(refused), refused.code)


def print_json(facts: Any) -> None:
    """Print facts as JSON on stdout."""
    click.echo(json.dumps(facts, indent=2))
