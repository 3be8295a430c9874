"""The part of the bench that attaches: `python -m lab.bench.inside ROUNDS FRAMES`, JSON on stdout.

The process leaves the machine's network and mounts behind before it touches either; with it, all that it made is gone.
"""

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from edge.datapath.bpf_error import BpfError
from edge.datapath.forwarder import Forwarder
from edge.datapath.model import NextHop
from edge.datapath.xdp import Mode, interface_index
from lab.bench import generations, veth
from lab.bench.harness import FLOOR, BenchError
from lab.bench.world import OWN_MAC, ROUTER_MAC, Scale, state
from lab.netns import linux

FORWARD = "forward"


def measure(rounds: int, frames: int) -> dict[str, Any]:
    """Figures of `veth` and `generations`. Only for a process of its own: it never comes back to its namespaces."""
    linux.unshare(linux.CLONE_NEWNET | linux.CLONE_NEWNS)
    linux.mount("", "/", flags=linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("sysfs", "/sys", "sysfs")
    pairs = {FORWARD: veth.Pair("e0", "r0"), FLOOR: veth.Pair("e1", "r1")}
    for pair in pairs.values():
        pair.lay()
    with ExitStack() as held:
        pins = Path(held.enter_context(tempfile.TemporaryDirectory()))
        linux.mount("bpf", str(pins), "bpf")
        held.callback(linux.unmount, str(pins))
        forwarder = held.enter_context(Forwarder.open(pins / "bench", ["e0"], Mode.NATIVE))
        wanted = state(Scale(), hop=NextHop(interface_index("e0"), OWN_MAC, ROUTER_MAC))
        forwarder.apply(wanted)
        rates = veth.measure(pairs, rounds, frames, _tell)
        counters = forwarder.counters()
        if counters.tx != counters.rx:
            raise BenchError(f"veth: the forwarder sent {counters.tx} of {counters.rx} packets: {counters.drops}")
        return {
            "veth": [{"program": name, "what": kind, "rounds": values} for (name, kind), values in rates.items()],
            "generations": generations.measure(forwarder, wanted, rounds, _tell),
        }


def _tell(message: str) -> None:
    click.echo(message, err=True)


if __name__ == "__main__":
    try:
        click.echo(json.dumps(measure(*map(int, sys.argv[1:]))))
    except (BenchError, BpfError, OSError) as error:
        sys.exit(str(error))
