"""Measures what many flows cost: `python -m tests.lab.many_flows --flows 10000`, as root, on a machine that is idle.

Half are TCP connections with pings and half UDP flows, from one traffic process to the lab's own echo service, both in
one network namespace. It prints JSON: seconds of a processor that either side took per second, the worst stall of the
traffic process, and what was lost. Exit code 1 when a flow broke,
or when more than one in a hundred pings per flow has no answer, those under way at the end included.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from lab.traffic.facts import Facts, total
from lab.traffic.load import Load
from lab.traffic.plan import Connections, Datagrams, Plan
from tests.lab.privatenet import namespace, spawn

CLIENT, SERVER = "198.51.100.9", "203.0.113.11"
ECHO = """
import asyncio, resource
from edge.backend.echo import Echo
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
async def serve():
    async with Echo("a-b1", 7000, "203.0.113.11"):
        await asyncio.Event().wait()
asyncio.run(serve())
"""


def processor(pid: int) -> float:
    """Seconds of a processor that a process has taken."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def measure(netns: Path, flows: int, interval: float, seconds: float) -> tuple[dict[str, float], Facts]:
    """The figures, and the facts of the measured interval."""
    plan = Plan(
        {
            "tcp": Connections(CLIENT, f"{SERVER}:7000", flows // 2, interval),
            "udp": Datagrams(CLIENT, f"{SERVER}:7000", flows - flows // 2, interval, timeout=5.0),
        }
    )
    server = subprocess.Popen(["nsenter", f"--net={netns}", sys.executable, "-c", ECHO])
    try:
        time.sleep(1.0)
        client = spawn(netns, [sys.executable, "-m", "lab.traffic.process"])
        began = time.monotonic()
        with Load("client", client, plan) as load:
            load.wait_ready(120.0)
            ready = time.monotonic() - began
            time.sleep(2.0)
            before = processor(client.pid), processor(server.pid)
            load.mark("start")
            time.sleep(seconds)
            facts = total(load.mark("measured"))
            took = [
                now - then for now, then in zip((processor(client.pid), processor(server.pid)), before, strict=True)
            ]
    finally:
        server.kill()
        server.wait()
    figures = {
        "flows": facts.established,
        "interval": interval,
        "ready_after": round(ready, 1),
        "client_processor": round(took[0] / seconds, 3),
        "server_processor": round(took[1] / seconds, 3),
        "pings_per_second": round((facts.pings + facts.sent) / seconds),
        "worst_stall": round(facts.stall, 4),
        "longest_gap": round(facts.longest_gap, 4),
        "broken": facts.broken_connections,
        "pings_unanswered": facts.pings - facts.answers + facts.sent - facts.received,
    }
    return figures, facts


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flows", type=int, default=10_000)
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between the pings of a flow")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    addresses = [f"address add {address}/32 dev lo" for address in (CLIENT, SERVER)]
    with namespace("many", *addresses) as netns:
        figures, facts = measure(netns, options.flows, options.interval, options.seconds)
    print(json.dumps(figures, indent=2))
    allowed = options.flows * 0.01 + 10
    return int(facts.broken_connections > 0 or abs(figures["pings_unanswered"]) > allowed)


if __name__ == "__main__":
    sys.exit(main())
