"""Keeps the operator's intent in a file: the only thing the daemon stores, so that a drain survives a restart."""

import os
import time
from pathlib import Path

from edge.decide.intent import Intent, IntentError, encode, parse


class IntentStore:
    """Keeps one intent in one file, replaced atomically."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Intent:
        """What is stored; nothing drained when there is no file yet. Raises `IntentError`."""
        try:
            return parse(self._path.read_text(), str(self._path))
        except FileNotFoundError:
            return Intent()
        except OSError as error:
            raise IntentError(f"{self._path}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise IntentError(f"{self._path}: not a stored intent ({error}): mend or remove the file") from None

    def save(self, intent: Intent) -> None:
        """Store `intent` durably before it is acted on. Raises `IntentError`, and then the old one stands."""
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("w") as file:
                file.write(encode(intent))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise IntentError(f"{self._path}: {error.strerror}: the drain was not stored, nothing changed") from None


def now_stamp() -> str:
    """The wall clock for `Drain.since`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
