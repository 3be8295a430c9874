"""A scenario file is a pytest item: `pytest containerlab/scenarios/edge-drain.yml`.

A conftest.py beside the files imports `pytest_collect_file` and `pytest_unconfigure` from here. Items of one topology
that follow each other share its lab. The runtime is $FAIRHOP_LAB_RUNTIME, or else netns. An item is skipped where a
program that the scenario needs is missing or where labs cannot run; the reason names what is missing.
"""

import os
import shutil
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab.runtimes.files import runtime_for
from lab.scenario import files
from lab.scenario.junit import NotRun
from lab.scenario.parse import SUFFIXES, Case
from lab.scenario.suite import Labs
from lab.scenario.text import brief

_LABS = pytest.StashKey[Labs]()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "ScenarioFile | None":
    """Every YAML file in a folder called `scenarios`."""
    if file_path.suffix in SUFFIXES and file_path.parent.name == "scenarios":
        return ScenarioFile.from_parent(parent, path=file_path)
    return None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the last lab down."""
    if (labs := config.stash.get(_LABS, None)) is not None:
        labs.close()


class ScenarioFile(pytest.File):
    """One scenario file; one that cannot be read is an error of collection, with all its problems."""

    def collect(self) -> Iterable["ScenarioItem"]:
        """The one scenario in it, on each of its topologies."""
        for case in files.read([self.path]):
            yield ScenarioItem.from_parent(self, name=case.name, case=case)


class ScenarioItem(pytest.Item):
    """One scenario: it passes when each of its checks does."""

    def __init__(self, *, case: Case, **others: Any) -> None:
        super().__init__(**others)
        self.case = case
        self.add_marker(pytest.mark.lab)
        self.add_marker(pytest.mark.timeout(900))

    def runtest(self) -> None:
        """Run it and fail with the whole verdict when a check does not pass."""
        name = os.environ.get("FAIRHOP_LAB_RUNTIME", "netns")
        if os.geteuid() != 0:
            pytest.skip("a lab needs root")
        if missing := [program for program in ("tini", "ip", "ethtool") if not shutil.which(program)]:
            pytest.skip(f"not installed: {', '.join(missing)}")
        labs = self.config.stash.setdefault(_LABS, Labs(partial(runtime_for, name), self._tell))
        found = labs.play(self.case)
        if isinstance(found, NotRun) and found.skipped:
            pytest.skip(found.reason)
        if isinstance(found, NotRun):
            raise ScenarioFailed(f"the lab could not run: {found.reason}")
        lines = "\n".join(brief(found))
        self.add_report_section("call", "scenario", lines)
        if not found.passed:
            raise ScenarioFailed(lines)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The verdict's lines, without a traceback."""
        return str(excinfo.value) if isinstance(excinfo.value, ScenarioFailed) else super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it is."""
        return self.path, 0, f"scenario {self.name}"

    def _tell(self, message: str) -> None:
        self.add_report_section("call", "progress", message + "\n")


class ScenarioFailed(Exception):  # noqa: N818 - a verdict, not an error
    """A check did not pass; the text is the verdict."""
