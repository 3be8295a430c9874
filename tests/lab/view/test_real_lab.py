"""The live page of a real lab: what happens to nodes and links is seen within 2 s, and nothing of the lab is held."""

import os
from pathlib import Path

from lab.netns.runtime import NetnsRuntime
from lab.runtimes.files import read_topology
from tests import browser
from tests.lab import machine
from tests.lab.view.real import SMALL, is_followed

pytestmark = [*browser.marks, *machine.marks]


def test_a_real_lab_is_followed(tmp_path: Path) -> None:
    name = f"view{os.getpid()}"
    file = tmp_path / "t.clab.yml"
    file.write_text(f"name: {name}{SMALL}")
    lab = read_topology(file)
    with NetnsRuntime(lab) as runtime:
        is_followed(runtime, lab, tmp_path)
        machine.wait_for_nothing(name)
