"""`python -m tests.lab.cycles --count 100`: lab up, lab down, and each time a look at what is left. Needs root.

Every other of the crash cycles kills the tool with SIGKILL while the lab comes up, at a moment that moves on from cycle
to cycle. What is looked at, by the lab's name and by the tools that were run: processes of its nodes, guardians, pinned
namespaces, mounts (a BPF file system's too), links in the machine's own namespace, cgroups and files.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lab.netns.runtime import destroy
from tests.lab import machine

FAIRHOP = Path(sys.executable).with_name("fairhop")
_SETTLES = 10.0
_CRASH_STEP, _CRASH_MOMENTS = 0.05, 20  # seconds; the whole of a small lab's way up

LINK = f"fhc{os.getpid()}"  # the one interface in the machine's own namespace

BODY = """name: {name}
topology:
  defaults: {{kind: linux, network-mode: none}}
  nodes:
    n1: {{cmd: sh -c 'mkdir -p /run/bpf && mount -t bpf bpf /run/bpf; exec sleep infinity'}}
    n2: {{tmpfs: {{/scratch: size=1m}}, healthcheck: {{test: [CMD, test, -d, /scratch]}}}}
    br|n1: {{kind: bridge, network-mode: "container:n1"}}
    sw: {{kind: bridge}}
  links:
    - {{endpoints: ["n1:fhns1", "n2:fhns1"], mtu: 1500}}
    - {{endpoints: ["br|n1:fhns2", "n2:fhns2"]}}
    - {{endpoints: ["sw:fhns3", "n2:fhns3"]}}
    - {{endpoints: ["n1:fhns4", "host:{link}"]}}
"""


def write(folder: Path, name: str) -> Path:
    """A lab of every kind of node and link that leaves something somewhere."""
    path = folder / f"{name}.clab.yml"
    path.write_text(BODY.format(name=name, link=LINK))
    return path


def leftovers(name: str, tools: list[int]) -> list[str]:
    """What the lab still has, once the kernel had time to take it away."""
    deadline = time.monotonic() + _SETTLES
    while (left := found(name, tools)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def found(name: str, tools: list[int]) -> list[str]:
    """What the lab has just now, and guardians of these tools, in words."""
    link = [f"link {LINK}"] if Path("/sys/class/net", LINK).exists() else []
    return [*machine.traces(name), *machine.guardians_of(tools), *link]


def cycle(path: Path, name: str) -> list[str]:
    """Up and down; what is left. Raises CalledProcessError when either fails."""
    return leftovers(name, [call("deploy", path), call("down", path)])


def crash(path: Path, name: str, delay: float) -> list[str]:
    """Kill -9 the tool `delay` seconds after its start; what is left without anybody's help."""
    argv = [str(FAIRHOP), "lab", "deploy", "-t", str(path)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tool:
        time.sleep(delay)
        tool.send_signal(signal.SIGKILL)
        tool.wait()
    if machine.record_is_kept(name):  # it was done already, and what is kept stays until it is taken down
        call("down", path)
    return leftovers(name, [tool.pid])


def call(verb: str, path: Path) -> int:
    """Run a verb to its end; the process that it was. Raises CalledProcessError when it fails."""
    argv = [str(FAIRHOP), "lab", verb, "-t", str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as tool:
        said = tool.communicate(timeout=60)[0]
    if tool.returncode:
        raise subprocess.CalledProcessError(tool.returncode, argv, said)
    return tool.pid


def run(count: int, folder: Path, name: str, tell: Callable[[str], None], *, crashes: bool) -> list[str]:
    """`count` cycles; every finding with the number of its cycle."""
    path = write(folder, name)
    findings = []
    for number in range(count):
        killed = crashes and number % 2
        left = crash(path, name, 0.2 + number % _CRASH_MOMENTS * _CRASH_STEP) if killed else cycle(path, name)
        findings += [f"cycle {number}: {word}" for word in left]
        tell(f"cycle {number} ({'killed' if killed else 'up and down'}): {len(left)} things left")
        if left:
            destroy(name)
    return findings


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Lab up and down again and again; nothing may stay.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--no-crashes", action="store_true", help="Only orderly cycles.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        name = f"fhns-cycles-{os.getpid()}"
        findings = run(
            options.count, Path(folder), name, lambda text: print(text, flush=True), crashes=not options.no_crashes
        )
    print("\n".join(findings) or f"[PASS] {options.count} cycles left nothing")
    raise SystemExit(bool(findings))


if __name__ == "__main__":
    main()
