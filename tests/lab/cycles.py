"""`python -m tests.lab.cycles --count 100 [--topology FILE]`: lab up, lab down, each time a look at what is left; root.

Without a file it is a small lab of its own, with every kind of node and link that leaves something somewhere.

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
from lab.topology.parse import load
from tests.lab import machine

FAIRHOP = Path(sys.executable).with_name("fairhop")
_SETTLES = 10.0
_FIRST_CRASH, _CRASH_MOMENTS = 0.2, 20
SPREAD = 1.0  # seconds; the whole of a small lab's way up

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


def run(count: int, path: Path, tell: Callable[[str], None], spread: float = SPREAD) -> list[str]:
    """`count` cycles, every other one killed within `spread` seconds (0: none); findings with their cycle's number."""
    name = load(path.read_text(), path.name, folder=str(path.parent)).name
    findings = []
    for number in range(count):
        killed = bool(spread) and number % 2
        delay = _FIRST_CRASH + number % _CRASH_MOMENTS / _CRASH_MOMENTS * spread
        left = crash(path, name, delay) if killed else cycle(path, name)
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
    parser.add_argument("--topology", type=Path, help="A *.clab.yml file instead of the small lab.")
    parser.add_argument("--spread", type=float, default=SPREAD, help="Seconds in which kills come; 1.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.topology or write(Path(folder), f"fhns-cycles-{os.getpid()}")
        spread = 0.0 if options.no_crashes else options.spread
        findings = run(options.count, path, lambda text: print(text, flush=True), spread)
    print("\n".join(findings) or f"[PASS] {options.count} cycles left nothing")
    raise SystemExit(bool(findings))


if __name__ == "__main__":
    main()
