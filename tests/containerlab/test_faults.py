"""Faults on real containerlab: each does what it says, and afterwards the two nodes are as they were before.

What a fault needs of nft, tc, ip and sysctls is done from the host in the node's namespaces, for in an unprivileged
container /proc/sys is read-only, and its image may lack the programs.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.clab.runtime import ContainerlabRuntime
from lab.faults import parse
from lab.faults.injector import Injector
from lab.topology.parse import load
from tests.containerlab import tier
from tests.containerlab.conftest import MakeRuntime
from tests.lab import machine

pytestmark = [pytest.mark.containerlab, pytest.mark.timeout(600)]

NAME = "fh-clab-faults"
# All that a fault might leave in a node; counters and the questions themselves apart.
STATE = (
    "ip -o address; ip -4 route show table all; ip -6 route show table all; tc qdisc; nft list ruleset; ip -o link;"
    "cat /proc/self/mounts; cat /proc/sys/net/ipv4/fib_multipath_hash_*; cat /proc/sys/net/ipv6/fib_multipath_hash_*;"
    "cat /proc/sys/net/ipv6/conf/*/keep_addr_on_down; ps -eo stat=,args= | grep -v 'ps -eo\\|sh -c ip\\|grep'"
)


@dataclass(frozen=True)
class Pair:
    """The two nodes, up, and the hand that breaks them."""

    runtime: ContainerlabRuntime
    injector: Injector

    def shell(self, node: str, script: str) -> str:
        """The output of a script in a node, whatever its exit code."""
        done = self.runtime.exec(node, ["sh", "-c", script])
        return done.stdout + done.stderr

    def pings(self, size: int = 56) -> bool:
        """Whether one of three pings from right to left is answered."""
        return self.runtime.exec("right", [*PING, "-c", "3", "-s", str(size), "10.0.0.0"]).returncode == 0

    def states(self, word: str) -> set[str]:
        """The state letters of left's processes with a word in their command line."""
        lines = self.shell("left", "ps -eo stat=,args=").splitlines()
        return {line[0] for line in lines if word in line and "tini" not in line}

    def settled(self) -> bool:
        """Whether both ends have their link-local address, and have looked whether anybody else has it."""
        said = [self.shell(node, "ip -6 -o address show dev eth1 scope link") for node in ("left", "right")]
        return all("fe80::" in each and "tentative" not in each for each in said)

    def state(self) -> list[str]:
        """All that a fault might leave."""
        said = [f"{node}: {line}" for node in ("left", "right") for line in self.shell(node, STATE).splitlines()]
        # The number by which a node knows the namespace of a link's other end is a new one when that is started again.
        plain = [re.sub(r"link-netnsid \d+", "link-netnsid", line) for line in said]
        plain = [re.sub(r"(left|right): [SRD]\S* +(?=\D)", r"\1: S ", line) for line in plain]
        return sorted(re.sub(r"(valid|preferred)_lft \S+", "", line) for line in plain if "multicast ff00" not in line)

    def is_again(self, before: list[str]) -> None:
        """Fail unless the state is what it was, once the kernel has looked for link-local addresses given twice."""
        deadline = time.monotonic() + 5
        while (now := self.state()) != before and time.monotonic() < deadline:
            time.sleep(0.2)
        assert sorted(set(now) ^ set(before)) == []


PING = ["ping", "-n", "-i", "0.2", "-W", "1", "-M", "do"]


