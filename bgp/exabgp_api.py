"""ExaBGP 5.0's text API: commands out, answers and session events in, and a time limit for the answers.

`done` means that ExaBGP parsed the command, not that a peer has it: the UPDATE leaves in a later turn of its loop.
"""

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from bgp.attributes import Said
from bgp.rib import Change
from bgp.route import Address

BARRIER: Final = b"#\n"
"""A comment: answered at once. Once it is, ExaBGP's loop has turned since the answer before it."""
NEIGHBORS: Final = b"show neighbor json\n"
RESEND: Final = b"flush adj-rib out\n"
"""Send every announced route to the peers again, from ExaBGP's cache."""

SHARED_FROM: Final = 5
"""Changes alike from which they share a command."""

_SAFE = re.compile(r"[a-z0-9 ./:\[\]-]+")


class CommandError(ValueError):
    """A command that must not reach ExaBGP."""


@dataclass(frozen=True, slots=True)
class Command:
    """Lines for ExaBGP, each of which it answers, and how many changes they carry out, all of them or none."""

    lines: tuple[bytes, ...]
    changes: int


def encode_batch(batch: Sequence[Change]) -> list[Command]:
    """The commands for a batch in its order. Raises CommandError for what must not be sent.

    Changes that say the same of their prefixes share a command, which ExaBGP takes several times as fast as one for
    each; a change that was refused before stands alone, so that it costs no other.
    """
    commands: list[Command] = []
    for _, run in itertools.groupby(batch, key=_shareable):
        changes = list(run)
        if len(changes) >= SHARED_FROM and not changes[0].alone:
            prefixes = " ".join(str(change.prefix) for change in changes)
            commands.append(Command(_lines(changes[0], f"attributes{{}} nlri {prefixes}"), len(changes)))
        else:
            commands += [Command(encode(change), 1) for change in changes]
    return commands


def _shareable(change: Change) -> object:
    """Equal for changes that may share a command; a withdrawal without a next hop cannot."""
    if change.alone or (change.route is None and change.before is None and change.prefix.version == 6):
        return change.prefix
    return change.prefix.version, change.route is None, _addressed(change)


def encode(change: Change) -> tuple[bytes, ...]:
    """The command lines for one change, at least one; each is answered. Raises CommandError for what must not be sent.

    A withdrawal repeats the attributes of the last announcement, next hop included: only then does ExaBGP replace
    that announcement if it still waits for a session, instead of sending both.
    """
    return _lines(change, f"route {change.prefix}{{}}")


def _lines(change: Change, form: str) -> tuple[bytes, ...]:
    verb = "announce" if change.route is not None else "withdraw"
    lines = [f"{to}{verb} {form.format(rest)}" for to, rest in _addressed(change)]
    for line in lines:
        if _SAFE.fullmatch(line) is None:
            raise CommandError(f"command is {line!r}, expected only lower case letters, digits and ' ./:[]-'")
    return tuple(line.encode("ascii") + b"\n" for line in lines)


def names_peers(change: Change) -> bool:
    """Whether the commands for a change each name a peer, which may be gone from ExaBGP's configuration."""
    route = change.route if change.route is not None else change.before
    return route is not None and route.next_hop != "self"


def end_of_rib(peers: Iterable[Address], versions: Iterable[int]) -> tuple[bytes, ...]:
    """The command lines that tell each peer that it has heard everything (RFC 4724 2), for each IP version."""
    families = sorted(versions)
    return tuple(f"neighbor {peer} announce eor ipv{v} unicast\n".encode("ascii") for peer in peers for v in families)


def _addressed(change: Change) -> list[tuple[str, str]]:
    """(whom a command is for, what it says behind the prefix): one for all peers, or one for each peer."""
    route = change.route if change.route is not None else change.before
    if route is None:  # a withdrawal from every peer; an IPv6 one needs no next hop
        return [("", " next-hop self" if change.prefix.version == 4 else "")]
    if route.next_hop != "self":
        return [(f"neighbor {peer} ", f" next-hop {hop}{_said(route.told(peer))}") for peer, hop in route.next_hop]
    if change.prefix.version == 6 or route.overrides:
        raise CommandError(f"{change.prefix}: next_hop is 'self', expected one for each peer")
    return [("", f" next-hop self{_said(route)}")]


def _said(attributes: Said) -> str:
    med = "" if attributes.med is None else f" med {attributes.med}"
    lists = (
        ("as-path", attributes.as_path),
        ("community", attributes.communities),
        ("large-community", attributes.large_communities),
        ("extended-community", attributes.extended_communities),
    )
    return med + "".join(f" {word} [ {' '.join(map(str, values))} ]" for word, values in lists if values)


@dataclass(frozen=True, slots=True)
class Done:
    """A command was parsed and is in ExaBGP's RIB."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A command was answered with an error."""


@dataclass(frozen=True, slots=True)
class PeerChange:
    """A session came up or went down."""

    address: Address
    up: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Neighbors:
    """All configured peers: address and whether the session is established."""

    peers: tuple[tuple[Address, bool], ...]


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
    except (ValueError, KeyError, TypeError, RecursionError):
        return Other()


def _state(message: dict[str, Any]) -> Event:
    neighbor = message["neighbor"] if message["type"] == "state" else None
    if neighbor is None or neighbor["state"] not in ("up", "down"):
        return Other()
    address = ip_address(neighbor["address"]["peer"])
    return PeerChange(address, neighbor["state"] == "up", str(neighbor.get("reason", "")))


def _neighbors(message: list[Any]) -> Event:
    # "state" says down while the duration is still 0 s; "fsm" is right.
    return Neighbors(tuple((ip_address(peer["peer"]["address"]), peer["fsm"] == "ESTABLISHED") for peer in message))


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
