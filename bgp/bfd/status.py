"""What the process tells the daemon, one JSON object a line, each the whole truth (core: no I/O).

All times are CLOCK_MONOTONIC seconds or seconds.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_STEP: Final = 1e-4
_STEPS: Final = 2000


class StatusError(ValueError):
    """A line that is none of ours."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """The pauses between packets of a session that is Up, in seconds; the quantiles are at most 0.1 ms too large."""

    count: int = 0
    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    longest: float = 0.0


class GapCount:
    """Counts pauses in steps of 0.1 ms up to 0.2 s, and remembers the longest."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._count = 0
        self._longest = 0.0

    def add(self, gap: float) -> None:
        """One pause in seconds."""
        step = min(int(gap / _STEP), _STEPS)
        self._counts[step] = self._counts.get(step, 0) + 1
        self._count += 1
        self._longest = max(self._longest, gap)

    def gaps(self) -> Gaps:
        """What has been counted."""
        p50, p99, p999 = (self._quantile(part) for part in (0.5, 0.99, 0.999))
        return Gaps(self._count, p50, p99, p999, self._longest)

    def _quantile(self, part: float) -> float:
        below = 0
        for step in sorted(self._counts):
            below += self._counts[step]
            if below >= part * self._count:
                return min((step + 1) * _STEP, self._longest)
        return 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a session; `serial` grows over all sessions of one process. `failure`: see session.Transition."""

    serial: int
    name: str
    at: float
    old: str
    new: str
    diag: str
    reason: str
    failure: bool


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """One session. `tx_interval` is what we send at, `detection_time` what we wait; 0 while not known.

    `downs` are the last changes out of Up, newest last. `refused` counts discarded packets by reason.
    """

    name: str
    peer: str
    state: str
    since: float
    diag: str
    remote_state: str
    remote_diag: str
    local_discriminator: int
    remote_discriminator: int
    tx_interval: float
    detection_time: float
    packets_in: int
    packets_out: int
    send_errors: int
    refused: Mapping[str, int]
    downs: tuple[Change, ...]
    gaps: Gaps

    @property
    def up(self) -> bool:
        """Whether both ends see each other."""
        return self.state == "up"


@dataclass(frozen=True, slots=True)
class BfdState:
    """The process at one moment; `seq` is that of the last order carried out. `remarks`: what it runs without."""

    seq: int
    gate_open: bool
    gate_reason: str
    held_until: float
    sessions: tuple[SessionStatus, ...]
    changes: tuple[Change, ...]
    refused: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def encode_state(state: BfdState) -> bytes:
    """One line."""
    return json.dumps({"type": "state", **asdict(state)}, separators=(",", ":")).encode("ascii") + b"\n"


def decode_state(line: bytes) -> BfdState:
    """Read a line. Raises StatusError."""
    try:
        plain = json.loads(line)
        if plain.pop("type") != "state":
            raise StatusError("a line is not of type state")
        plain["sessions"] = tuple(_session(one) for one in plain["sessions"])
        plain["changes"] = tuple(Change(**one) for one in plain["changes"])
        plain["remarks"] = tuple(plain["remarks"])
        return BfdState(**plain)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StatusError(f"a line of {len(line)} bytes is no state: {error!r}") from None


def _session(plain: dict[str, Any]) -> SessionStatus:
    plain["downs"] = tuple(Change(**one) for one in plain["downs"])
    plain["gaps"] = Gaps(**plain["gaps"])
    return SessionStatus(**plain)


def encode_order(seq: int, config: Mapping[str, Any], admin_down: bool) -> bytes:
    """The daemon's whole wish in one line; `config` is `config.to_plain`."""
    return json.dumps({"type": "want", "seq": seq, "admin_down": admin_down, **config}).encode("ascii") + b"\n"


def decode_order(line: bytes) -> tuple[int, bool, dict[str, Any]]:
    """(seq, admin_down, configuration as JSON). Raises StatusError; its text never quotes the line, which has keys."""
    try:
        plain = json.loads(line)
        if plain.pop("type") != "want":
            raise StatusError("a line is not of type want")
        return int(plain.pop("seq")), bool(plain.pop("admin_down")), plain
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StatusError(f"a line of {len(line)} bytes is no order: {type(error).__name__}") from None
