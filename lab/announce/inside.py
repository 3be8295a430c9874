"""The process that measures: `python -m lab.announce.inside`, asked by `lab.announce.run` in JSON on stdin.

It is started by unshare(1) with its own mounts, network, and process numbers, and dies with its starter: whatever it
makes is gone with it, in whatever way it ends, and nothing on the machine can meet it.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.control.ask import RefusedError, UnreachableError
from lab.announce.bed import Bed
from lab.announce.figures import Outcome
from lab.announce.measures import Effort, MissingError
from lab.announce.plan import Kind, Layout
from lab.announce.recipes import RECIPES
from lab.announce.rows import BY_NAME, Row
from lab.announce.space import OBSERVER
from lab.netns import linux
from lab.runtime import LabError

UNSHARE = (
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
)


def command(*words: str) -> Sequence[str]:
    """The arguments that run this interpreter with `words` in surroundings of its own."""
    return (*UNSHARE, sys.executable, *words)


def settle_in() -> Path:
    """Hide the machine's /run and mount a BPF file system below it; returns the directory for files."""
    linux.mount("tmpfs", "/run", "tmpfs", data="mode=755")
    linux.mount("tmpfs", "/var/tmp", "tmpfs", data="mode=1777")  # FRR has a folder there for each process number
    for name in ("/run/bpf", "/run/netns", "/run/announce"):
        Path(name).mkdir()
    linux.mount("bpf", "/run/bpf", "bpf")
    linux.set_up("lo")
    return Path("/run/announce")


def main() -> None:
    """Measure what the one line on stdin asks for; a JSON object a line on stdout for each row, progress on stderr."""
    asked = json.loads(sys.stdin.readline())
    effort = Effort(**asked["effort"])
    if effort.real_time:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(OBSERVER))
    tasks = [(BY_NAME[row], kind) for row, kind in asked["tasks"]]
    place = settle_in()
    for outcome in measured(tasks, effort, place):
        sys.stdout.write(json.dumps(outcome.to_json()) + "\n")
        sys.stdout.flush()


def measured(tasks: Sequence[tuple[Row, Kind]], effort: Effort, place: Path) -> Iterator[Outcome]:
    """Measure each, on one bed as long as the layout stays the same."""
    beds = Beds(place)
    with beds:
        for row, kind in tasks:
            _tell(f"{row.name} at {kind}")
            yield _one(beds, row, kind, effort)


class Beds:
    """The bed that stands; another layout takes it down first."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._count = 0
        self._bed: Bed | None = None
        self._layout: Layout | None = None

    def __enter__(self) -> "Beds":
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def having(self, layout: Layout) -> Bed:
        """A bed of this layout, all serving. Raises `LabError`."""
        if self._bed is None or self._layout != layout:
            self.drop()
            self._count += 1
            bed = Bed(layout, self._place / str(self._count))
            self._bed, self._layout = bed.__enter__(), layout
        return self._bed

    def drop(self) -> None:
        """Take it down."""
        bed, self._bed = self._bed, None
        if bed is not None:
            bed.__exit__()


def _one(beds: Beds, row: Row, kind: Kind, effort: Effort) -> Outcome:
    layout, measure = RECIPES[row.name]
    try:
        bed = beds.having(layout(kind))
        found = measure(bed, effort.repetitions, effort, _tell)
        scheduling = {"scheduling": "first" if effort.real_time else "shared", "unsettled": bed.unsettled}
        bed.unsettled = 0
        return Outcome(row.name, kind, tuple(found.values), notes=found.notes, facts={**found.facts, **scheduling})
    except MissingError as error:
        return Outcome(row.name, kind, reason=str(error))
    except (LabError, RefusedError, UnreachableError, OSError) as error:
        beds.drop()
        return Outcome(row.name, kind, reason=f"the testbed failed: {_brief(str(error))}")


def _brief(words: str) -> str:
    """The first line and, where there are more, the last: what of a program's last words says most."""
    lines = words.strip().splitlines() or [""]
    return lines[0][:160] if len(lines) == 1 else f"{lines[0][:80]} ... {lines[-1][:160]}"


def _tell(message: str) -> None:
    sys.stderr.write(message + "\n")


if __name__ == "__main__":
    main()
