"""How often one subject may write to the log: a token bucket each, so that one that flaps cannot drown the others."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

BURST: Final = 20
"""Lines that a subject may write at once."""
PER_SECOND: Final = 0.5
"""Lines that it may write from then on."""
SUBJECTS: Final = 4096
"""Subjects that are remembered; the one heard of longest ago is forgotten first, and may burst again."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a line. `left_out` counts the subject's lines that were not written since its last one.

    `first` marks the first line of a row that is left out: say so once.
    """

    write: bool
    left_out: int
    first: bool = False


class LineLimit:
    """The buckets. Times are monotonic seconds given by the caller."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def ask(self, subject: str, now: float) -> Verdict:
        """Whether `subject` may write a line now."""
        bucket = self._buckets.setdefault(subject, _Bucket(BURST, now))
        self._buckets.move_to_end(subject)
        if len(self._buckets) > SUBJECTS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.filled_at) * PER_SECOND)
        bucket.filled_at = now
        if bucket.tokens < 1:
            bucket.left_out += 1
            return Verdict(False, bucket.left_out, first=bucket.left_out == 1)
        bucket.tokens -= 1
        left_out, bucket.left_out = bucket.left_out, 0
        return Verdict(True, left_out)
