"""Asks every few milliseconds whether this node still forwards: the kernel tells nobody when a program goes.

A thread of its own, because the event loop may be busy for longer than routers should wait. What it finds is told in
the event loop; and as long as all is well it says so by `beat`, from the thread itself.
"""

import asyncio
import threading
from collections.abc import Callable

from edge.daemon.selfprobe import SelfProbe
from edge.datapath.blocklist import BlockList
from edge.datapath.bpf_error import BpfError
from edge.datapath.model import ForwarderState

INTERVAL = 0.003  # seconds between two beats
LOOKS_EVERY = 80  # beats between two looks that compare a whole packet
_DOUBTS = 2  # looks in a row that must find a fault: tables are swapped under way


class Proof:
    """A forwarder's self-probe, kept in step with the state and the block list that are in force; for any thread."""

    def __init__(self, probe: SelfProbe, blocked: Callable[[], BlockList | None]) -> None:
        self._probe, self._blocked = probe, blocked
        self._lock = threading.Lock()
        self._state: ForwarderState | None = None
        self._asked_with: BlockList | None = None
        self._doubts = 0

    def verify(self, state: ForwarderState) -> str:
        """After a state was installed: why packets do not become what they must, or "". Tens of milliseconds."""
        with self._lock:
            try:
                self._prepare(state)
            except BpfError as error:
                return str(error)
            self._doubts = 0
            return self._probe.look()

    def look(self) -> str:
        """One packet whole; a fault is one when it is found twice in a row."""
        if not self._lock.acquire(blocking=False):  # a state is being verified: that is a look too
            return ""
        try:
            if self._state is not None and self._blocked() is not self._asked_with:
                self._prepare(self._state)
            fault = self._probe.look()
        except BpfError as error:
            fault = str(error)
        finally:
            self._lock.release()
        self._doubts = self._doubts + 1 if fault else 0
        return fault if self._doubts >= _DOUBTS else ""

    def beat(self) -> str:
        """The least that shows a forwarder at work, in some ten microseconds."""
        return self._probe.beat()

    def _prepare(self, state: ForwarderState) -> None:
        blocked = self._blocked()
        self._probe.prepare(state, blocked)
        self._state, self._asked_with = state, blocked


class Sentinel:
    """`on_change(reason)` is called in the event loop: why packets are not taken any more, or "" once they are."""

    def __init__(
        self,
        proof: Proof,
        on_change: Callable[[str], None],
        beat: Callable[[], None],
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        """`begin` is the first thing that the thread does."""
        self._proof, self._on_change, self._beat, self._begin = proof, on_change, beat, begin
        self._loop = asyncio.get_running_loop()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sentinel", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        self._begin()
        told = found = ""
        turn = 0
        while not self._ended.wait(INTERVAL):
            turn += 1
            if turn % LOOKS_EVERY == 0:
                found = self._proof.look()
            reason = self._proof.beat() or found
            if not reason:
                self._beat()
            if reason != told:
                told = reason
                self._loop.call_soon_threadsafe(self._on_change, reason)
