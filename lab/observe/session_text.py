"""BGP sessions as FRR, BIRD and GoBGP tell of them, and what happened between two tellings. No I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UP = "Established"
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "frr": ("vtysh", "-c", "show bgp summary json"),
    "bird": ("birdc", "show", "protocols", "all"),
    "gobgp": ("gobgp", "neighbor", "-j"),
}
"""What each program is asked with."""
_SAME = 0.05  # seconds
_ROUNDING = 1.5  # seconds; FRR counts whole ones
_GOBGP_STATES = ("Unknown", "Idle", "Connect", "Active", "OpenSent", "OpenConfirm", UP)


@dataclass(frozen=True, slots=True)
class Session:
    """One session. `state` as RFC 4271 names it. `drops`: how often it went down so far.

    BIRD does not count: its `drops` is None, and `since`, when it came into its state, tells of a drop instead.
    `prefixes`: how many the peer's routes are, of all families. `age`: seconds in its state, where that is told.
    """

    state: str
    drops: int | None = None
    since: str = ""
    prefixes: int = field(default=0, compare=False)
    age: float | None = field(default=None, compare=False)

    @property
    def up(self) -> bool:
        """Whether routes are exchanged."""
        return self.state == UP


Sessions = Mapping[str, Session]  # by the peer's address


def read_sessions(program: str, text: str) -> dict[str, Session]:
    """The sessions in what "frr", "bird" or "gobgp" printed. Raises ValueError for anything else."""
    try:
        return {"frr": _frr, "bird": _bird, "gobgp": _gobgp}[program](text)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"{program}: its sessions cannot be read: {error!r}") from error


def drops(before: Sessions, after: Sessions, between: float) -> int:
    """How many times a session went down from one reading to another; a peer that is gone went down if it was up.

    `between`: the seconds from the answers to the one to the questions for the other, so at least how much older it is.
    """
    return sum(_dropped(session, after.get(peer), between) for peer, session in before.items())


def _dropped(before: Session, after: Session | None, between: float) -> int:
    if after is None:
        return int(before.up)
    if before.drops is None or after.drops is None:
        return int(before.up and (not after.up or _differ(before.since, after.since)))
    if after.drops < before.drops or (after.drops == before.drops and _is_another(before, after, between)):
        return int(before.up) + after.drops  # the program was started anew and counts from 0
    return after.drops - before.drops


def _is_another(before: Session, after: Session, between: float) -> bool:
    """Whether a session that was up is no longer the same one: down, or younger than it would be."""
    aged = None not in (before.age, after.age) and (after.age or 0.0) < (before.age or 0.0) + between - _ROUNDING
    return before.up and (not after.up or aged)


def _differ(before: str, after: str) -> bool:
    """Whether two of BIRD's times are two moments: it works each out anew from the age, and is a millisecond off."""
    if before == after:
        return False
    *days, one = before.split()
    *other_days, other = after.split()
    apart = abs(_seconds(one) - _seconds(other))
    return days != other_days or apart > _SAME


def _seconds(clock: str) -> float:
    hours, minutes, seconds = clock.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def _frr(text: str) -> dict[str, Session]:
    """One object per address family, with the same session in each and its own prefixes."""
    found: dict[str, Session] = {}
    for family in json.loads(text or "{}").values():
        for address, peer in (family.get("peers") or {}).items():
            before = found[address].prefixes if address in found else 0
            found[address] = Session(
                str(peer["state"]),
                int(peer["connectionsDropped"]),
                prefixes=before + int(peer.get("pfxRcd", 0)),
                age=peer.get("peerUptimeMsec", 0) / 1000,
            )
    return found


def _bird(text: str) -> dict[str, Session]:
    """A line for each protocol (name, BGP, table, state, since, info), then its details and channels, indented."""
    found: dict[str, Session] = {}
    details: dict[str, str] = {}
    imported: list[int] = []  # by each channel of the protocol
    since = ""
    for line in [*text.splitlines(), "end"]:
        if line[:1].isspace() or not line:
            key, _, value = line.strip().partition(":")
            if key == "Routes":
                imported.append(int(value.split()[0]))
            details.setdefault(key, value.strip())
            continue
        if since and "Neighbor address" in details:
            state = details.get("BGP state", "Unknown")
            found[details["Neighbor address"]] = Session(state, None, since, sum(imported))
        words = line.split()
        # The time is one word or two, as `timeformat protocol` says; the info begins at the first that is none.
        moment = [word for word in words[4:6] if word[0].isdigit()]
        since = " ".join(moment) if len(words) > 1 and words[1] == "BGP" else ""
        details, imported = {}, []
    return found


def _gobgp(text: str) -> dict[str, Session]:
    """A list of peers with a numbered or named state, and `flops`, which are its drops."""
    found = {}
    for peer in json.loads(text or "[]") or []:
        state: dict[str, Any] = peer["state"]
        told = state.get("session_state", 0)
        name = _GOBGP_STATES[told] if isinstance(told, int) else str(told).removeprefix("SESSION_STATE_").capitalize()
        address = state.get("neighbor_address") or peer["conf"]["neighbor_address"]
        accepted = [family.get("state", {}).get("accepted", 0) for family in peer.get("afi_safis") or ()]
        found[str(address)] = Session(name, int(state.get("flops", 0)), prefixes=sum(accepted))
    return found
