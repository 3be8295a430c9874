"""The evidence of what went wrong: each failure and each gap, with its time and its flow. Values only, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lab.traffic.flow import Flow, flow_from_json

EVIDENCE_LIMIT = 20
GAP_LIMIT = 100
GAP_ABOVE = 0.1  # seconds; what is shorter is part of `longest_gap` only


class Reason(StrEnum):
    """Why a connection broke, an opening failed or a request failed."""

    RESET = "reset"  # RST received
    EOF = "eof"  # the other side closed where an answer was due
    TIMEOUT = "timeout"  # nothing within the stated limit
    REFUSED = "refused"  # RST in answer to the SYN
    UNREACHABLE = "unreachable"  # no route, or ICMP said so
    OTHER_BACKEND = "other_backend"  # one connection, two backends: the one thing the edge promises never to do
    WRONG_ANSWER = "wrong_answer"  # not the echo, or not the HTTP, that was asked for
    BAD_STATUS = "bad_status"  # HTTP, but not 200
    LOCAL = "local"  # this host's own fault: no port, no memory, no such source address


class Kind(StrEnum):
    """What failed: an established flow, the opening of one, or a request or a transfer (opening included)."""

    CONNECTION = "connection"
    OPENING = "opening"
    REQUEST = "request"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True, order=True)
class Failure:
    """One failure. `time` is CLOCK_MONOTONIC in seconds; `flow` is None where no port was chosen yet."""

    time: float
    kind: Kind
    reason: Reason
    backend: str = ""
    flow: Flow | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; `failure_from_json` reads it back."""
        flow = self.flow.to_json() if self.flow else None
        return {"time": self.time, "kind": self.kind, "reason": self.reason, "backend": self.backend, "flow": flow}


def failure_from_json(value: Mapping[str, Any]) -> Failure:
    """Read what `Failure.to_json` wrote; ValueError, KeyError or TypeError for anything else."""
    flow = None if value["flow"] is None else flow_from_json(value["flow"])
    return Failure(float(value["time"]), Kind(value["kind"]), Reason(value["reason"]), str(value["backend"]), flow)


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """A time without an answer that was due, or without progress of a transfer, which is over.

    `time`: its end, CLOCK_MONOTONIC in seconds; `length` in seconds, whole even where it began before the interval.
    `flow` is the one that was answered at last, or that broke; a gap that runs on over a reconnect is told at each.
    """

    time: float
    length: float
    flow: Flow | None = None
    backend: str = ""

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object; `gap_from_json` reads it back."""
        flow = self.flow.to_json() if self.flow else None
        return {"time": self.time, "length": self.length, "flow": flow, "backend": self.backend}


def gap_from_json(value: Mapping[str, Any]) -> Gap:
    """Read what `Gap.to_json` wrote; ValueError, KeyError or TypeError for anything else."""
    flow = None if value["flow"] is None else flow_from_json(value["flow"])
    return Gap(float(value["time"]), float(value["length"]), flow, str(value["backend"]))


def first_failures(failures: Sequence[Failure]) -> tuple[Failure, ...]:
    """The earliest `EVIDENCE_LIMIT` of them, in order of time."""
    return tuple(sorted(failures, key=lambda f: (f.time, f.kind, f.reason, str(f.flow)))[:EVIDENCE_LIMIT])


def first_gaps(gaps: Sequence[Gap]) -> tuple[Gap, ...]:
    """The `GAP_LIMIT` that ended first, in order of time."""
    return tuple(sorted(gaps, key=lambda gap: (gap.time, gap.length, gap.backend, str(gap.flow)))[:GAP_LIMIT])
