"""The log's sink: a pipe that nobody reads costs lines and no time, and says later how many."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from edge.log.sink import BUFFER, LogSink

LINE = "x" * 999


def test_a_full_pipe_delays_nobody_and_the_lost_lines_are_counted_and_told() -> None:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with open(reading, "rb") as out, open(writing, "w") as stream:  # noqa: PTH123
        sink = LogSink(stream)
        began = time.monotonic()
        for _ in range(1000):
            sink.write(LINE)
        assert time.monotonic() - began < 1.0  # a write that waits would wait for ever
        kept = BUFFER // 1000
        assert 1000 - kept - 5 <= sink.lost <= 1000 - kept
        lost = sink.lost
        whole = told = 0
        while whole + told < 1000:  # a line that found room after lost ones has the count of these before it
            line = out.readline().decode()
            whole += line == LINE + "\n"
            told += int(line.split()[1]) if line.startswith("log: ") else 0
        assert (whole, told) == (1000 - lost, lost)
        sink.write("after it")
        assert out.readline() == b"after it\n"
        assert sink.lost == lost


def test_a_reader_that_is_gone_costs_lines_only() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:  # noqa: PTH123
        sink = LogSink(stream)
        sink.write("nobody hears this")
        assert sink.flush(5)
        assert sink.lost == 1


def test_the_last_lines_are_written_before_the_process_ends() -> None:
    code = "import sys; from edge.log.sink import LogSink; LogSink(sys.stderr).write('farewell')"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], check=True, cwd=root, capture_output=True, timeout=30)
    assert done.stderr == b"farewell\n"


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    log = "import sys; from edge.log.sink import LogSink; s = LogSink(sys.stderr)"
    code = f"{log}; [s.write('x' * 9999) for _ in range(20)]"
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.PIPE) as process:
        assert process.wait(20) == 0
