"""`fairhop bgp`: sessions with routers, and what each is told and holds of every prefix."""

from typing import Any

import click

from edge.cli.common import NEGATIVE, json_option, print_json, request, socket_option
from edge.cli.table import age, columns, why


@click.group()
def bgp() -> None:
    """Show the announcer: sessions, and prefixes at each peer."""


@bgp.command("status")
@json_option
@socket_option
def bgp_status(as_json: bool, socket_path: str) -> None:
    """Show every peer, down ones too, and every prefix; exit code 1 unless all peers are up and nothing is found.

    ANN/INT/ACC: prefixes announced to the peer, intended, and accepted by it as far as it can be asked.
    """
    facts = request(socket_path, "bgp")
    print_json(facts) if as_json else click.echo("\n".join(_status_lines(facts)))
    if facts["findings"] or not all(peer["up"] for peer in facts["peers"]):
        raise SystemExit(NEGATIVE)


@bgp.command("routes")
@json_option
@socket_option
def bgp_routes(as_json: bool, socket_path: str) -> None:
    """Show each prefix: what is wanted, sent and acknowledged, and which routers accepted it.

    Exit code 1 if anything wanted is not acknowledged yet, or was not accepted by a router that can be asked.
    """
    facts = request(socket_path, "bgp")
    rows = facts["prefixes"]
    print_json(rows) if as_json else click.echo("\n".join(_route_lines(rows)))
    if not all(_arrived(row) for row in rows):
        raise SystemExit(NEGATIVE)


def _arrived(row: dict[str, Any]) -> bool:
    wanted = row["stance"] != "withdrawn"
    answers = [answer for answer in row["accepted"].values() if answer is not None]
    return bool(row["wanted"] == row["sent"] == row["acked"] and all(answer is wanted for answer in answers))


def _status_lines(facts: dict[str, Any]) -> list[str]:
    headings = ("PEER", "ADDRESS", "AS", "STATE", "SINCE", "ANN/INT/ACC", "BFD", "READ-BACK", "REASON")
    lines = [f"announcer: {facts['phase']} ({facts['reason']}), {facts['restarts']} restart(s)", ""]
    lines += columns([headings, *map(_peer_row, facts["peers"])])
    of_prefixes = ("PREFIX", "STANCE", "ACCEPTED", "OTHERS", "ATTRIBUTES", "REASON")
    lines += ["", *columns([of_prefixes, *map(_prefix_row, facts["prefixes"])])]
    for found in facts["findings"]:
        detail = f" ({found['detail']})" if found["detail"] else ""
        lines.append(f"ALERT {found['prefix']} at {found['router']}, {age(found['for'])}: {found['text']}{detail}")
    return lines


def _peer_row(peer: dict[str, Any]) -> tuple[str, ...]:
    accepted = "?" if peer["accepted"] is None else str(peer["accepted"])
    read_back = peer["read_back"]
    asked = "-" if read_back is None else f"{'known' if read_back['known'] else 'unknown'} {age(read_back['since'])}"
    reasons = [peer["reason"], read_back["reason"] if read_back and not read_back["known"] else ""]
    return (
        peer["name"],
        peer["address"],
        str(peer["asn"]),
        peer["state"],
        age(peer["since"]),
        f"{peer['announced']}/{peer['intended']}/{accepted}",
        _bfd(peer["bfd"]),
        asked,
        "; ".join(filter(None, reasons)) or "-",
    )


def _bfd(session: dict[str, Any] | None) -> str:
    if session is None:
        return "-"
    return session["state"] if session["state"] == "up" else f"{session['state']} ({session.get('diag') or '-'})"


def _prefix_row(row: dict[str, Any]) -> tuple[str, ...]:
    others = row["other_announcers"]
    return (
        row["prefix"],
        row["stance"] + ("" if row["acked"] == row["wanted"] else " (asked)"),
        _accepted(row["accepted"]),
        "?" if others is None else str(others["staying"]) + (f"+{others['leaving']}" if others["leaving"] else ""),
        row["wanted"].removeprefix("announced").removeprefix(", ") or "-",
        why(row),
    )


def _accepted(accepted: dict[str, bool | None]) -> str:
    told = [answer for answer in accepted.values() if answer is not None]
    return f"{sum(told)}/{len(told)}" if told else "?"


def _route_lines(rows: list[dict[str, Any]]) -> list[str]:
    routers = list(dict.fromkeys(name for row in rows for name in row["accepted"]))
    table = [("PREFIX", "WANTED", "SENT", "ACKED", *(name.upper() for name in routers))]
    for row in rows:
        answers = (_word(row["accepted"].get(name)) for name in routers)
        table.append((row["prefix"], row["wanted"], row["sent"], row["acked"], *answers))
    return columns(table)


def _word(accepted: bool | None) -> str:
    return "?" if accepted is None else "accepted" if accepted else "no"
