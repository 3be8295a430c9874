"""The line protocol from the station to the daemon: one JSON object a line.

`router`: all that one router told, whole, whenever that changed. `alive`: nothing else; a station that has been silent
for `SILENCE` hangs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from bgp.bmp.update import Path
from bgp.bmp.view import Facts, OurRoute
from bgp.digest import LARGEST
from bgp.route import parse_prefix

ALIVE_EVERY: Final = 1.0
"""Seconds."""
SILENCE: Final = 5.0
"""Seconds."""


class StationError(ValueError):
    """The station does not speak this protocol; it is started anew."""


@dataclass(frozen=True, slots=True)
class RouterNews:
    """One router: `facts` None with the `reason` while it tells nothing."""

    name: str
    facts: Facts | None
    reason: str


ALIVE: Final = b'{"type":"alive"}\n'


def encode(news: RouterNews) -> bytes:
    """One line."""
    plain: dict[str, Any] = {"type": "router", "name": news.name, "reason": news.reason, "facts": None}
    if (facts := news.facts) is not None:
        plain["facts"] = {
            "session": facts.session,
            "complete": facts.complete,
            "peers": facts.peers,
            "updates": facts.updates,
            "description": facts.description,
            "ours": {str(p): [_path(held.before), _path(held.after)] for p, held in facts.ours.items()},
            "others": {str(prefix): dict(names) for prefix, names in facts.others.items()},
            "digests": {str(prefix): dict(names) for prefix, names in facts.digests.items()},
            "foreign": {str(prefix): sorted(origins) for prefix, origins in facts.foreign.items()},
        }
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> RouterNews | None:
    """Undo `encode`; None for a sign of life. Raises StationError."""
    try:
        plain = json.loads(line)
        if plain["type"] == "alive":
            return None
        if plain["type"] != "router":
            raise ValueError(f"type is {plain['type']!r}")
        return RouterNews(_text(plain["name"]), _facts(plain["facts"]), _text(plain["reason"]))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StationError(f"a line of {len(line)} bytes: {error!r}, expected type router or alive") from None


def _facts(plain: Any) -> Facts | None:
    if plain is None:
        return None
    session = plain["session"]
    return Facts(
        session=None if session is None else bool(session),
        complete=bool(plain["complete"]),
        ours={parse_prefix(p): OurRoute(_held(pair[0]), _held(pair[1])) for p, pair in plain["ours"].items()},
        others={parse_prefix(p): {_text(n): bool(goes) for n, goes in o.items()} for p, o in plain["others"].items()},
        foreign={parse_prefix(p): frozenset(int(origin) for origin in o) for p, o in plain["foreign"].items()},
        digests={parse_prefix(p): {_text(n): _digest(d) for n, d in o.items()} for p, o in plain["digests"].items()},
        peers=int(plain["peers"]),
        updates=int(plain["updates"]),
        description=_text(plain["description"]),
    )


def _path(path: Path | None) -> Mapping[str, Any] | None:
    if path is None:
        return None
    hop = None if path.next_hop is None else str(path.next_hop)
    return {
        "as_path": path.as_path,
        "next_hop": hop,
        "med": path.med,
        "communities": path.communities,
        "large": path.large_communities,
        "origin": path.origin,
    }


def _held(plain: Any) -> Path | None:
    if plain is None:
        return None
    return Path(
        tuple(int(asn) for asn in plain["as_path"]),
        None if plain["next_hop"] is None else ip_address(plain["next_hop"]),
        None if plain["med"] is None else int(plain["med"]),
        tuple(map(_text, plain["communities"])),
        tuple(map(_text, plain["large"])),
        None if plain["origin"] is None else int(plain["origin"]),
    )


def _digest(value: Any) -> int | None:
    if value is not None and not (type(value) is int and 0 <= value <= LARGEST):
        raise ValueError(f"a digest is {value!r}, expected a number of 32 bits")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r}, expected text")
    return value
