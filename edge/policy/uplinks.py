"""Which routers have fallen silent, so that nothing is sent by way of them while another way is left. No I/O.

A link that is lost in one direction keeps its carrier, its addresses and its static routes. What tells is the router at
its far end: its BFD session in milliseconds, its BGP session in the hold time. A router counts as silent once a
session that was up is up no more. When all are silent none is: then the fault is our own, or there is no better way.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heard:
    """Whether the sessions with one router are up; `bfd` is None where there is none."""

    bgp: bool
    bfd: bool | None = None


class Uplinks:
    """The routers of one node, by name."""

    def __init__(self) -> None:
        self._bgp: set[str] = set()
        self._bfd: set[str] = set()

    def silent(self, heard: Mapping[str, Heard]) -> frozenset[str]:
        """Those to be left out now, given all that there are."""
        self._bgp = {name for name in heard if heard[name].bgp or name in self._bgp}
        self._bfd = {name for name, each in heard.items() if each.bfd or (each.bfd is not None and name in self._bfd)}
        lost = {name for name, each in heard.items() if self._was(name, each)}
        return frozenset(lost) if len(lost) < len(heard) else frozenset()

    def _was(self, name: str, now: Heard) -> bool:
        return (name in self._bgp and not now.bgp) or (name in self._bfd and not now.bfd)
