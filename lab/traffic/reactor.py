"""The loop under all traffic of a client: epoll for its sockets, one tick for everything that is due by time.

asyncio would do the same for three times the time of a processor: with ten thousand flows that is what counts.
"""

import select
import time
from collections.abc import Callable
from typing import Protocol

TICK = 0.01  # seconds

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
Handler = Callable[[int], None]  # called with the events; the socket's errors come as whatever it waits for


class Part(Protocol):
    """Something that sends: the traffic of one stream."""

    def tick(self, turn: int, now: float) -> None:
        """What is due at turn `turn` (they count from 0, `TICK` seconds apart)."""

    def ready(self) -> bool:
        """Whether everything that it shall hold open is open and answered."""

    def close(self) -> None:
        """Close every socket and count nothing of that."""


class Reactor:
    """Hands events to those that wait for them. Open sockets in a tick only.

    A descriptor that is closed by one handler and opened again by the next of the same batch would get an event that
    was meant for the one before.
    """

    def __init__(self) -> None:
        self.now = time.monotonic
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}

    def watch(self, fd: int, events: int, handler: Handler) -> None:
        """Call `handler` whenever one of the events is there."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def change(self, fd: int, events: int, handler: Handler) -> None:
        """Wait for other events of a descriptor that is watched."""
        self._epoll.modify(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Watch no more; before the descriptor is closed. Idempotent."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def run(self, tick: Callable[[int, float], bool], late: Callable[[float], None]) -> None:
        """Call `tick` with each turn and the time until it says False; `late` with how late the turns came."""
        start, turn = self.now(), 0
        while True:
            now = self.now()
            late(now - (start + turn * TICK))
            while start + turn * TICK <= now:
                if not tick(turn, now):
                    return
                turn += 1
            self._serve(start + turn * TICK)

    def close(self) -> None:
        """Release the epoll descriptor."""
        self._epoll.close()

    def _serve(self, until: float) -> None:
        """Hand events out until it is time for the next turn, at least once."""
        while True:
            for fd, events in self._epoll.poll(max(0.0, until - self.now()), 256):
                handler = self._handlers.get(fd)
                if handler is not None:
                    handler(events)
            if self.now() >= until:
                return
