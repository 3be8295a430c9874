"""What happened when, for a picture of the run: answers and failures per second, and each request. No I/O."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from lab.traffic.evidence import Reason
from lab.traffic.flow import Flow, flow_from_json

LATEST = 100_000  # finished requests that are kept until somebody asks for them; older ones are forgotten first
SECONDS = 3600  # that a series goes back


class Done(NamedTuple):
    """One request or transfer that ended: when (CLOCK_MONOTONIC, s), and why it failed (None: it did not)."""

    time: float
    stream: str
    flow: Flow | None
    backend: str
    reason: Reason | None


class Sample(NamedTuple):
    """Answers and failures of one second of CLOCK_MONOTONIC, of one stream, by one backend.

    Answers are those to pings, datagrams and requests, and complete transfers. Failures are flows that broke, and
    requests and transfers that failed; `backend` is "" where none is known, as for every request that failed.
    """

    second: int
    stream: str
    backend: str
    answered: int
    failed: int


class Series:
    """Counts one stream's answers and failures by second and backend."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._answered: Counter[tuple[int, str]] = Counter()
        self._failed: Counter[tuple[int, str]] = Counter()

    def answered(self, now: float, backend: str) -> None:
        """An answer came."""
        self._answered[int(now), backend] += 1

    def failed(self, now: float, backend: str) -> None:
        """A flow broke, or a request or a transfer failed."""
        self._failed[int(now), backend] += 1

    def samples(self, since: int, now: float) -> list[Sample]:
        """All samples from second `since` on, in order; what is older than `SECONDS` is forgotten."""
        oldest = int(now) - SECONDS
        for counts in (self._answered, self._failed):
            for key in [key for key in counts if key[0] < oldest]:
                del counts[key]
        keys = sorted(key for key in {*self._answered, *self._failed} if key[0] >= since)
        return [Sample(s, self._stream, b, self._answered[s, b], self._failed[s, b]) for s, b in keys]


class Finished:
    """The requests of a client that ended since somebody asked last."""

    def __init__(self) -> None:
        self._done: deque[Done] = deque(maxlen=LATEST)

    def add(self, done: Done) -> None:
        """One more."""
        self._done.append(done)

    def take(self) -> list[Done]:
        """All of them, in the order in which they ended; they are forgotten."""
        taken = list(self._done)
        self._done.clear()
        return taken


def done_to_json(done: Done) -> list[Any]:
    """The five members in their order; `done_from_json` reads it back."""
    return [done.time, done.stream, done.flow.to_json() if done.flow else None, done.backend, done.reason]


def done_from_json(value: Sequence[Any]) -> Done:
    """Read what `done_to_json` wrote; ValueError for anything else."""
    time, stream, flow, backend, reason = value
    return Done(
        float(time),
        str(stream),
        None if flow is None else flow_from_json(flow),
        str(backend),
        None if reason is None else Reason(reason),
    )


def sample_from_json(value: Sequence[Any]) -> Sample:
    """Read a sample that was written as the list of its members; ValueError for anything else."""
    second, stream, backend, answered, failed = value
    return Sample(int(second), str(stream), str(backend), int(answered), int(failed))


def merge_samples(clients: Iterable[Iterable[Sample]]) -> list[Sample]:
    """The samples of several clients together, in order of second, stream and backend."""
    answered: Counter[tuple[int, str, str]] = Counter()
    failed: Counter[tuple[int, str, str]] = Counter()
    for samples in clients:
        for second, stream, backend, good, bad in samples:
            answered[second, stream, backend] += good
            failed[second, stream, backend] += bad
    return [Sample(*key, answered[key], failed[key]) for key in sorted({*answered, *failed})]


def per_second(samples: Iterable[Sample], by: str) -> Mapping[str, list[tuple[int, int, int]]]:
    """(second, answered, failed) in order of time by "stream" or by "backend", the other one summed up."""
    sums: dict[str, dict[int, list[int]]] = {}
    for sample in samples:
        row = sums.setdefault(getattr(sample, by), {}).setdefault(sample.second, [0, 0])
        row[0] += sample.answered
        row[1] += sample.failed
    return {name: [(second, *row) for second, row in sorted(rows.items())] for name, rows in sums.items()}  # type: ignore[misc]