@pytest.fixture(scope="module")
def pair(make_runtime: MakeRuntime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("faults")
    file = folder / "pair.clab.yml"
    file.write_text((tier.HERE / "pair.clab.yml").read_text().replace("fh-clab-pair", NAME))
    (folder / "pair").symlink_to(tier.HERE / "pair")
    runtime = make_runtime(file)
    injector = Injector(runtime, load(file.read_text(), file.name, folder=str(folder)))
    try:
        runtime.deploy(lambda _: None)
        made = Pair(runtime, injector)
        machine.wait_until(made.settled)
        yield made
    finally:
        injector.revert_all()
        runtime.destroy(lambda _: None)


def deaf(pair: Pair) -> bool:
    return not pair.pings()


def deaf_to_large_ones(pair: Pair) -> bool:
    return pair.pings(1000) and not pair.pings(1400)


def lossy(pair: Pair) -> bool:
    """Of 200 packets 50 % get lost: fewer than 60 or more than 140 in one of ten million runs."""
    said = pair.shell("right", "ping -n -q -c 200 -i 0.005 -W 1 10.0.0.0")
    received = re.search(r"(\d+) received", said)
    return received is not None and 60 < int(received[1]) < 140


def slow(pair: Pair) -> bool:
    """Twenty packets of 1400 bytes at once take 0.2 s at 1 Mbit/s; the bucket holds two of them."""
    said = pair.shell("right", "ping -n -q -c 20 -l 20 -i 0.001 -s 1400 -W 3 10.0.0.0")
    worst = re.search(r"= [\d.]+/[\d.]+/([\d.]+)/", said)
    return worst is not None and float(worst[1]) > 100


def full(pair: Pair) -> bool:
    return "No space left" in pair.shell("left", "head -c 100000 /dev/zero > /var/tmp/new")


def stopped(pair: Pair) -> bool:
    return pair.states("sleep infinity") == {"T"}


def rehashed(pair: Pair) -> bool:
    return pair.shell("left", "cat /proc/sys/net/ipv4/fib_multipath_hash_policy") == "1\n"


def dead(pair: Pair) -> bool:
    return {node.name: node.state for node in pair.runtime.nodes()} == {"left": "exited", "right": "running"}


def bfd_dropped(pair: Pair) -> bool:
    """BFD does not arrive and another port does: what listens there says so."""
    listen = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', PORT)); s.settimeout(1)"
    heard = []
    for port in (3784, 3783):
        script = f"{listen.replace('PORT', str(port))}; print('up', flush=True); print(s.recv(9))"
        send = f"import socket; socket.socket(2, 2).sendto(b'bfd', ('10.0.0.0', {port}))"
        with pair.runtime.spawn("left", ["python3", "-c", script]) as listener:
            assert listener.stdout is not None
            assert listener.stdout.readline() == "up\n"
            pair.runtime.exec("right", ["python3", "-c", send])
            heard.append("bfd" in listener.stdout.read())
    return heard == [False, True]


FAULTS: list[tuple[str, Callable[[Pair], bool]]] = [
    ('loss: {on: "left:eth1", percent: 50, direction: in}', lossy),
    ('blackhole: {on: "left:eth1", direction: out}', deaf),
    ('link-down: {on: "left:eth1"}', deaf),
    ('rate: {on: "left:eth1", mbit: 1, queue_ms: 1000}', slow),
    ('mtu: {on: "left:eth1", bytes: 1300}', deaf_to_large_ones),
    ('bfd-down: {on: "left:eth1"}', bfd_dropped),
    ("pause: {node: left}", stopped),
    ("freeze: {node: left, process: sleep 4712}", lambda pair: pair.states("sleep 4712") == {"T"}),
    ("disk-full: {node: left, path: /var/tmp}", full),
    ("ecmp-rehash: {node: left, by: policy, value: 1}", rehashed),
]


@pytest.mark.parametrize(("spelled", "shows"), FAULTS, ids=[spelled.partition(":")[0] for spelled, _ in FAULTS])
def test_a_fault_shows_and_is_gone_afterwards(pair: Pair, spelled: str, shows: Callable[[Pair], bool]) -> None:
    helper = "freeze" in spelled
    if helper:
        pair.shell("left", "setsid sleep 4712 >/dev/null 2>&1 &")
    assert pair.pings()
    assert not shows(pair), "the check would pass without the fault"
    before = pair.state()
    pair.injector.apply(parse.load(spelled), "it")
    try:
        assert shows(pair)
    finally:
        pair.injector.revert("it")
    assert pair.pings()
    pair.is_again(before)
    assert pair.injector.active() == []
    if helper:
        pair.injector.apply(parse.load("kill-process: {node: left, process: sleep 4712}"))
        assert pair.states("sleep 4712") == set()


def test_a_killed_node_comes_back_as_it_was(pair: Pair) -> None:
    """Addresses, routes, interfaces, mounts, sysctls and programs of both nodes, in a new namespace."""
    before = pair.state()
    pair.injector.apply(parse.load("kill: {node: left}"), "it")
    assert dead(pair)
    pair.injector.revert("it")
    assert pair.pings()
    pair.is_again(before)
    assert pair.injector.active() == []


def test_a_router_restarts_with_its_links(pair: Pair) -> None:
    first = {node.name: node.pid for node in pair.runtime.nodes()}["left"]
    pair.injector.apply(parse.load("router-restart: {node: left, down: 0.2}"))
    assert {node.name: node.pid for node in pair.runtime.nodes()}["left"] not in (0, first)
    assert pair.pings()


def test_the_journal_of_the_lab_is_empty(pair: Pair) -> None:
    path = Path("/run/fairhop/lab", NAME, "faults.json")
    assert not path.exists() or '"name"' not in path.read_text()
