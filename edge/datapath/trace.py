"""Sampled packets as the forwarder shows them: which are asked for, and what each one met (core: no I/O).

A packet comes as it leaves: one for a backend in its tunnel, a dropped or passed one as it came.
"""

from collections.abc import Collection
from dataclasses import dataclass

from edge.datapath import abi
from edge.datapath.abi import Reason, Verdict

_SENT_BIT, _PASSED_BIT = 1, 1 << 63
_REASONS, _VERDICTS = {int(reason): reason for reason in Reason}, {int(verdict): verdict for verdict in Verdict}
_SENT = (Verdict.TX, Verdict.REDIRECT)


@dataclass(frozen=True, slots=True)
class Event:
    """One packet. `time` is nanoseconds of the monotonic clock; `frame` has the first bytes of `length`.

    A packet that was too big and answered has the verdict TX and the reason TOOBIG; the frame is the answer.
    """

    time: int
    ifindex: int
    verdict: Verdict
    reason: Reason
    length: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which packets to show: dropped for one of `reasons`, or met by one of `verdicts`; all where both are empty.

    One packet in `every` of each CPU is looked at, and `snap` bytes of it are kept.
    """

    reasons: frozenset[Reason] = frozenset()
    verdicts: frozenset[Verdict] = frozenset()
    every: int = 1
    snap: int = abi.TRACE_BYTES

    def __post_init__(self) -> None:
        if not 1 <= self.snap <= abi.TRACE_BYTES:
            raise ValueError(f"snap {self.snap}: expected 1..{abi.TRACE_BYTES} bytes")
        if not 1 <= self.every <= 0xFFFFFFFF:
            raise ValueError(f"every {self.every}: expected 1..{0xFFFFFFFF}")

    def matches(self, event: Event) -> bool:
        """Whether it is one of them. The program's own choice is coarser: it does not tell tx from redirect."""
        everything = not self.reasons and not self.verdicts
        return everything or event.reason in self.reasons or event.verdict in self.verdicts

    def control(self, until: int) -> bytes:
        """What the program is told: `abi.TRACE_CONTROL_FORMAT`, good until a time of the monotonic clock in ns."""
        return abi.TRACE_CONTROL_FORMAT.pack(until, self._outcomes(), self.every, self.snap)

    def _outcomes(self) -> int:
        if not self.reasons and not self.verdicts:
            return 0xFFFF_FFFF_FFFF_FFFF
        bits = _bits(self.reasons)
        if Verdict.DROP in self.verdicts:
            bits |= _bits(set(Reason) - {Reason.NONE})
        if Verdict.PASS in self.verdicts:
            bits |= _PASSED_BIT
        if any(verdict in _SENT for verdict in self.verdicts):
            bits |= _SENT_BIT
        if Verdict.TX in self.verdicts:
            bits |= _bits({Reason.TOOBIG})  # answered
        return bits


NOBODY = bytes(abi.TRACE_CONTROL_FORMAT.size)
"""What the program is told when nobody asks."""


def lease_end(control: bytes) -> int:
    """Until when somebody asks, in ns of the monotonic clock; 0: nobody does."""
    until, _, every, _ = abi.TRACE_CONTROL_FORMAT.unpack(control)
    return int(until) if every else 0


def decode(raw: bytes) -> Event:
    """Read one record of the ring buffer. Raises ValueError for what is none."""
    size = abi.TRACE_EVENT_FORMAT.size
    if len(raw) < size:
        raise ValueError(f"a traced packet of {len(raw)} bytes: expected {size} or more")
    time, ifindex, verdict, reason, length, kept = abi.TRACE_EVENT_FORMAT.unpack_from(raw)
    if verdict not in _VERDICTS or reason not in _REASONS:
        raise ValueError(
            f"a traced packet of verdict {verdict}, reason {reason}: a program of another version wrote it"
        )
    return Event(time, ifindex, _VERDICTS[verdict], _REASONS[reason], length, raw[size : size + kept])


def _bits(reasons: Collection[Reason]) -> int:
    return sum(1 << reason for reason in reasons)
