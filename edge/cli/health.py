"""`fairhop health`: every check with its state, since when, and what it saw last."""

from typing import Any

import click

from edge.cli.common import NEGATIVE, json_option, print_json, request, socket_option
from edge.cli.table import age, columns


@click.command()
@json_option
@socket_option
def health(as_json: bool, socket_path: str) -> None:
    """Show every check: state, since, last result, latency, streak; exit code 1 unless all are up."""
    facts = request(socket_path, "health")
    checks = facts["checks"]
    if as_json:
        print_json(facts)
    else:
        headings = ("CHECK", "TYPE", "STATE", "SINCE", "LATENCY", "STREAK", "HELD", "EVERY", "LAST RESULT")
        click.echo("\n".join(columns([headings, *map(_row, checks)])))
        click.echo(f"{facts['well']}/{len(checks)} up")
    if facts["well"] < len(checks):
        raise SystemExit(NEGATIVE)


def _row(check: dict[str, Any]) -> tuple[str, ...]:
    subject = "/".join(filter(None, (check.get("pool"), check["name"])))
    latency, streak, needed = (check[key] for key in ("latency", "streak", "streak_needed"))
    return (
        f"{check['kind']} {subject}",
        check["check"],
        check["state"] + (" drained" if check.get("drained") else ""),
        age(check["since"]),
        "-" if latency is None else f"{latency * 1000:.1f}ms",
        f"{streak}/{needed}" if streak and needed else "-",
        age(check["held_down"]) if check["held_down"] else "-",
        f"{check['every']:g}s",
        check["last"] or "no result yet",
    )
