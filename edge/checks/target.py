"""What the checker is told to ask, and the words that it and the daemon exchange: JSON, one message a line (no I/O).

To the checker: `{"n": 3, "set": [[id, {...}], ...], "drop": [id, ...]}`, in as many lines as it takes, and
`{"n": 3, "end": true}` behind them; and `{"n": 3, "only": [["10.0.7.1", "eth2"], ...]}`, the interfaces that probes of
these addresses leave by from now on, "" for any. From it: `{"r": [[id, ok, microseconds, detail, certain], ...]}`, and
a heartbeat `{"h": 17, "n": 3, "late": 0.0004}`: the configuration that it follows, and the lateness of its latest probe
in seconds.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge.policy.health import Damped, Rules

LINE_MAX = 1 << 16  # bytes; a longer line is a fault of the peer
_BATCH = 200
DETAIL_MAX = 200  # characters of a detail


class ProtocolError(Exception):
    """The other side said something that is no message."""


@dataclass(frozen=True, slots=True)
class Target:
    """One check of one backend or service. `key` places it in time; `options` are those of its `kind`."""

    kind: str
    address: str
    timeout: float
    jitter: float
    rules: Rules
    key: str
    options: Mapping[str, Any]

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        rules, damping = self.rules, self.rules.damping
        held = [damping.half_life, damping.suppress, damping.reuse, damping.longest] if damping else None
        return {
            "kind": self.kind,
            "address": self.address,
            "timeout": self.timeout,
            "jitter": self.jitter,
            "rules": [rules.rise, rules.fall, rules.hold_down, held, rules.interval, rules.fast_interval],
            "key": self.key,
            "options": dict(self.options),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Target":
        """From JSON. Raises KeyError, TypeError or ValueError."""
        kind, address, key = (str(plain[name]) for name in ("kind", "address", "key"))
        rise, fall, hold_down, held, interval, fast = plain["rules"]
        rules = Rules(rise, fall, hold_down, Damped(*held) if held else None, interval, fast, kind)
        return cls(kind, address, float(plain["timeout"]), float(plain["jitter"]), rules, key, plain["options"])


class Lines:
    """Cuts a stream of bytes into lines, none longer than `LINE_MAX`."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that `data` completes. Raises ProtocolError when one is too long."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_MAX or any(len(line) > LINE_MAX for line in lines):
            raise ProtocolError(f"a line of more than {LINE_MAX} bytes")
        yield from lines


def orders(number: int, fresh: Mapping[int, Target], gone: Iterable[int]) -> Iterator[bytes]:
    """The lines that make a checker follow a configuration: what is new, and what is asked no more."""
    dropped = list(gone)
    while dropped:
        batch, dropped = dropped[:5000], dropped[5000:]
        yield _line({"n": number, "drop": batch})
    batched: list[bytes] = []
    size = 0
    for each, target in fresh.items():
        plain = json.dumps([each, target.to_plain()], separators=(",", ":")).encode()
        if size + len(plain) > LINE_MAX // 2 and batched:
            yield b'{"n":%d,"set":[%s]}\n' % (number, b",".join(batched))
            batched, size = [], 0
        batched.append(plain)
        size += len(plain)
    if batched:
        yield b'{"n":%d,"set":[%s]}\n' % (number, b",".join(batched))
    yield _line({"n": number, "end": True})


def keeping(number: int, only: Mapping[str, str]) -> Iterator[bytes]:
    """The lines that make probes of addresses leave by one interface; "" lets them take any."""
    rows = list(only.items())
    for start in range(0, len(rows), _BATCH):
        yield _line({"n": number, "only": rows[start : start + _BATCH]})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One result on its way to the daemon."""

    target: int
    ok: bool
    latency: float
    detail: str
    certain: bool = False


def results(outcomes: list[Outcome]) -> Iterator[bytes]:
    """The lines that tell of results."""
    for start in range(0, len(outcomes), _BATCH):
        batch = [
            [each.target, each.ok, round(each.latency * 1e6), each.detail[:DETAIL_MAX], each.certain]
            for each in outcomes[start : start + _BATCH]
        ]
        yield _line({"r": batch})


def heartbeat(number: int, config: int, late: float) -> bytes:
    """The line that says: alive, on that configuration, the latest probe so late (seconds)."""
    return _line({"h": number, "n": config, "late": round(late, 6)})


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat."""

    config: int
    late: float


def read(line: bytes) -> Beat | list[Outcome]:
    """What a line from the checker says. Raises ProtocolError for anything that is not exactly that."""
    try:
        plain = json.loads(line)
        if "r" in plain:
            return [_outcome(*entry) for entry in plain["r"]]
        return Beat(int(plain["n"]), float(plain["late"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ProtocolError(f"a line that is no message: {line[:80]!r} ({error})") from None


def read_orders(line: bytes) -> Mapping[str, Any]:
    """What a line from the daemon says. Raises ProtocolError."""
    try:
        plain = json.loads(line)
        return {
            "n": int(plain["n"]),
            "end": bool(plain.get("end")),
            "drop": [int(each) for each in plain.get("drop", ())],
            "only": {str(address): str(interface) for address, interface in plain.get("only", ())},
            "set": {int(each): Target.from_plain(target) for each, target in plain.get("set", ())},
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProtocolError(f"an order that is none: {line[:80]!r} ({error})") from None


def _outcome(target: int, ok: bool, microseconds: int, detail: str, certain: bool) -> Outcome:
    right = type(target) is int and type(ok) is bool and type(microseconds) is int and type(detail) is str
    if not right or type(certain) is not bool or len(detail) > DETAIL_MAX or not detail.isprintable():
        raise ValueError("expected [id, ok, microseconds, detail, certain]")
    return Outcome(target, ok, microseconds / 1e6, detail, certain)


def _line(plain: Any) -> bytes:
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"
