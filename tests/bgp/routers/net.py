"""A star of network namespaces: one router in the middle, a link to each leaf; nothing of it stays.

Leaf number k has 10.77.k.1/31 and fd77:0:0:k::1/127, the router's end 10.77.k.0 and fd77:0:0:k::.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from itertools import count
from pathlib import Path

import pytest

_numbers = count()
TOOLS = {
    "frr": ("/usr/lib/frr/bgpd", "frr"),
    "bird": ("/usr/sbin/bird", "bird2"),
    "gobgp": ("/usr/bin/gobgpd", "gobgpd"),
}


def needs(*kinds: str) -> None:
    """Skip, naming what is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes network namespaces")
    missing = [TOOLS[kind] for kind in kinds if not Path(TOOLS[kind][0]).exists()]
    if missing:
        pytest.skip(f"needs {', '.join(program for program, _ in missing)} (apt install {missing[0][1]})")
    if not shutil.which("ip"):
        pytest.skip("needs ip (apt install iproute2)")


@dataclass(frozen=True)
class Leaf:
    """One neighbour of the router and the link between them."""

    name: str
    netns: Path
    interface: str  # the router's end
    address: IPv4Address
    address6: IPv6Address
    router: IPv4Address
    router6: IPv6Address


@dataclass(frozen=True)
class Star:
    """The router's namespace and its leaves by name."""

    netns: Path
    leaves: dict[str, Leaf]


def command(netns: Path, *argv: str) -> list[str]:
    """The argument vector that runs a program inside a namespace."""
    return ["nsenter", f"--net={netns}", *argv]


def run_in(netns: Path, *argv: str) -> str:
    """Run a command inside a namespace that must succeed; its standard output."""
    done = subprocess.run(command(netns, *argv), capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def star(prefix: str, leaves: Sequence[str]) -> Iterator[Star]:
    """Namespaces `PREFIX-PID-N-...`, linked and addressed; gone at the end, however it came."""
    base = f"{prefix}-{os.getpid()}-{next(_numbers)}"
    made: list[str] = []

    def namespace(label: str) -> Path:
        name = f"{base}-{label}"
        subprocess.run(["ip", "netns", "add", name], check=True)
        made.append(name)
        return Path("/run/netns") / name

    try:
        router = namespace("r")
        run_in(router, "ip", "link", "set", "lo", "up")
        found = {name: _leaf(router, namespace(name), name, number) for number, name in enumerate(leaves, 1)}
        yield Star(router, found)
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], check=False)


def _leaf(router: Path, netns: Path, name: str, number: int) -> Leaf:
    interface = f"eth{number}"
    run_in(netns, "ip", "link", "set", "lo", "up")
    run_in(router, "ip", "link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", netns.name)
    for where, device, end in ((router, interface, 0), (netns, "eth0", 1)):
        run_in(where, "ip", "address", "add", f"10.77.{number}.{end}/31", "dev", device)
        run_in(where, "ip", "address", "add", f"fd77:0:0:{number:x}::{end or ''}/127", "dev", device, "nodad")
        run_in(where, "ip", "link", "set", device, "up")
    hop4, hop6 = f"10.77.{number}.0", f"fd77:0:0:{number:x}::"
    run_in(netns, "ip", "route", "add", "default", "via", hop4)
    run_in(netns, "ip", "route", "add", "default", "via", hop6)
    return Leaf(
        name, netns, interface,
        IPv4Address(f"10.77.{number}.1"), IPv6Address(f"fd77:0:0:{number:x}::1"), IPv4Address(hop4), IPv6Address(hop6),
    )  # fmt: skip
