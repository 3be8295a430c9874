"""BFD under full load: `python -m tests.bgp.bfd.endure --minutes N --load M [--interval 0.01] [--out FILE]`; root.

One process of ours speaks to BIRD and to a second process of ours, over IPv4 and IPv6, while M processes per core
burn it. Every session that leaves Up is counted at each end, with its reason; what comes out is JSON. BIRD is given
SCHED_DEADLINE too, as a router would not share the burning machine: without it, its own packets come late. Witnesses
tell when a core ran nothing at all; downs at such a moment are counted, and counted again apart as `in_pauses`.
"""

import argparse
import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from bgp.bfd.config import BfdConfig, BfdPeer
from bgp.bfd.gate import Source
from bgp.bfd.privileges import run_on_time
from tests.bgp.bfd.node import Node, node, peer4, peer6
from tests.bgp.routers.bird import Bird
from tests.bgp.routers.net import Star, run_in, star
from tests.bgp.routers.router import running
from tests.pauses import Pause, Pauses, covering, witnessed

_BIRD = """\
log stderr all;
router id 10.77.1.0;
protocol device {{}}
protocol bfd {{
  debug {{ states, events }};
  interface "*" {{ min rx interval {ms} ms; min tx interval {ms} ms; multiplier 3; }};
  neighbor 10.77.1.1;
  neighbor fd77:0:0:1::1;
}}
"""
_ENDS = (("10.78.0.0", "10.78.0.1"), ("fd78::", "fd78::1"))


def _burn(nice: int) -> None:
    os.nice(nice)
    while True:
        sum(range(1000))


@contextmanager
def burning(count: int, nice: int = 0) -> Iterator[None]:
    """So many processes that do nothing else."""
    burners = [multiprocessing.Process(target=_burn, args=(nice,), daemon=True) for _ in range(count)]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def run_first(pid: int, priority: int) -> None:
    """What our process takes, for every thread of another; BIRD's BFD has one of its own."""
    for task in Path(f"/proc/{pid}/task").iterdir() if priority else ():
        if run_on_time(int(task.name)):
            os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(priority))


def join(net: Star) -> None:
    """A link between the two leaves, for the two processes of ours."""
    first, second = net.leaves["e1"].netns, net.leaves["e2"].netns
    run_in(first, "ip", "link", "add", "pair", "type", "veth", "peer", "name", "pair", "netns", second.name)
    for netns, end in ((first, 0), (second, 1)):
        run_in(netns, "ip", "address", "add", f"{_ENDS[0][end]}/31", "dev", "pair")
        run_in(netns, "ip", "address", "add", f"{_ENDS[1][end]}/127", "dev", "pair", "nodad")
        run_in(netns, "ip", "link", "set", "pair", "up")


def ours(own: int, interval: float) -> tuple[BfdPeer, ...]:
    pairs = [(ip_address(ends[1 - own]), ip_address(ends[own])) for ends in _ENDS]
    return tuple(BfdPeer(f"ours{peer.version}", peer, local, tx=interval, rx=interval) for peer, local in pairs)


def endure(
    seconds: float, load: int, interval: float, gate: tuple[Source, ...], priority: int = 10, nice: int = 0
) -> dict[str, Any]:
    """Run for so long under `load` busy processes per core; the downs and pauses of each session."""
    with ExitStack() as stack:
        net = stack.enter_context(star("fh-bfd", ["e1", "e2"]))
        bird = stack.enter_context(running(Bird, net, _BIRD.format(ms=round(interval * 1e3))))
        join(net)
        leaf = net.leaves["e1"]
        times = {"tx": interval, "rx": interval}
        near = (peer4(leaf, "bird4", **times), peer6(leaf, "bird6", **times), *ours(0, interval))
        configs = (BfdConfig(near, gate, priority=priority), BfdConfig(ours(1, interval), gate, priority=priority))
        nodes = [stack.enter_context(node(net.leaves[n].netns, c)) for n, c in zip(("e1", "e2"), configs, strict=True)]
        for one in nodes:
            for peer in one.config.peers:
                one.up(peer.name)
        time.sleep(1.0)
        run_first(bird.processes["bird"].pid, priority)
        marks, log = [len(one.events) for one in nodes], len(bird.log)
        began = time.monotonic()
        with witnessed() as pauses, burning(load * (os.cpu_count() or 1), nice):
            _wait(began + seconds, nodes, marks, pauses)
            stood = pauses.found
        found = [_found(one, mark, stood) for one, mark in zip(nodes, marks, strict=True)]
        theirs = len(re.findall(r"state from Up to Down", bird.log[log:]))
        measured = {"seconds": round(time.monotonic() - began, 1), "load": load, "interval": interval}
        measured.update({name: int(os.environ.get(f"FAIRHOP_{name.upper()}", "0")) for name in ("nice", "first")})
        return {
            **measured,
            "gate": {source.name: source.limit for source in gate},
            "bird_false_downs": theirs,
            "pauses": [(p.core, round(p.start - began, 3), round((p.end - p.start) * 1e3, 1)) for p in stood],
            "remarks": [remark for one in found for remark in one["remarks"]],
            "near": found[0],
            "far": found[1],
        }


