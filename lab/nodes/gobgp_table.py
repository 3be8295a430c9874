"""From GoBGP's table to the kernel's routes (core: no I/O).

`gobgp global rib -j` lists the paths of each prefix with their attributes. Those that are equal to the best in all that
comes before router ids are used together, as GoBGP's own multipath does: local preference, length of the AS path,
origin and MED.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

Hops = tuple[str, ...]
Routes = Mapping[str, Hops]
"""Prefix -> next hops, sorted, at least one."""

_ORIGIN, _AS_PATH, _NEXT_HOP, _MED, _LOCAL_PREF, _MP_REACH = 1, 2, 3, 4, 5, 14
_DEFAULT_PREF: Final = 100
_OWN = {"0.0.0.0", "::"}
_PROTOCOL: Final = "bgp"  # what the kernel shows as the origin of these routes
_METRIC: Final = 20


def routes(text: str, paths: int) -> Routes:
    """What the table says, at most `paths` next hops each, own networks left out. Raises ValueError if unreadable."""
    found = {}
    for prefix, known in json.loads(text or "{}").items():
        usable = [(_rank(attributes), hop) for attributes, hop in map(_read, known) if hop]
        hops = {hop for rank, hop in usable if rank == min(rank for rank, _ in usable)}
        if hops and not hops & _OWN:
            found[prefix] = tuple(sorted(hops))[:paths]
    return found


def _read(path: Mapping[str, Any]) -> tuple[Mapping[int, Mapping[str, Any]], str]:
    attributes = {int(one["type"]): one for one in path["attrs"]}
    reached = attributes.get(_MP_REACH) or attributes.get(_NEXT_HOP) or {}
    return attributes, str(reached.get("nexthop", ""))


def _rank(attributes: Mapping[int, Mapping[str, Any]]) -> tuple[int, int, int, int]:
    """Smaller is better."""
    segments = attributes.get(_AS_PATH, {}).get("as_paths") or []
    preference = int(attributes.get(_LOCAL_PREF, {}).get("value", _DEFAULT_PREF))
    length = sum(int(segment["num"]) for segment in segments)
    origin, med = (int(attributes.get(kind, {}).get("value", 0)) for kind in (_ORIGIN, _MED))
    return -preference, length, origin, med


def changes(installed: Routes, wanted: Routes) -> Iterator[str]:
    """Lines for `ip -batch -` that make the kernel's routes as wanted; what is new comes before what goes."""
    for prefix, hops in wanted.items():
        if installed.get(prefix) != hops:
            ways = "".join(f" nexthop via {hop}" for hop in hops)
            yield f"route replace {prefix} proto {_PROTOCOL} metric {_METRIC}{ways}"
    for prefix in installed:
        if prefix not in wanted:
            yield f"route del {prefix} proto {_PROTOCOL} metric {_METRIC}"
