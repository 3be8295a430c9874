"""BGP sessions from what routers and edges say of themselves, whoever they are. Text in, values out; no I/O.

An answer that cannot be read raises ValueError, in words.
"""

import json
from collections.abc import Mapping
from typing import Any

from lab.view.model import Session

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "frr": ("vtysh", "-c", "show bgp summary json"),
    "bird": ("birdc", "show", "protocols", "all"),
    "gobgp": ("gobgp", "-j", "neighbor"),
}
_GOBGP_STATES = ("Unknown", "Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established")


def read(router: str, text: str) -> list[Session]:
    """The sessions in a router's answer to its command of `COMMANDS`."""
    try:
        return {"frr": _frr, "bird": _bird, "gobgp": _gobgp}[router](text)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"{router}: its sessions cannot be read: {error!r}") from error


def of_edge(facts: Mapping[str, Any]) -> list[Session]:
    """The sessions in the facts that `fairhop bgp status --json` prints."""
    return [
        Session(str(peer["address"]), str(peer["state"]), bool(peer["up"]), peer.get("announced"), peer.get("since"))
        for peer in facts.get("peers", ())
    ]


def _frr(text: str) -> list[Session]:
    """One entry for each peer, though a peer of both families is told twice: its prefixes are added."""
    found: dict[str, Session] = {}
    for family in json.loads(text or "{}").values():
        for address, peer in (family.get("peers") or {}).items():
            before = found.get(address)
            prefixes = int(peer.get("pfxRcd", 0)) + (before.prefixes or 0 if before else 0)
            age = peer.get("peerUptimeMsec", 0) / 1000
            state = str(peer["state"])
            found[address] = Session(address, state, state == "Established", prefixes, age)
    return list(found.values())


def _bird(text: str) -> list[Session]:
    """`show protocols all` of BIRD 2: a line for the protocol, then its details and channels, indented."""
    sessions: list[Session] = []
    details: dict[str, str] = {}
    imported: list[int] = []  # by each channel of the protocol
    bgp = False
    for line in [*text.splitlines(), "end end"]:
        if line[:1].isspace() or not line:
            key, _, value = line.strip().partition(":")
            if key == "Routes":
                imported.append(int(value.split()[0]))
            details.setdefault(key, value.strip())
            continue
        if bgp and "Neighbor address" in details:
            state = details.get("BGP state", "Unknown")
            sessions.append(Session(details["Neighbor address"], state, state == "Established", sum(imported)))
        words = line.split()
        bgp, details, imported = len(words) > 1 and words[1] == "BGP", {}, []
    return sessions


def _gobgp(text: str) -> list[Session]:
    sessions = []
    for peer in json.loads(text or "[]") or []:
        told = peer["state"].get("session_state", 0)
        state = _GOBGP_STATES[told] if isinstance(told, int) else str(told).removeprefix("SESSION_STATE_").capitalize()
        address = peer["state"].get("neighbor_address") or peer["conf"]["neighbor_address"]
        accepted = [family.get("state", {}).get("accepted", 0) for family in peer.get("afi_safis") or ()]
        sessions.append(Session(str(address), state, state == "Established", sum(accepted)))
    return sessions
