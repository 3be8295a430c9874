"""Writes GoBGP's routes into the kernel: `python3 -m lab.nodes.gobgp_routes NETWORKS-FILE READY-FILE`.

GoBGP 3.10 was meant to do so through FRR's zebra, but does not speak with zebra 8.4: it ends in a panic, or installs
nothing (docs/lab.md). So this follows `gobgp monitor global rib` and reads the whole table again after each change, and
once a second in case one was missed. First it lets GoBGP originate NETWORKS, one prefix a line, and takes away the
routes of an earlier run. READY-FILE appears when the sessions that this router has to make itself are there, or have
failed for 20 s: GoBGP first calls after 5 to 10 s.
"""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from lab.nodes.gobgp_table import Routes, changes, routes

_MAX_PATHS: Final = 16
_AGAIN: Final = 1.0  # s
_CALLS_WITHIN: Final = 20.0  # s
_ESTABLISHED: Final = 6  # gobgp's number of that state
_FAMILIES = ("ipv4", "ipv6")


def gobgp(*arguments: str) -> str:
    """The output of a gobgp command. Raises CalledProcessError."""
    return subprocess.run(["gobgp", *arguments], check=True, capture_output=True, text=True).stdout


def originate(networks: list[str]) -> None:
    """Put the router's own networks into the table."""
    for network in networks:
        gobgp("global", "rib", "add", "-a", "ipv6" if ":" in network else "ipv4", network)


def read() -> Routes:
    """Both tables."""
    tables = [gobgp("global", "rib", "-j", "-a", family) for family in _FAMILIES]
    return {prefix: hops for table in tables for prefix, hops in routes(table, _MAX_PATHS).items()}


def has_called() -> bool:
    """Whether every session that this end makes is established."""
    neighbours = json.loads(gobgp("neighbor", "-j"))
    calls = [one for one in neighbours if not one.get("transport", {}).get("passive_mode")]
    return all(one.get("state", {}).get("session_state") == _ESTABLISHED for one in calls)


def install(installed: Routes, wanted: Routes) -> Routes:
    """Bring the kernel to `wanted`; what it refused (an interface is down) is tried again. What is there now."""
    lines = [*changes(installed, wanted)]
    if not lines:
        return installed
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(["ip", "-force", "-batch", "-"], input=text, text=True, capture_output=True, check=False)
    if done.returncode == 0:
        return wanted
    print(f"gobgp-routes: {done.stderr.strip()}", flush=True)  # noqa: T201
    return {}


def follow(ready: Path) -> None:
    """Follow the table until gobgpd ends."""
    with subprocess.Popen(["gobgp", "monitor", "global", "rib", "-j"], stdout=subprocess.PIPE) as monitor:
        assert monitor.stdout is not None
        installed: Routes = {}
        patience = time.monotonic() + _CALLS_WITHIN
        descriptor = monitor.stdout.fileno()
        while monitor.poll() is None:
            installed = install(installed, read())
            if not ready.exists() and (time.monotonic() > patience or has_called()):
                ready.touch()
            if select.select([descriptor], [], [], _AGAIN)[0]:
                os.read(descriptor, 1 << 16)  # what changed is read from the table


def main(networks: Path, ready: Path) -> None:
    """Clean up, originate, follow."""
    for family in ("-4", "-6"):
        subprocess.run(["ip", family, "route", "flush", "proto", "bgp"], check=False, capture_output=True)
    originate(networks.read_text().split())
    follow(ready)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
