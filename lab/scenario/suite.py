"""Runs scenarios on labs that it deploys: one lab serves several in a row when each leaves it as it found it."""

import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from types import TracebackType
from typing import Self

from lab.addressing import Role
from lab.job.bring_up import Owned
from lab.runtime import LabError, Progress, Runtime
from lab.scenario import routing
from lab.scenario.engine import Engine
from lab.scenario.evidence import RunEvidence, Surroundings
from lab.scenario.junit import NotRun
from lab.scenario.parse import Case
from lab.scenario.result import Result, topology_json
from lab.scenario.stage import LabStage, settled
from lab.topology.model import Topology

RuntimeOf = Callable[[Topology], Runtime]
_ROUTERS = {"frr": "/usr/lib/frr/bgpd", "bird": "bird", "gobgp": "gobgpd"}


@dataclass(slots=True)
class Findings:
    """What a suite found: results in the order that scenarios were run, and those that could not be."""

    results: list[Result] = field(default_factory=list)
    not_run: list[NotRun] = field(default_factory=list)


class Labs:
    """The one lab that is up at a time. As a context manager it takes the last one down at the end."""

    def __init__(self, runtime_of: RuntimeOf, progress: Progress) -> None:
        self._runtime_of, self._progress = runtime_of, progress
        self._runtime: Runtime | None = None
        self._of = ""  # whose topology it runs
        self._up = 0.0  # seconds that its deployment took
        self._spoilt = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def play(self, case: Case, repetitions: int | None = None) -> Result | NotRun:
        """Run a scenario on its topology's lab, which is deployed first unless it is up and as it should be."""
        scenario, runs = case.scenario, list[RunEvidence]()
        runtime = self._runtime_of(case.topology)
        if why := obstacle(case, runtime.name):
            self._progress(f"{case.name}: skipped: {why}")
            return NotRun(case.name, why, skipped=True)
        self._progress(f"{case.name}: {scenario.title}")
        try:
            for number in range(1, (repetitions or scenario.repetitions) + 1):
                lab, began = self._ready(runtime, case)
                with LabStage(lab, case, self._progress) as stage:
                    engine = Engine(case, stage, self._progress)
                    runs.append(engine.run(number, None if began is None else self._up, began))
        except LabError as error:
            self._progress(f"{case.name}: the lab could not run it: {error}")
            self._spoilt = True
            if not runs:
                return NotRun(case.name, str(error), skipped=False)
            runs.append(replace(runs[-1], number=len(runs) + 1, steps=(), error=str(error)))
        return Result(scenario, surroundings(self._runtime or runtime, case), tuple(runs))

    def close(self, *, keep: bool = False) -> None:
        """Take the lab down, unless it is kept; idempotent."""
        if self._runtime is not None:
            _part(self._runtime, self._progress, keep=keep)
            self._runtime = None

    def _ready(self, fresh: Runtime, case: Case) -> tuple[Runtime, float | None]:
        """The lab as a deployment leaves it, and when that began if it was needed."""
        name = case.topology.file or case.topology.name
        if self._runtime and self._of == name:
            why = "a scenario could not run on it" if self._spoilt else settled(self._runtime, case)
            if not why:
                return self._runtime, None
            self._progress(f"deploying {case.topology.name} anew: {why}")
            self._runtime.destroy(self._progress)
        else:
            self.close()
            self._runtime, self._of = fresh, name
        began = time.monotonic()
        self._progress(f"bringing {case.topology.name} up on {self._runtime.name}")
        self._runtime.deploy(self._progress)
        self._spoilt = False
        self._up = time.monotonic() - began
        return self._runtime, began


def run(
    cases: Iterable[Case],
    labs: Labs,
    repetitions: int | None = None,
    found: Callable[[Result], None] = lambda _: None,
) -> Findings:
    """Run scenarios, those of one topology together; `found` is called with each result as soon as it is there."""
    findings = Findings()
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.topology.file or case.topology.name, []).append(case)
    for case in chain.from_iterable(groups.values()):
        played = labs.play(case, repetitions)
        if isinstance(played, NotRun):
            findings.not_run.append(played)
        else:
            findings.results.append(played)
            found(played)
    return findings


def _part(runtime: Runtime, progress: Progress, *, keep: bool) -> None:
    """Leave a lab, which ends it unless it is kept."""
    if isinstance(runtime, Owned):
        if keep:
            runtime.keep()
        runtime.close()
    elif not keep:
        runtime.destroy(progress)


def obstacle(case: Case, runtime: str) -> str:
    """Why a scenario cannot run here, "" when it can."""
    scenario = case.scenario
    if runtime not in scenario.runtimes:
        return f"it runs on {' and '.join(scenario.runtimes)}, not on {runtime}"
    # A node on namespaces has the machine's programs, one on containerlab those of its image.
    needed = scenario.needs if runtime == "netns" else ()
    missing = [name for name in needed if not shutil.which(name, path=_search_path())]
    return f"not installed: {', '.join(missing)}" if missing else ""


def surroundings(runtime: Runtime, case: Case) -> Surroundings:
    """Where a result comes from. The routers' program is asked in a node: on containerlab it is that of an image."""
    return Surroundings(
        fairhop=version("fairhop"),
        kernel=platform.release(),
        runtime=runtime.name,
        when=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        cores=os.cpu_count() or 1,
        versions={
            name: found for name, found in (("python", platform.python_version()), *_versions(runtime, case)) if found
        },
        file=case.file,
        topology=topology_json(case.topology, routing.targets(case.plan)),
    )


def _versions(runtime: Runtime, case: Case) -> Iterable[tuple[str, str]]:
    with suppress(PackageNotFoundError):
        yield "exabgp", version("exabgp")
    kinds = {router.router: router.name for router in case.plan.having(Role.ROUTER)}
    for kind, node in kinds.items():
        with suppress(LabError):
            done = runtime.exec(node, [_ROUTERS[kind], "--version"])
            found = re.search(r"version:? ([\w.]+)", done.stdout + done.stderr)
            yield kind, found[1] if found else ""


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/lib/frr"])
