"""What the operator wants drained or blackholed, and its stored form (core; `control.intent_store` keeps a file)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace

Subject = tuple[str, str]
"""("node", ""), ("backend", NAME), ("vip", PREFIX) or ("blackhole", PREFIX)."""


@dataclass(frozen=True, slots=True)
class Drain:
    """One standing order: when it was given (wall clock, ISO 8601), by which uid, and why.

    `until`: seconds since the epoch at which it ends by itself. `forced`: also where nobody else announces the VIP.
    """

    since: str
    uid: int
    reason: str = ""
    until: float | None = None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Intent:
    """The node's drain, if any; drained backends by name, drained and blackholed VIPs by prefix."""

    node: Drain | None = None
    backends: Mapping[str, Drain] = field(default_factory=dict)
    vips: Mapping[str, Drain] = field(default_factory=dict)
    blackholes: Mapping[str, Drain] = field(default_factory=dict)

    def with_node(self, drain: Drain | None) -> "Intent":
        """The same intent with the node drained, or not."""
        return replace(self, node=drain)

    def with_backend(self, name: str, drain: Drain | None) -> "Intent":
        """The same intent with the backend drained, or not."""
        return replace(self, backends=_with(self.backends, name, drain))

    def with_vip(self, prefix: str, drain: Drain | None) -> "Intent":
        """The same intent with the vip_prefix drained, or not."""
        return replace(self, vips=_with(self.vips, prefix, drain))

    def with_blackhole(self, prefix: str, order: Drain | None) -> "Intent":
        """The same intent with the vip_prefix blackholed, or not."""
        return replace(self, blackholes=_with(self.blackholes, prefix, order))

    def standing(self) -> Iterator[tuple[Subject, Drain]]:
        """Every order that stands."""
        if self.node:
            yield ("node", ""), self.node
        for kind, orders in (("backend", self.backends), ("vip", self.vips), ("blackhole", self.blackholes)):
            for name, drain in orders.items():
                yield (kind, name), drain

    def without(self, subject: Subject) -> "Intent":
        """The same intent without one order."""
        kind, name = subject
        if kind == "node":
            return self.with_node(None)
        take = {"backend": self.with_backend, "vip": self.with_vip, "blackhole": self.with_blackhole}
        return take[kind](name, None)


def _with(orders: Mapping[str, Drain], name: str, drain: Drain | None) -> Mapping[str, Drain]:
    others = {other: standing for other, standing in orders.items() if other != name}
    return others | ({name: drain} if drain else {})


class IntentError(Exception):
    """The stored intent cannot be read or written; the text names the file."""


def encode(intent: Intent) -> str:
    """The stored form: JSON, versioned."""
    return json.dumps({"version": 2} | asdict(intent), indent=2) + "\n"


def parse(text: str, name: str) -> Intent:
    """Read the stored form, of version 1 (which knew no VIPs) too. Raises `IntentError`."""
    try:
        stored = json.loads(text)
        if stored["version"] not in (1, 2):
            raise IntentError(f"{name}: version is {stored['version']!r}: expected 1 or 2")
        node = Drain(**stored["node"]) if stored["node"] else None
        kinds = ("backends", "vips", "blackholes") if stored["version"] == 2 else ("backends",)
        return Intent(node, *({key: Drain(**drain) for key, drain in stored[kind].items()} for kind in kinds))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntentError(f"{name}: not a stored intent ({error}): mend or remove the file") from None
