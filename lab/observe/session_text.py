"""BGP sessions as FRR, BIRD and GoBGP tell of them, and what happened between two tellings. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UP = "established"
_GOBGP_STATES = ("unknown", "idle", "connect", "active", "opensent", "openconfirm", UP)


@dataclass(frozen=True, slots=True)
class Session:
    """One session. `state` in lower case, "established" when it is up. `drops`: how often it went down so far.

    BIRD does not count: its `drops` is None, and `since`, when it came into its state, tells of a drop instead.
    """

    state: str
    drops: int | None = None
    since: str = ""

    @property
    def up(self) -> bool:
        """Whether routes are exchanged."""
        return self.state == UP


Sessions = Mapping[str, Session]  # by the peer's address; for BIRD by the protocol's name


def read_sessions(program: str, text: str) -> dict[str, Session]:
    """The sessions in what "frr", "bird" or "gobgp" printed. Raises ValueError for anything else."""
    try:
        return {"frr": _frr, "bird": _bird, "gobgp": _gobgp}[program](text)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{program}: no list of sessions: {error!r}") from error


def drops(before: Sessions, after: Sessions) -> int:
    """How many times a session went down between two readings. A peer that is gone went down if it was up."""
    return sum(_dropped(session, after.get(peer)) for peer, session in before.items())


def _dropped(before: Session, after: Session | None) -> int:
    if after is None:
        return int(before.up)
    if before.drops is None or after.drops is None:
        return int(before.up and (not after.up or after.since != before.since))
    if after.drops < before.drops:  # the program was started anew and counts from 0
        return int(before.up) + after.drops
    return after.drops - before.drops


def _frr(text: str) -> dict[str, Session]:
    """`vtysh -c "show bgp summary json"`: one object per address family, with the same session in each."""
    found = {}
    for family in json.loads(text or "{}").values():
        for address, peer in family.get("peers", {}).items():
            found[address] = Session(str(peer["state"]).lower(), int(peer["connectionsDropped"]))
    return found


def _bird(text: str) -> dict[str, Session]:
    """`birdc show protocols`: name, BGP, table, state, since, info; the info of a session that is up is Established."""
    found = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and words[1] == "BGP":
            info = [word for word in words[5:] if word[0].isalpha()]
            # The time is one word or two, as `timeformat protocol` says; the info begins at the first that is none.
            found[words[0]] = Session(
                info[0].lower() if info else words[3], None, " ".join(words[4 : len(words) - len(info)])
            )
    return found


def _gobgp(text: str) -> dict[str, Session]:
    """`gobgp neighbor -j`: a list of peers with a numbered or named state, and `flops`, which are its drops."""
    found = {}
    for peer in json.loads(text or "[]"):
        state: dict[str, Any] = peer["state"]
        number = state.get("session_state", 0)
        name = _GOBGP_STATES[number] if isinstance(number, int) else str(number).lower()
        found[str(state["neighbor_address"])] = Session(name, int(state.get("flops", 0)))
    return found
