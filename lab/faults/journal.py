"""What faults a lab has, on disk: each is written down, with how to undo it, before it is made.

So a tool that dies at any moment leaves a file that says what may have been done. Several tools may use one journal.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Undo:
    """One step back: `op` is a function of `lab.faults.undo`, `node` where it acts. Done twice it changes nothing."""

    op: str
    node: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault: `fault` as it is spelled, `since` in monotonic seconds, `undo` in the order in which it was made.

    `places` has the identity of the network namespace of each node that is touched: of a later lab it is another one.
    """

    name: str
    fault: dict[str, Any]
    since: float
    text: str = ""
    undo: tuple[Undo, ...] = ()
    places: dict[str, int] | None = None


class Journal:
    """The faults in the file at `path`, which exists as long as there are any."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def entries(self) -> list[Entry]:
        """All faults, the oldest first. Raises ValueError for a file that is no journal of this version."""
        try:
            return [_entry(each) for each in json.loads(self._path.read_text())["faults"]]
        except FileNotFoundError:
            return []
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self._path} is no journal of this version: {error}") from None

    def put(self, entry: Entry) -> None:
        """Add the fault, or replace that of the same name."""
        with self._locked():
            kept = self.entries()
            names = [each.name for each in kept]
            if entry.name in names:
                kept[names.index(entry.name)] = entry
            else:
                kept.append(entry)
            self._write(kept)

    def drop(self, name: str) -> None:
        """Forget a fault that is undone."""
        with self._locked():
            self._write([each for each in self.entries() if each.name != name])

    def get(self, name: str) -> Entry | None:
        """The fault of that name."""
        return next((each for each in self.entries() if each.name == name), None)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the journal: a file beside it is locked, as the folder is by the lab's guardian."""
        folder = self._path.parent
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        guard = folder / ".faults.lock"
        lock = _lock(guard)
        try:
            yield
            if not self._path.exists():
                guard.unlink(missing_ok=True)
        finally:
            os.close(lock)
        for empty in (folder, folder.parent, folder.parent.parent):
            if empty.is_relative_to("/run/fairhop"):
                with suppress(OSError):  # the lab is in it still, or another one
                    empty.rmdir()

    def _write(self, entries: list[Entry]) -> None:
        if not entries:
            self._path.unlink(missing_ok=True)
            return
        fresh = self._path.with_suffix(".new")
        fresh.write_text(
            json.dumps({"schema_version": _SCHEMA_VERSION, "faults": [asdict(e) for e in entries]}, indent=1)
        )
        fresh.rename(self._path)


def _lock(guard: Path) -> int:
    """A descriptor of the locked file, which whoever held it before may have removed in between."""
    while True:
        lock = os.open(guard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)


def _entry(value: dict[str, Any]) -> Entry:
    steps = tuple(Undo(step["op"], step["node"], tuple(step["words"])) for step in value["undo"])
    return replace(Entry(**value), undo=steps)
