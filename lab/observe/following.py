"""Routers that are started again while they are observed.

On namespaces a node keeps its own network namespace. On containerlab its links move into a new one, and a socket in the
former hears nothing more: whatever observes the node has to go on in the new one.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from lab.runtime import Runtime


class Observing(Protocol):
    """What holds something open in the namespaces of routers."""

    def follow(self, name: str, netns: Path, /) -> None:
        """Go on with a router in another namespace."""


class Following:
    """Keeps `observers` where the routers are; one that is None is left out.

    They hold the namespaces, so that no later one can have the same identity.
    """

    def __init__(self, runtime: Runtime, routers: Iterable[str], observers: Iterable[Observing | None]) -> None:
        self._runtime = runtime
        self._observers = [each for each in observers if each is not None]
        self._places = {name: _identity(runtime.netns(name)) for name in routers}

    def follow(self) -> None:
        """To be called after whatever may have started a router again. Raises LabError."""
        for name, before in self._places.items():
            netns = self._runtime.netns(name)
            if (now := _identity(netns)) != before:
                self._places[name] = now
                for observer in self._observers:
                    observer.follow(name, netns)


def _identity(netns: Path) -> int:
    return netns.stat().st_ino
