"""Lab up and down, and a tool that is killed on the way: nothing stays. The long run: `python -m tests.lab.cycles`."""

import os
import signal
import subprocess
from pathlib import Path

from lab.netns.runtime import destroy
from tests.lab import cycles, machine

pytestmark = machine.marks


def test_five_cycles_leave_nothing_two_of_them_killed(tmp_path: Path) -> None:
    assert cycles.run(5, cycles.write(tmp_path, f"fhns-cyc-{os.getpid()}"), lambda _: None) == []


def test_what_is_left_is_seen(tmp_path: Path) -> None:
    """The check itself: with a lab up it names processes, files and the link in the machine's own namespace."""
    name = f"fhns-cyc-{os.getpid()}-seen"
    path = cycles.write(tmp_path, name)
    cycles.call("deploy", path)
    try:
        kinds = {word.split()[0] for word in cycles.found(name, [])}
        assert kinds >= {"process", "file", "mount", "link", "record"}
        with subprocess.Popen(["sleep", "60"], process_group=0) as other:
            assert machine.guardians_of([other.pid]) == []
            other.send_signal(signal.SIGKILL)
    finally:
        assert destroy(name)
    assert machine.traces(name) == []
