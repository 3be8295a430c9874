"""Runs scenarios on labs that it deploys: one lab serves several in a row when each leaves it as it found it."""

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from lab.job.bring_up import Owned
from lab.runtime import LabError, Progress, Runtime
from lab.scenario.engine import Engine
from lab.scenario.evidence import RunEvidence, Surroundings
from lab.scenario.junit import NotRun
from lab.scenario.parse import Case
from lab.scenario.result import Result, topology_json
from lab.scenario.stage import LabStage, settled
from lab.topology.model import Topology

RuntimeOf = Callable[[Topology], Runtime]
_BGPD = "/usr/lib/frr/bgpd"


@dataclass(slots=True)
class Findings:
    """What a suite found: results in the order that scenarios were run, and those that could not be."""

    results: list[Result] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)


class Suite:
    """Runs scenarios. `found` is called with each result as soon as it is there."""

    def __init__(
        self, runtime_of: RuntimeOf, progress: Progress, found: Callable[[Result], None] = lambda _: None
    ) -> None:
        self._runtime_of, self._progress, self._found = runtime_of, progress, found

    def run(self, cases: Iterable[Case], repetitions: int | None = None, *, keep: bool = False) -> Findings:
        """Run them, those of one topology together. `repetitions` instead of each scenario's own."""
        findings = Findings()
        groups: dict[str, list[Case]] = {}
        for case in cases:
            groups.setdefault(case.topology.file or case.topology.name, []).append(case)
        for group in groups.values():
            self._group(group, repetitions, findings, keep=keep)
        return findings

    def _group(self, cases: Sequence[Case], repetitions: int | None, findings: Findings, *, keep: bool) -> None:
        runnable = []
        runtime = self._runtime_of(cases[0].topology)
        for case in cases:
            why = obstacle(case, runtime.name)
            if why:
                findings.not_run.append(NotRun(case.scenario.name, why, skipped=True))
                self._progress(f"{case.scenario.name}: skipped: {why}")
            else:
                runnable.append(case)
        if not runnable:
            return
        lab = _Deployed(runtime, self._progress)
        try:
            for case in runnable:
                self._case(lab, case, repetitions or case.scenario.repetitions, findings)
            if keep and isinstance(runtime, Owned):
                runtime.keep()
        finally:
            lab.end(keep=keep)

    def _case(self, lab: "_Deployed", case: Case, repetitions: int, findings: Findings) -> None:
        runs: list[RunEvidence] = []
        self._progress(f"{case.scenario.name}: {case.scenario.title}")
        try:
            for number in range(1, repetitions + 1):
                began = lab.ready_for(case)
                with LabStage(lab.runtime, case, self._progress) as stage:
                    runs.append(Engine(case, stage, self._progress).run(number, lab.up if began else None, began))
        except LabError as error:
            self._progress(f"{case.scenario.name}: the lab could not run it: {error}")
            lab.spoilt = True
            if not runs:
                findings.not_run.append(NotRun(case.scenario.name, str(error), skipped=False))
                return
            runs.append(replace(runs[-1], number=len(runs) + 1, steps=(), error=str(error)))
        result = Result(case.scenario, surroundings(lab.runtime.name, case), tuple(runs))
        findings.results.append(result)
        self._found(result)


class _Deployed:
    """One lab, deployed when it is first needed and anew when a scenario left it otherwise than it found it."""

    def __init__(self, runtime: Runtime, progress: Progress) -> None:
        self.runtime = runtime
        self.up: float | None = None
        self.spoilt = False
        self._progress = progress
        self._deployed = False

    def ready_for(self, case: Case) -> float | None:
        """Have the lab as a deployment leaves it. When the deployment began, None when none was needed."""
        if self._deployed:
            why = "a scenario could not run on it" if self.spoilt else settled(self.runtime, case)
            if not why:
                return None
            self._progress(f"deploying {case.topology.name} anew: {why}")
            self.runtime.destroy(self._progress)
        began = time.monotonic()
        self._progress(f"bringing {case.topology.name} up on {self.runtime.name}")
        self.runtime.deploy(self._progress)
        self._deployed, self.spoilt = True, False
        self.up = time.monotonic() - began
        return began

    def end(self, *, keep: bool) -> None:
        """Take the lab down, unless it is kept."""
        if isinstance(self.runtime, Owned):
            self.runtime.close()
        elif self._deployed and not keep:
            self.runtime.destroy(self._progress)


def obstacle(case: Case, runtime: str) -> str:
    """Why a scenario cannot run here, "" when it can."""
    scenario = case.scenario
    if runtime not in scenario.runtimes:
        return f"it runs on {' and '.join(scenario.runtimes)}, not on {runtime}"
    missing = [name for name in scenario.needs if not shutil.which(name, path=_search_path())]
    return f"not installed: {', '.join(missing)}" if missing else ""


def surroundings(runtime: str, case: Case) -> Surroundings:
    """Where a result comes from."""
    return Surroundings(
        fairhop=version("fairhop"),
        kernel=platform.release(),
        runtime=runtime,
        when=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        cores=os.cpu_count() or 1,
        versions={name: found for name, found in (("python", platform.python_version()), *_versions()) if found},
        file=case.file,
        topology=topology_json(case.topology),
    )


def _versions() -> Iterable[tuple[str, str]]:
    with suppress(PackageNotFoundError):
        yield "exabgp", version("exabgp")
    with suppress(OSError):
        said = subprocess.run([_BGPD, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"version (\S+)", said)
        yield "frr", found[1] if found else ""


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/lib/frr"])
