"""`pytest containerlab/scenarios/NAME.yml` runs that scenario."""

from lab.scenario.pytest_plugin import pytest_collect_file, pytest_unconfigure

__all__ = ["pytest_collect_file", "pytest_unconfigure"]
