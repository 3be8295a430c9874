"""exec and process checks: no shell, bounded output, nothing left behind, and an end that is known at once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.checks import programs
from edge.checks.target import Outcome
from tests.edge.checks.asking import Asking, ask, local_target, target

pytestmark = pytest.mark.process


def run(*command: str, timeout: float = 2.0) -> Outcome:
    words = ", ".join(f"'{word}'" for word in command)
    return ask(target(f"{{type: exec, command: [{words}], timeout: {timeout}, interval: 5.0}}"))


def test_status_zero_is_up_and_anything_else_is_down_with_what_it_said() -> None:
    assert run("/bin/true").detail == "status 0"
    assert run("/bin/sh", "-c", "echo ready").detail == "status 0: ready"
    failed = run("/bin/sh", "-c", "echo no disk >&2; exit 3")
    assert (failed.ok, failed.detail) == (False, "status 3: no disk")
    assert run("/bin/sh", "-c", "kill -SEGV $$").detail == "killed by SIGSEGV"


def test_there_is_no_shell_and_the_environment_is_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SECRET", "swordfish")
    assert run("/bin/echo", "$(id); `id` | id").detail == "status 0: $(id); `id` | id"
    said = run("/usr/bin/env").detail
    assert "FAIRHOP_ADDRESS=127.0.0.1" in said
    assert "swordfish" not in said
    assert run("/bin/pwd").detail == "status 0: /"


def test_a_program_that_is_not_there_is_down_by_name() -> None:
    assert run("/usr/bin/none").detail == "/usr/bin/none: no such file or directory"


def test_a_flood_of_output_is_read_and_shown_no_further_than_its_limit() -> None:
    flood = run(sys.executable, "-c", 'print("x" * 5_000_000)')
    assert flood.ok
    assert len(flood.detail) <= 200


def pids_in(directory: Path) -> list[int]:
    return [int(path.name) for path in directory.iterdir()]


def test_a_program_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    script = f"trap '' TERM; touch {tmp_path}/$$; (touch {tmp_path}/$(exec sh -c 'echo $PPID'); sleep 60) & sleep 60"
    began = time.monotonic()
    outcome = run("/bin/sh", "-c", script.replace("'", "''"), timeout=0.4)
    assert (outcome.ok, outcome.detail) == (False, "no answer within 0.4 s")
    assert time.monotonic() - began < 2
    assert len(pids_in(tmp_path)) == 2
    until = time.monotonic() + 2
    while any(alive(pid) for pid in pids_in(tmp_path)):
        assert time.monotonic() < until
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_what_a_program_leaves_behind_is_ended_too_and_does_not_hold_the_probe(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    outcome = run("/bin/sh", "-c", f"sleep 60 & touch {tmp_path}/$!; exit 0")
    assert (outcome.ok, outcome.detail) == (True, "status 0")
    assert outcome.latency < 1
    until = time.monotonic() + 2
    while any(alive(pid) for pid in pids_in(tmp_path)):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.fixture
def sleeper() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["/bin/sleep", "60"])


def test_the_end_of_a_process_is_told_in_milliseconds(sleeper: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    pidfile.write_text(f"{sleeper.pid}\n")
    with Asking() as asking:
        asking.engine.add(1, local_target(f"{{type: process, pidfile: {pidfile}, interval: 30.0}}"))
        asking.until(lambda: len(asking.outcomes) == 1)
        assert asking.outcomes[0].detail == f"process {sleeper.pid}"
        for _ in range(3):
            asking.engine.turn()
        began = time.monotonic()
        sleeper.kill()
        asking.until(lambda: len(asking.outcomes) == 2)
        assert time.monotonic() - began < 0.25  # 0.2 ms where nothing else runs; the next poll is 30 s away
        last = asking.outcomes[1]
        assert (last.ok, last.certain, last.detail) == (False, True, f"process {sleeper.pid} ended")
    sleeper.wait()


def test_a_process_that_takes_the_place_of_another_is_watched_from_the_next_poll(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    first, second = (subprocess.Popen(["/bin/sleep", "60"]) for _ in range(2))
    pidfile.write_text(str(first.pid))
    with Asking() as asking:
        check = f"{{type: process, pidfile: {pidfile}, interval: 0.05, fast_interval: 0.05, timeout: 0.05}}"
        asking.engine.add(1, local_target(check))
        asking.until(lambda: len(asking.outcomes) >= 2)
        pidfile.write_text(str(second.pid))
        asking.until(lambda: asking.outcomes[-1].detail == f"process {second.pid}")
        first.kill()
        count = len(asking.outcomes)
        asking.until(lambda: len(asking.outcomes) >= count + 3)
        assert all(each.ok for each in asking.outcomes)
        second.kill()
        asking.until(lambda: any(each.certain for each in asking.outcomes))
    first.wait()
    second.wait()


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (None, "cannot read {file}: No such file or directory"),
        ("none\n", "{file} holds no number"),
        ("", "{file} holds no number"),
        ("-1", "{file} holds no number"),
        ("4194303", "process 4194303 does not run"),
    ],
)
def test_a_pidfile_that_names_nobody_is_down_with_its_reason(tmp_path: Path, content: str | None, detail: str) -> None:
    pidfile = tmp_path / "pid"
    if content is not None:
        pidfile.write_text(content)
    outcome = ask(local_target(f"{{type: process, pidfile: {pidfile}}}"))
    assert (outcome.ok, outcome.detail) == (False, detail.format(file=pidfile))


def test_a_unit_is_its_first_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "CGROUPS", tmp_path)
    first = subprocess.Popen(["/bin/sleep", "60"])
    time.sleep(0.05)  # start times are in hundredths of a second
    second = subprocess.Popen(["/bin/sleep", "60"])
    try:
        (tmp_path / "own.service").mkdir()
        (tmp_path / "own.service" / "cgroup.procs").write_text(f"{second.pid}\n{first.pid}\n")
        assert ask(local_target("{type: process, unit: own.service}")).detail == f"process {first.pid}"
        (tmp_path / "own.service" / "cgroup.procs").write_text("")
        assert ask(local_target("{type: process, unit: own.service}")).detail == "unit own.service has no process"
        outcome = ask(local_target("{type: process, unit: none.service}"))
        assert outcome.detail.startswith("unit none.service does not run: No such file or directory")
    finally:
        for process in (first, second):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
