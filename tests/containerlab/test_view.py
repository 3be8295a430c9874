"""The live page of a lab on real containerlab: the same that is seen of one on namespaces."""

from pathlib import Path

import pytest

from lab.runtimes.files import read_topology
from tests import browser
from tests.containerlab import tier
from tests.containerlab.conftest import MakeRuntime
from tests.lab.view.real import SMALL, is_followed

pytestmark = [*browser.marks, pytest.mark.containerlab, pytest.mark.timeout(600)]

NAME = "fh-clab-view"


def test_a_lab_is_followed(make_runtime: MakeRuntime, tmp_path: Path) -> None:
    file = tmp_path / "view.clab.yml"
    file.write_text(f"name: {NAME}{SMALL}")
    runtime = make_runtime(file)
    try:
        is_followed(runtime, read_topology(file), tmp_path)
        assert tier.traces(NAME) == set()
    finally:
        runtime.destroy(lambda _: None)
