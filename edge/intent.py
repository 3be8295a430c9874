"""What the operator wants drained, and its stored form (core: no I/O; `edge.intent_store` keeps it in a file)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Drain:
    """One standing drain: when it was asked (wall clock, ISO 8601), by which uid, and why."""

    since: str
    uid: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """The node's drain, if any, and the drained backends by name."""

    node: Drain | None = None
    backends: Mapping[str, Drain] = field(default_factory=dict)

    def with_node(self, drain: Drain | None) -> "Intent":
        """The same intent with the node drained, or not."""
        return replace(self, node=drain)

    def with_backend(self, name: str, drain: Drain | None) -> "Intent":
        """The same intent with the backend drained, or not."""
        others = {other: standing for other, standing in self.backends.items() if other != name}
        return replace(self, backends=others | ({name: drain} if drain else {}))


class IntentError(Exception):
    """The stored intent cannot be read or written; the text names the file."""


def encode(intent: Intent) -> str:
    """The stored form: JSON, versioned."""
    return json.dumps({"version": 1} | asdict(intent), indent=2) + "\n"


def parse(text: str, name: str) -> Intent:
    """Read the stored form. Raises `IntentError`."""
    try:
        stored = json.loads(text)
        if stored["version"] != 1:
            raise IntentError(f"{name}: version is {stored['version']!r}: expected 1")
        node = Drain(**stored["node"]) if stored["node"] else None
        return Intent(node, {backend: Drain(**drain) for backend, drain in stored["backends"].items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntentError(f"{name}: not a stored intent ({error}): mend or remove the file") from None
