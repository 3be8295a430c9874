"""BGP sessions for the live page, from what routers and edges say of themselves. Values in, values out; no I/O."""

from collections.abc import Mapping
from typing import Any

from lab.observe.session_text import read_sessions
from lab.view.model import Session


def of_router(program: str, text: str) -> list[Session]:
    """The sessions in what a router's "frr", "bird" or "gobgp" printed. Raises ValueError."""
    found = read_sessions(program, text)
    return [Session(peer, each.state, each.up, each.prefixes, each.age) for peer, each in found.items()]


def of_edge(facts: Mapping[str, Any]) -> list[Session]:
    """The sessions in the facts that `fairhop bgp status --json` prints."""
    return [
        Session(str(peer["address"]), str(peer["state"]), bool(peer["up"]), peer.get("announced"), peer.get("since"))
        for peer in facts.get("peers", ())
    ]