def _wait(end: float, nodes: list[Node], marks: list[int], pauses: Pauses) -> None:
    """Until the end, with a line a minute for who waits too; the witnesses are heard before their pipes are full."""
    began = time.monotonic()
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(60.0, left))
        downs = sum(len(_downs(one, mark)) for one, mark in zip(nodes, marks, strict=True))
        sys.stderr.write(f"{(time.monotonic() - began) / 60:5.1f} min, {downs} downs, {len(pauses.found)} pauses\n")


def _downs(one: Node, mark: int) -> list[dict[str, Any]]:
    return [e for e in one.events[mark:] if e.get("old") == "up" and e["subject"].startswith("bfd ")]


def _found(one: Node, mark: int, pauses: list[Pause]) -> dict[str, Any]:
    downs = _downs(one, mark)
    answer = one.ask()
    times = {f"bfd {peer.name}": 3 * peer.rx for peer in one.config.peers}
    still = [covering(pauses, e["at"], times[e["subject"]], times[e["subject"]] / 3) for e in downs]
    return {
        "false_downs": len(downs),
        "in_pauses": sum(map(bool, still)),
        "downs": [(e["subject"], e["reason"]) for e in downs],
        "gaps_ms": {session["name"]: _ms(session["gaps"]) for session in answer["sessions"]},
        "beats_ms": _ms(answer["beats"]),
        **_remarks(answer),
    }


def _remarks(answer: dict[str, Any]) -> dict[str, Any]:
    return {"remarks": answer["state"]["remarks"]}


def _ms(gaps: dict[str, float]) -> dict[str, float]:
    return {key: value if key == "count" else round(value * 1e3, 2) for key, value in gaps.items()}


def main() -> int:
    """Entry point; status 1 when a session went down."""
    parser = argparse.ArgumentParser(prog="python -m tests.bgp.bfd.endure", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--load", type=int, default=2, help="busy processes per core")
    parser.add_argument("--interval", type=float, default=0.01, help="seconds; the multiplier is 3")
    parser.add_argument("--beat", type=float, default=0.025, help="the gate's interval in seconds")
    parser.add_argument("--misses", type=int, default=4)
    parser.add_argument("--priority", type=int, default=10, help="0 for no real-time scheduling")
    parser.add_argument("--nice", type=int, default=0, help="of the daemons that beat")
    parser.add_argument("--first", type=int, default=0, help="their priority of SCHED_FIFO; 0 for none")
    parser.add_argument("--load-nice", type=int, default=0, help="of the busy processes")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    os.environ.update(FAIRHOP_NICE=str(given.nice), FAIRHOP_FIRST=str(given.first))
    gate = tuple(Source(name, given.beat, given.misses) for name in ("daemon", "forwarder"))
    found = endure(given.minutes * 60, given.load, given.interval, gate, given.priority, given.load_nice)
    result = json.dumps(found, indent=1)
    if given.out:
        given.out.write_text(result)
    sys.stdout.write(result + "\n")
    plain = json.loads(result)
    return int(bool(plain["near"]["false_downs"] or plain["far"]["false_downs"] or plain["bird_false_downs"]))


if __name__ == "__main__":
    sys.exit(main())
