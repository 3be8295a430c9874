"""`fairhop events`: every transition of this node, old -> new, with its reason and what was seen."""

import json
from collections.abc import Callable
from typing import Any

import click

from edge.cli.common import UNREACHABLE, fail, json_option, request, socket_option
from edge.control.ask import RefusedError, UnreachableError, follow


@click.command()
@click.option("-f", "--follow", "following", is_flag=True, help="Go on with what happens from now on, until ^C.")
@click.option("--since", type=click.IntRange(min=0), metavar="N", help="Only events numbered above N; 0 is all kept.")
@json_option
@socket_option
def events(following: bool, since: int | None, as_json: bool, socket_path: str) -> None:
    """Show the transitions that the daemon remembers (the last 1,000), or follow them as they happen.

    With --json, one object a line: number, at (wall clock), monotonic (seconds), subject, old, new, reason, evidence.
    A reader that is too slow is told {"missed": N} in their place. Exit code 3 when the daemon ends.
    """
    show = _as_json if as_json else _as_text
    if not following:
        answer = request(socket_path, "events", since=since)
        if lost := answer["log_lines_lost"]:
            click.echo(f"fairhop: the daemon's log lost {lost} line(s), because nobody read it", err=True)
        for row in ([{"missed": answer["missed"]}] if answer["missed"] else []) + answer["events"]:
            show(row)
        return
    try:
        _follow(socket_path, since, show)
    except KeyboardInterrupt:
        return
    except UnreachableError as error:
        fail(str(error), UNREACHABLE)
    except RefusedError as refused:
        fail(str(refused), refused.code)


def _follow(socket_path: str, since: int | None, show: Callable[[dict[str, Any]], None]) -> None:
    rows = follow(socket_path, "events", follow=True, since=since)
    newest = next(rows)["number"]
    if since is not None and since > newest:
        click.echo(
            f"fairhop: the daemon was restarted: its events are numbered from 1, the newest is {newest}", err=True
        )
    for row in rows:
        show(row)


def _as_json(row: dict[str, Any]) -> None:
    click.echo(json.dumps(row, separators=(",", ":")))


def _as_text(row: dict[str, Any]) -> None:
    if "missed" in row:
        click.echo(f"fairhop: {row['missed']} event(s) are no longer kept", err=True)
        return
    seen = "".join(f" {key}={value}" for key, value in row["evidence"].items())
    click.echo(f"{row['number']} {row['at']} {row['subject']}: {row['old']} -> {row['new']}, {row['reason']}{seen}")
