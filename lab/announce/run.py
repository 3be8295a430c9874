"""One run: the rows asked for at the routers asked for, measured by a process of its own, and the report of it."""

import json
import os
import platform
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lab.announce import inside, routers
from lab.announce.figures import FAIL, HEADINGS, Outcome, outcome_from_json
from lab.announce.measures import Effort
from lab.announce.plan import KINDS, Kind
from lab.announce.recipes import RECIPES
from lab.announce.rows import ROWS, Row
from lab.announce.space import PRIORITIES
from lab.runtime import LabError

SCHEMA_VERSION = 1
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Report:
    """Every outcome in the order of the rows, and where it was measured."""

    outcomes: Sequence[Outcome]
    machine: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [outcome.to_json() for outcome in self.outcomes]
        return {"schema_version": SCHEMA_VERSION, "machine": self.machine, "rows": rows}

    def table(self) -> list[tuple[str, ...]]:
        """Rows for people, headings first."""
        return [HEADINGS, *(outcome.cells() for outcome in self.outcomes)]

    @property
    def failed(self) -> bool:
        """Whether a bound was missed; what was not measured missed none."""
        return any(outcome.verdict == FAIL for outcome in self.outcomes)

    def with_earlier(self, earlier: Sequence[Outcome]) -> "Report":
        """This report and what an earlier one has besides, in the order of the rows."""
        mine = {(outcome.row, outcome.kind): outcome for outcome in [*earlier, *self.outcomes]}
        order = [(row.name, kind) for row in ROWS for kind in KINDS]
        return replace(self, outcomes=[mine[key] for key in order if key in mine])


def tasks(rows: Collection[str], kinds: Collection[Kind]) -> list[tuple[Row, Kind]]:
    """What is to be measured; nothing named means all. A router is asked for all its rows before the next."""
    wanted = [row for row in ROWS if not rows or row.name in rows]
    return [(row, kind) for kind in KINDS if not kinds or kind in kinds for row in wanted if kind in row.kinds]


def run(wanted: Sequence[tuple[Row, Kind]], effort: Effort, tell: Callable[[str], None]) -> Report:
    """Measure. Raises `LabError` when the measuring process cannot work at all, PermissionError without root."""
    if os.geteuid() != 0:
        raise PermissionError("the announcer's times need root: they make network namespaces")
    revision = _revision()
    lacking = {kind: routers.missing(kind) for kind in KINDS}
    outcomes = []
    able = []
    for row, kind in wanted:
        reason = lacking[kind] or ("" if row.name in RECIPES else "there is no recipe for it yet")
        if reason:
            outcomes.append(Outcome(row.name, kind, reason=reason))
        else:
            able.append((row, kind))
    for outcome in _inside(able, effort) if able else ():
        outcomes.append(replace(outcome, revision=revision))
        tell("  ".join(outcomes[-1].cells()))
    present = [kind for kind in KINDS if not lacking[kind]]
    return Report([], _machine(present, revision, effort)).with_earlier(outcomes)


def _inside(able: Sequence[tuple[Row, Kind]], effort: Effort) -> Iterator[Outcome]:
    request = {"effort": asdict(effort), "tasks": [(row.name, kind) for row, kind in able]}
    argv = inside.command("-m", "lab.announce.inside")
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                yield outcome_from_json(json.loads(line))
        finally:
            if process.poll() is None:
                process.stdin.close()
                process.terminate()
            process.wait()
        if process.returncode:
            raise LabError(f"the measuring process ended with {process.returncode}: see above")


def _machine(kinds: Sequence[Kind], revision: str, effort: Effort) -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "kernel": platform.release(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "scheduling": {"SCHED_RR": PRIORITIES} if effort.real_time else "as everything else",
        "python": platform.python_version(),
        "revision": revision,
        "routers": {kind: routers.version(kind) for kind in kinds},
    }


def _revision() -> str:
    """The commit that is measured, with a plus where files differ from it; "unknown" without git."""
    argv = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude", "*"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip() if not done.returncode else "unknown"
