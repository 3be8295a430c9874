"""Three plain Linux nodes in a row, h1 - r - h2, with routes written by hand: what faults of links are tried on."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.faults import parse
from lab.faults.injector import Injector
from lab.netns.runtime import NetnsRuntime
from lab.topology import parse as topologies
from lab.topology.model import Topology

FILE = """
name: NAME
topology:
  defaults:
    kind: linux
    image: none
    network-mode: none
    sysctls: {net.ipv6.conf.all.accept_dad: 0, net.ipv6.conf.default.accept_dad: 0}
  nodes:
    h1:
      exec:
        - ip address add 10.9.1.1/24 dev eth1
        - ip address add fd09:1::1/64 dev eth1 nodad
        - ip route add 10.9.2.0/24 via 10.9.1.2
        - ip route add fd09:2::/64 via fd09:1::2
    r:
      sysctls: {net.ipv4.ip_forward: 1, net.ipv6.conf.all.forwarding: 1}
      exec:
        - ip address add 10.9.1.2/24 dev eth1
        - ip address add fd09:1::2/64 dev eth1 nodad
        - ip address add 10.9.2.2/24 dev eth2
        - ip address add fd09:2::2/64 dev eth2 nodad
        - ip route add 10.9.9.0/24 via 10.9.2.1 metric 7
    h2:
      cmd: sh -c 'sleep 1000000 & exec sleep 2000000'
      exec:
        - ip address add 10.9.2.1/24 dev eth1
        - ip address add fd09:2::1/64 dev eth1 nodad
        - ip route add 10.9.1.0/24 via 10.9.2.2
        - ip route add fd09:1::/64 via fd09:2::2
  links:
    - {endpoints: ["h1:eth1", "r:eth1"], mtu: 1500}
    - {endpoints: ["r:eth2", "h2:eth1"], mtu: 1500}
"""


class Lab:
    """The lab and what breaks it."""

    def __init__(self, runtime: NetnsRuntime, topology: Topology) -> None:
        self.runtime, self.topology = runtime, topology
        self.injector = Injector(runtime, topology)

    def apply(self, spelled: str) -> str:
        """Make a fault; its name."""
        return self.injector.apply(parse.load(spelled)).name

    def ping(self, to: str, *options: str) -> tuple[int, list[float]]:
        """(sent, round trips in ms) of a ping from the first node."""
        return ping(self.runtime, "h1", to, *options)


@contextmanager
def trio(label: str) -> Iterator[Lab]:
    """The lab, up; nothing of it stays."""
    name = f"fault-{label}-{os.getpid()}"
    topology = topologies.load(FILE.replace("NAME", name), f"{name}.clab.yml", folder=str(Path.cwd()))
    with NetnsRuntime(topology) as runtime:
        runtime.deploy(lambda _: None)
        for node in topology.nodes:
            for end in topology.endpoints(node):
                shell(runtime, node, f"ethtool -K {end.interface} tx off tso off gso off gro off")
        yield Lab(runtime, topology)


@contextmanager
def as_before(lab: Lab) -> Iterator[None]:
    """The lab must be after each test as it was before; what a test leaves is undone."""
    before = whole_state(lab.runtime, lab.topology)
    yield
    lab.injector.revert_all()
    assert answered(lab.runtime, "h1", "10.9.2.1")
    assert answered(lab.runtime, "h1", "fd09:2::1")
    same_state(lab.runtime, lab.topology, before)
    assert journal(lab.topology) == []


def shell(runtime: NetnsRuntime, node: str, script: str) -> str:
    """The output of a script in a node, whatever its exit code."""
    return runtime.exec(node, ["sh", "-c", script], timeout=60).stdout


def whole_state(runtime: NetnsRuntime, topology: Topology) -> str:
    """All that a fault might leave: addresses, routes, qdiscs, nft, sysctls, mounts, processes; counters apart."""
    script = (
        "ip -o address; ip -4 route show table all; ip -6 route show table all; tc qdisc; nft list ruleset;"
        "ip -o link; cat /proc/self/mounts; grep -r . /proc/sys/net/ipv4/fib_multipath* 2>/dev/null;"
        "grep . /proc/sys/net/ipv6/conf/*/keep_addr_on_down; ps -eo stat=,args= | grep -v 'ps -eo\\|sh -c ip\\|grep'"
    )
    texts = []
    for node in topology.nodes:
        said = re.sub(r"valid_lft \S+|preferred_lft \S+|expires \S+|\(deleted\)", "", shell(runtime, node, script))
        said = re.sub(r"^(S|R|D)\S*", "S", said, flags=re.MULTILINE)
        texts += [f"{node}: {line}" for line in sorted(said.splitlines()) if "multicast ff00" not in line]
    return "\n".join(texts)


def same_state(runtime: NetnsRuntime, topology: Topology, before: str) -> None:
    """The state is what it was, at the latest when the kernel has looked for twice given link-local addresses."""
    deadline = time.monotonic() + 5
    while (now := whole_state(runtime, topology)) != before and time.monotonic() < deadline:
        time.sleep(0.2)
    changed = sorted(set(before.splitlines()) ^ set(now.splitlines()))
    assert not changed, "\n".join(changed)


def ping(runtime: NetnsRuntime, node: str, to: str, *options: str) -> tuple[int, list[float]]:
    """(sent, round trips in ms) of a ping."""
    said = runtime.exec(node, ["ping", "-n", *options, to], timeout=120).stdout
    sent = re.search(r"(\d+) packets transmitted", said)
    times = [float(word) for word in re.findall(r"time=([\d.]+) ms", said)]
    return int(sent[1]) if sent else 0, times


def answered(runtime: NetnsRuntime, node: str, to: str) -> bool:
    """Whether one ping of a few is answered: after a link comes back, a neighbor is asked for anew."""
    for _ in range(20):
        if ping(runtime, node, to, "-c", "1", "-W", "1")[1]:
            return True
        time.sleep(0.1)
    return False


def journal(topology: Topology) -> list[str]:
    """The names in the lab's journal; empty when there is none."""
    path = Path("/run/fairhop/lab", topology.name, "faults.json")
    return [each["name"] for each in json.loads(path.read_text())["faults"]] if path.exists() else []
