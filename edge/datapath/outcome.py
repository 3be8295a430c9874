"""What an oracle answers, and how an examination ends early (core: no I/O)."""

from dataclasses import dataclass, field

from edge.datapath.abi import Note, Reason, Verdict
from edge.datapath.hashing import FlowKey


class DroppedError(Exception):
    """Ends the examination of a packet: it is dropped for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.label)
        self.reason = reason


class PassedError(Exception):
    """Ends the examination of a packet: it is the host's, and stays as it is."""

    def __init__(self, *notes: Note) -> None:
        super().__init__(", ".join(note.label for note in notes))
        self.notes = notes


@dataclass(frozen=True, slots=True)
class Choice:
    """How a flow found its backend. `key` is what was hashed.

    `backend` is 0 when the slot names none, and an id without a backend when the table is corrupt. A QUIC connection id
    may have named another backend than the slot's.
    """

    service: int
    key: FlowKey
    hash: int
    slot: int
    backend: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a packet: verdict, the frame afterwards, the reason if it counts as dropped, and what is noted.

    A packet that was too big and answered counts as dropped, while the verdict is TX: the frame is the answer.
    """

    verdict: Verdict
    frame: bytes
    reason: Reason = Reason.NONE
    notes: frozenset[Note] = field(default_factory=frozenset)
    choice: Choice | None = None
