"""The line protocol between the daemon and the relay: one JSON object a line, each the whole truth of its sender.

`declare` (daemon -> relay): the whole desired set, a lease end for every announced prefix.
`state` (relay -> daemon): sent and acknowledged per prefix, sessions per peer, and the last declaration applied.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

from bgp.rib import UNKNOWN, Held, PrefixView
from bgp.route import Address, Prefix, Route, RouteError, from_plain, parse_prefix, to_plain

LINE_MAX: Final = 4 * 1024 * 1024
"""Bytes; 10,000 prefixes need about 1.5 MB."""


class WireError(ValueError):
    """The other side does not speak this protocol; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Declare:
    """`routes` holds (route, end of its lease) or None for withdrawn; `seq` grows by one per declaration.

    Another `generation` than before says that ExaBGP's peers may be others than before.
    """

    seq: int
    routes: Mapping[Prefix, tuple[Route, float] | None]
    generation: int = 0


@dataclass(frozen=True, slots=True)
class PeerView:
    """One BGP session; `since` is CLOCK_MONOTONIC seconds of the last change, `reason` is ExaBGP's for a loss."""

    up: bool
    since: float
    reason: str


@dataclass(frozen=True, slots=True)
class State:
    """What the relay knows. `converged`: all is acknowledged and ExaBGP's loop has turned since.

    A relay leaves `prefixes` out of a line when they are as in its line before.
    """

    seq: int
    converged: bool
    abort: str | None
    prefixes: Mapping[Prefix, PrefixView]
    peers: Mapping[Address, PeerView]


@dataclass(slots=True)
class LineBuffer:
    """Splits a byte stream into lines. Raises WireError when a line outgrows LINE_MAX."""

    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines completed by `data`, without their ends; a half-written line waits for its end."""
        self._rest += data
        lines: list[bytes] = []
        if b"\n" in data:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
        if len(self._rest) > LINE_MAX:
            raise WireError(f"a line has {len(self._rest)} bytes and no end, expected at most {LINE_MAX}")
        return lines


def encode_declare(message: Declare) -> bytes:
    """One line."""
    routes = {
        str(prefix): None if entry is None else {"until": entry[1], **to_plain(entry[0])}
        for prefix, entry in message.routes.items()
    }
    head = {"type": "declare", "seq": message.seq, "generation": message.generation}
    return _line({**head, "routes": routes})


def decode_declare(line: bytes) -> Declare:
    """Raises WireError; a declaration with any fault is refused whole."""
    plain = _object(line, "declare")
    routes = plain.get("routes")
    if not isinstance(routes, dict):
        raise WireError(f"declare: routes are {type(routes).__name__}, expected an object")
    try:
        entries = {parse_prefix(text): _entry(text, e) for text, e in routes.items()}
        return Declare(_integer(plain, "seq"), entries, _integer({"generation": 0, **plain}, "generation"))
    except RouteError as error:
        raise WireError(f"declare: {error}") from None


def _entry(text: str, entry: Any) -> tuple[Route, float] | None:
    if entry is None:
        return None
    if not isinstance(entry, dict):
        raise WireError(f"declare: {text} is {entry!r}, expected an object or null")
    until = _seconds(entry, "until")
    route = from_plain(parse_prefix(text), {k: v for k, v in entry.items() if k != "until"})
    if route.prefix.version == 6 and route.next_hop == "self":
        raise WireError(f"declare: {text}: next_hop is 'self', expected one for each peer")
    return route, until


def encode_state(message: State, repeat: bool = True) -> bytes:
    """One line; without `repeat` the prefixes are said to be as in the line before."""
    prefixes = {
        str(prefix): {
            "desired": _held_plain(view.desired),
            "sent": _held_plain(view.sent),
            "acked": _held_plain(view.acked),
            "refusals": view.refusals,
        }
        for prefix, view in (message.prefixes.items() if repeat else ())
    }
    peers = {str(a): {"up": p.up, "since": p.since, "reason": p.reason} for a, p in message.peers.items()}
    head = {"type": "state", "seq": message.seq, "converged": message.converged, "abort": message.abort}
    return _line({**head, "prefixes": prefixes if repeat else None, "peers": peers})


def decode_state(line: bytes, before: State | None = None) -> State:
    """Read a line; `before` is what the line before it said, if there was one. Raises WireError."""
    plain = _object(line, "state")
    try:
        same = plain["prefixes"] is None and before is not None
        prefixes = before.prefixes if same and before else _views(plain["prefixes"])
        peers = {
            ip_address(text): PeerView(bool(peer["up"]), _seconds(peer, "since"), str(peer["reason"]))
            for text, peer in plain["peers"].items()
        }
        abort = None if plain["abort"] is None else str(plain["abort"])
        return State(_integer(plain, "seq"), bool(plain["converged"]), abort, prefixes, peers)
    except WireError:
        raise
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise WireError(f"state: {error!r}, expected seq, converged, abort, prefixes and peers") from None


def _views(plain: Any) -> dict[Prefix, PrefixView]:
    prefixes = {}
    for text, view in plain.items():
        prefix = parse_prefix(text)
        desired = _held(prefix, view["desired"])
        if desired is UNKNOWN:
            raise WireError(f"state: {text}: desired is unknown, expected a route or null")
        sent, acked = _held(prefix, view["sent"]), _held(prefix, view["acked"])
        prefixes[prefix] = PrefixView(desired, sent, acked, _integer(view, "refusals"))
    return prefixes


def _held_plain(held: Held) -> object:
    if held is UNKNOWN:
        return UNKNOWN.value
    return None if held is None else to_plain(held)


def _held(prefix: Prefix, plain: object) -> Held:
    if plain == UNKNOWN.value:
        return UNKNOWN
    return None if plain is None else from_plain(prefix, plain)


def _line(plain: Mapping[str, object]) -> bytes:
    return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _object(line: bytes, kind: str) -> dict[str, Any]:
    try:
        plain = json.loads(line)
    except (ValueError, RecursionError):
        raise WireError(f"a line of {len(line)} bytes is not JSON, expected a {kind}") from None
    if not isinstance(plain, dict) or plain.get("type") != kind:
        raise WireError(f"a line is not of type {kind}")
    return plain


def _integer(plain: Mapping[str, Any], key: str) -> int:
    value = plain.get(key)
    if type(value) is not int:
        raise WireError(f"{key} is {value!r}, expected an integer")
    return value


def _seconds(plain: Mapping[str, Any], key: str) -> float:
    value = plain.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise WireError(f"{key} is {value!r}, expected seconds")
    return float(value)
