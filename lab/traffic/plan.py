"""What a client is told to send: streams of the kinds of `lab.traffic.streams` by name, with a JSON form. No I/O.

{"streams": {"web": {"kind": "requests", "source": "198.51.100.11", "url": "http://203.0.113.10/", "rate": 100}}}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any, get_args

from lab.traffic.streams import Bulk, Connections, Datagrams, Quic, Requests, Stream

__all__ = ["KINDS", "Bulk", "Connections", "Datagrams", "Plan", "Quic", "Requests", "Stream", "plan_from_json"]

KINDS: Mapping[str, type[Stream]] = MappingProxyType({kind.kind: kind for kind in get_args(Stream)})


@dataclass(frozen=True, slots=True)
class Plan:
    """All the traffic of one client, by the names of its streams; they may be of both families."""

    streams: Mapping[str, Stream] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; `plan_from_json` reads it back."""
        return {"streams": {name: {"kind": each.kind, **asdict(each)} for name, each in self.streams.items()}}


def plan_from_json(value: object) -> Plan:
    """Read a plan; ValueError names the stream and what is missing, unknown or out of bounds in it."""
    match value:
        case {"streams": dict(streams), **rest} if not rest:
            return Plan({str(name): _stream(str(name), each) for name, each in streams.items()})
    raise ValueError("plan: expected an object with the object 'streams' and nothing else")


def _stream(name: str, value: object) -> Stream:
    if not isinstance(value, dict) or value.get("kind") not in KINDS:
        raise ValueError(f"{name}: expected an object with 'kind', one of {', '.join(KINDS)}")
    kind = KINDS[value["kind"]]
    known = {each.name: each.type for each in fields(kind)}
    given = {key: item for key, item in value.items() if key != "kind"}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{name}: unknown key {unknown[0]!r}, expected some of {sorted(known)}")
    typed = {key: _typed(f"{name}.{key}", known[key], item) for key, item in given.items()}
    try:
        return kind(**typed)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from error


def _typed(name: str, kind: object, given: object) -> Any:
    wanted: dict[object, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float), bool: (bool,)}
    if not isinstance(given, wanted[kind]) or (isinstance(given, bool) and kind is not bool):
        raise ValueError(f"{name}: {given!r} is no {kind.__name__ if isinstance(kind, type) else kind}")
    return given
