"""A tool that makes faults and is killed with SIGKILL while they stand."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

from lab.faults import parse
from lab.faults.injector import Injector
from lab.netns.runtime import NetnsRuntime
from lab.topology.model import Topology


def leave(topology: Topology, *spelled: str) -> None:
    """Have a process of its own make the faults, in this order, and kill it once they are made."""
    argv = [sys.executable, "-m", __name__, *spelled]
    folder = Path(__file__).parents[3]
    with subprocess.Popen(argv, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tool:
        assert tool.stdin and tool.stdout
        pickle.dump(topology, tool.stdin)
        tool.stdin.close()
        said = tool.stdout.readline()
        os.kill(tool.pid, signal.SIGKILL)
    assert said == b"made\n", "what the tool said on stderr tells why"
    assert tool.returncode == -signal.SIGKILL


def main() -> None:
    """Make them, say so, wait to be killed."""
    topology: Topology = pickle.load(sys.stdin.buffer)
    injector = Injector(NetnsRuntime(topology), topology)
    for spelled in sys.argv[1:]:
        injector.apply(parse.load(spelled))
    print("made", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
