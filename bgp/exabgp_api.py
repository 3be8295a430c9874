"""ExaBGP 5.0's text API: commands out, answers and session events in, and a time limit for the answers.

`done` means that ExaBGP parsed the command, not that a peer has it: the UPDATE leaves in a later turn of its loop.
"""

import json
import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Any, Final

from bgp.rib import Change
from bgp.route import Route

BARRIER: Final = b"#\n"
"""A comment: answered at once. Once it is, ExaBGP's loop has turned since the answer before it."""
NEIGHBORS: Final = b"show neighbor json\n"
RESEND: Final = b"flush adj-rib out\n"
"""Send every announced route to the peers again, from ExaBGP's cache."""

_SAFE = re.compile(r"[a-z0-9 ./:\[\]-]+")


class CommandError(ValueError):
    """A command that must not reach ExaBGP."""


def encode(change: Change) -> tuple[bytes, ...]:
    """The command lines for a change, at least one; each is answered. Raises CommandError for what must not be sent.

    A withdrawal repeats the attributes of the last announcement, next hop included: only then does ExaBGP replace
    that announcement if it still waits for a session, instead of sending both.
    """
    verb, route = ("announce", change.route) if change.route is not None else ("withdraw", change.before)
    lines = [f"{to}{verb} route {change.prefix}{hop}{_attributes(route)}" for to, hop in _next_hops(change, route)]
    for line in lines:
        if _SAFE.fullmatch(line) is None:
            raise CommandError(f"command is {line!r}, expected only lower case letters, digits and ' ./:[]-'")
    return tuple(line.encode("ascii") + b"\n" for line in lines)


def _next_hops(change: Change, route: Route | None) -> list[tuple[str, str]]:
    """(whom the command is for, its next hop) as text. `next-hop self` has to be of the session's family: IPv4."""
    if change.prefix.version == 4:
        return [("", " next-hop self")]
    if route is None:
        return [("", "")]  # a withdrawal needs none, and then concerns every peer
    if route.next_hop == "self":
        raise CommandError(f"{change.prefix}: next_hop is 'self', expected one for each peer")
    return [(f"neighbor {peer} ", f" next-hop {hop}") for peer, hop in route.next_hop]


def _attributes(route: Route | None) -> str:
    if route is None:
        return ""
    med = "" if route.med is None else f" med {route.med}"
    return med + (f" community [ {' '.join(route.communities)} ]" if route.communities else "")


@dataclass(frozen=True, slots=True)
class Done:
    """A command was parsed and is in ExaBGP's RIB."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A command was answered with an error."""


@dataclass(frozen=True, slots=True)
class PeerChange:
    """A session came up or went down."""

    address: IPv4Address
    up: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Neighbors:
    """All configured peers: address and whether the session is established."""

    peers: tuple[tuple[IPv4Address, bool], ...]


@dataclass(frozen=True, slots=True)
class Other:
    """Anything that asks for no action."""


Event = Done | Refused | PeerChange | Neighbors | Other


def decode(line: bytes) -> Event:
    """One line from ExaBGP; never raises, as a line that we cannot read must not cost the leases."""
    match line.strip():
        case b"done":
            return Done()
        case b"error":
            return Refused()
    if not line.lstrip().startswith((b"{", b"[")):
        return Other()
    try:
        message = json.loads(line)
        return _neighbors(message) if isinstance(message, list) else _state(message)
    except (ValueError, KeyError, TypeError, AddressValueError, RecursionError):
        return Other()


def _state(message: dict[str, Any]) -> Event:
    neighbor = message["neighbor"] if message["type"] == "state" else None
    if neighbor is None or neighbor["state"] not in ("up", "down"):
        return Other()
    address = IPv4Address(neighbor["address"]["peer"])
    return PeerChange(address, neighbor["state"] == "up", str(neighbor.get("reason", "")))


def _neighbors(message: list[Any]) -> Event:
    # "state" says down while the duration is still 0 s; "fsm" is right.
    return Neighbors(tuple((IPv4Address(peer["peer"]["address"]), peer["fsm"] == "ESTABLISHED") for peer in message))


class AckClock:
    """Counts the answers that ExaBGP owes, and how long it has made no progress. Times are monotonic seconds."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._owed = 0
        self._since = 0.0

    @property
    def owed(self) -> int:
        """Commands without an answer."""
        return self._owed

    def sent(self, commands: int, now: float) -> None:
        """Note commands handed to ExaBGP."""
        if self._owed == 0:
            self._since = now
        self._owed += commands

    def answered(self, now: float) -> bool:
        """Note one answer; False if none was owed."""
        if self._owed == 0:
            return False
        self._owed -= 1
        self._since = now
        return True

    def overdue(self, now: float) -> bool:
        """Whether ExaBGP owes an answer and has given none for the limit."""
        return self._owed > 0 and now - self._since >= self._limit

    def next_deadline(self) -> float | None:
        """When the owed answer is overdue, None if nothing is owed."""
        return self._since + self._limit if self._owed else None
