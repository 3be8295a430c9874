"""Looks every few milliseconds whether the program is still on its interfaces: the kernel tells nobody when it goes.

A thread of its own, because the event loop may be busy for longer than routers should wait. What it finds is told in
the event loop; and as long as all is well it says so by `beat`, from the thread itself.
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

from edge.datapath.bpf_error import BpfError

INTERVAL = 0.005  # seconds


class Watched(Protocol):
    """What is looked at: the forwarder."""

    def lost(self) -> tuple[str, ...]:
        """The interfaces that the program has been taken off. Raises BpfError."""


class Sentinel:
    """`on_change(reason)` is called in the event loop: why packets are not taken any more, or "" once they are."""

    def __init__(self, watched: Watched, on_change: Callable[[str], None], beat: Callable[[], None]) -> None:
        self._watched, self._on_change, self._beat = watched, on_change, beat
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sentinel", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        told = ""
        while not self._ended.wait(INTERVAL):
            reason = self._look()
            if not reason:
                self._beat()
            if reason != told:
                told = reason
                self._loop.call_soon_threadsafe(self._on_change, reason)

    def _look(self) -> str:
        try:
            lost = self._watched.lost()
        except BpfError as error:
            return str(error)
        return f"the program was taken off {', '.join(lost)}" if lost else ""
