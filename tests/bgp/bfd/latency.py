"""How soon a peer knows: `python -m tests.bgp.bfd.latency --times N [--load M] [--beat 0.025] [--misses 4]`; root.

Two processes of ours at 10 ms x 3. Milliseconds from the fault to the moment at which the other end's session left Up:
the process stopped (silence), the daemon killed, the forwarder without beats, and AdminDown.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from bgp.bfd.config import BfdConfig
from bgp.bfd.gate import Source
from tests.bgp.bfd.endure import burning, join, ours
from tests.bgp.bfd.node import FAST, Node, node
from tests.bgp.routers.net import star
from tests.bgp.routers.router import eventually

Act = Callable[[Node], object]
BOTH = ["daemon", "forwarder"]


def _replace_process(near: Node) -> None:
    os.kill(near.known, signal.SIGKILL)
    eventually(lambda: near.ask()["pid"] not in (None, near.known), 10, "no new process")


def _replace_daemon(near: Node) -> None:
    near.kill()
    near.start()


CASES: dict[str, tuple[Act, Act]] = {
    "process stopped": (lambda near: os.kill(near.known, signal.SIGSTOP), _replace_process),
    "daemon killed": (lambda near: near.process.kill(), _replace_daemon),
    "forwarder silent": (lambda near: near.order(beat=["daemon"]), lambda near: near.order(beat=BOTH)),
    "admin down": (lambda near: near.order(admin_down=True), lambda near: near.order(admin_down=False)),
}
"""What is done, and what brings the session back."""


def measure(near: Node, far: Node, case: str, times: int) -> list[float]:
    """Milliseconds, sorted."""
    act, undo = CASES[case]
    found = []
    for number in range(times):
        near.up("ours4", 20)
        far.up("ours4", 20)
        near.known = near.pid
        time.sleep(0.05 + 0.003 * number)  # not in step with any timer
        began = time.monotonic()
        act(near)

        def down(since: float = began) -> list[float]:
            return [one["at"] for one in far.session("ours4").get("downs", []) if one["at"] > since]

        found.append((eventually(down, 5, f"{case}: nobody noticed")[0] - began) * 1e3)
        undo(near)
    return sorted(found)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m tests.bgp.bfd.latency", description=__doc__)
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--load", type=int, default=0, help="busy processes per core")
    parser.add_argument("--beat", type=float, default=0.025, help="the gate's interval in seconds")
    parser.add_argument("--misses", type=int, default=4)
    given = parser.parse_args()
    gate = tuple(Source(name, given.beat, given.misses) for name in BOTH)
    result: dict[str, Any] = {"gate_ms": given.beat * given.misses * 1e3, "load": given.load}
    with ExitStack() as stack:
        net = stack.enter_context(star("fh-bfd", ["e1", "e2"]))
        join(net)
        near, far = (
            stack.enter_context(node(net.leaves[name].netns, BfdConfig(ours(end, FAST), gate)))
            for end, name in enumerate(("e1", "e2"))
        )
        stack.enter_context(burning(given.load * (os.cpu_count() or 1)))
        for case in CASES:
            times = measure(near, far, case, given.times)
            shown = (times[0], times[len(times) // 2], times[-1])
            result[case] = dict(zip(("min", "median", "max"), (round(one, 2) for one in shown), strict=True))
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
