"""The decapsulator in the kernel of a backend: brings it to a `DecapState` and reads its counters.

Synchronous, and safe to call from any thread, like `edge.datapath.forwarder`.
"""

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from edge.datapath import abi, counting
from edge.datapath.encode import encode_decap
from edge.datapath.forwarder import OBJECTS
from edge.datapath.model import Counters, DecapState
from edge.datapath.pinned import AUTO, Attachment, Blueprint, PinnedProgram
from edge.datapath.tables import write_directory


class Decapsulator:
    """Owns the program on the interfaces. `close` leaves it working; `detach` takes it away. Errors as `Forwarder`."""

    def __init__(self, pinned: PinnedProgram) -> None:
        self._pinned = pinned
        self._directory = b""
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls, pin_dir: Path, interfaces: Iterable[str], mode: str = AUTO, objects: Path = OBJECTS
    ) -> "Decapsulator":
        """Load the program and attach it, or adopt the links pinned in `pin_dir`; see `Forwarder.open`."""
        blueprint = Blueprint(
            objects / abi.DECAP_OBJECT,
            abi.DECAP_PROGRAM,
            abi.DECAP_MAPS,
            kept=frozenset({abi.TOTALS}),
            shared=frozenset({abi.DIRECTORY}),
        )
        return cls(PinnedProgram(pin_dir, interfaces, mode, blueprint))

    @property
    def attachments(self) -> tuple[Attachment, ...]:
        """How the program sits on each interface."""
        return self._pinned.attachments

    def apply(self, state: DecapState) -> bool:
        """Bring the data path to `state`; a packet meets the former state or this one, whole. False: no change."""
        with self._lock:
            directory = encode_decap(state)
            if directory == self._directory and not self._pinned.staged:
                return False
            live = self._pinned.live
            write_directory(live.maps[abi.DIRECTORY], live.inner[abi.DIRECTORY], directory)
            self._directory = directory
            if self._pinned.staged:
                self._pinned.commit()
            return True

    def counters(self) -> Counters:
        """Read all counters."""
        with self._lock:
            return counting.counters(counting.read_totals(self._pinned.live.maps[abi.TOTALS]))

    def reattach(self) -> tuple[Attachment, ...]:
        """Attach again to interfaces that were deleted and made anew."""
        with self._lock:
            return self._pinned.reattach()

    def detach(self) -> None:
        """Stop and leave nothing behind: no program, no pin. Then closed."""
        with self._lock:
            self._pinned.detach()

    def close(self) -> None:
        """Close the descriptors; the program stays on the interfaces."""
        with self._lock:
            self._pinned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
