"""Each lab with other routers, receivers or targets, deployed: it converges, answers, drains and goes away."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from lab import planning
from lab.addressing import LabPlan, Role
from lab.job import convergence
from lab.netns.runtime import NetnsRuntime
from lab.observe.routes import RouteWatch
from lab.runtime import LabError
from lab.topology.model import Topology
from tests.lab import machine, other_labs
from tests.lab.machine import wait_until

pytestmark = machine.marks

# Runs in the client: asks a VIP so many times, each time by a new flow, and prints who answered (or why nobody did).
ASK = r"""
import collections, json, os, socket, ssl, sys
sys.path.insert(0, "")
from lab.traffic.quic_server import first_datagram, later_datagram
what, vip, port, times, name = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
said = collections.Counter()

def stream():
    connection = socket.create_connection((vip, port), 3)
    if what == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = context.wrap_socket(connection, server_hostname=name)
    return connection

def datagrams():
    found = socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM)
    found.settimeout(3)
    found.connect((vip, port))
    return found

def ask():
    if what in ("http", "tls"):
        with stream() as connection:
            connection.sendall(f"GET / HTTP/1.0\r\nHost: {name}\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        return [line for line in answer.decode().splitlines() if line.lower().startswith("x-backend")][0].split()[1]
    if what == "tcp":
        with stream() as connection:
            connection.sendall(b"ping 1\n")
            answer = connection.recv(100).decode()
    elif what == "udp":
        with datagrams() as connection:
            connection.send(b"ping 1")
            answer = connection.recv(100).decode()
    else:  # quic: by a new source port each time, as after a change of the client's address
        with datagrams() as connection:
            connection.send(first_datagram(os.urandom(8), b"ping 1"))
            server, cid, _, _ = connection.recv(100).decode().split(" ")
        for _ in range(5):
            with datagrams() as connection:
                connection.send(later_datagram(bytes.fromhex(cid), b"ping 1"))
                answer = connection.recv(100).decode()
            assert answer.split(" ")[:2] == [server, cid], f"{server} gave {cid}, then: {answer}"
        return server
    assert answer.strip().endswith(" ping 1"), answer
    return answer.split(" ")[0]

for _ in range(times):
    try:
        said[ask()] += 1
    except (OSError, AssertionError, IndexError, ValueError) as error:
        said[f"{type(error).__name__}: {error}"] += 1
print(json.dumps(said))
"""


class Lab:
    """A deployed lab, its plan, and a watch on its routers' kernels."""

    def __init__(self, runtime: NetnsRuntime, topology: Topology, watch: RouteWatch) -> None:
        self.runtime, self.plan, self.watch = runtime, planning.plan(topology), watch

    @property
    def edges(self) -> frozenset[str]:
        return frozenset(edge.name for edge in self.plan.having(Role.EDGE))

    def shell(self, node: str, script: str) -> str:
        done = self.runtime.exec(node, ["sh", "-c", script])
        assert done.returncode == 0, f"{node}: {script}: {done.stdout}{done.stderr}"
        return done.stdout

    def ask(self, what: str, vip: str, port: int, times: int = 30, name: str = "vip") -> Counter[str]:
        done = self.runtime.exec("client-a", ["python3", "-c", ASK, what, vip, str(port), str(times), name], 60)
        assert done.returncode == 0, done.stderr
        return Counter(json.loads(done.stdout))

    def announcing(self, *edges: str) -> None:
        self.watch.wait_for(convergence.expected(self.plan, edges), 10.0)

    def await_backends(self) -> None:
        for edge in self.edges:
            wait_until(lambda edge=edge: all_healthy(self.facts(edge)), 15.0)  # type: ignore[misc]

    def facts(self, edge: str) -> Any:
        return json.loads(self.shell(edge, "fairhop status --wait --json"))

    def drain_with_fairhop(self) -> None:
        self.shell("a-e1", "fairhop drain node a-e1 --wait")
        self.announcing("a-e2")


def all_healthy(facts: Any) -> bool:
    return all(pool["healthy"] == len(pool["backends"]) for pool in facts["pools"])


def needs(*programs: str) -> None:
    missing = [one for one in programs if not shutil.which(one) and not shutil.which(f"/usr/sbin/{one}")]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@contextmanager
def deployed(name: str) -> Iterator[Lab]:
    """The shipped lab under another name; nothing of it stays."""
    topology = replace(other_labs.topology(name), name=f"fhot-{name}")
    plan: LabPlan = planning.plan(topology)
    with NetnsRuntime(topology) as runtime:
        runtime.deploy(lambda _: None)
        netns = {router: runtime.netns(router) for router in convergence.routers(plan)}
        with RouteWatch(netns, convergence.vip_prefixes(plan)) as watch:
            lab = Lab(runtime, topology, watch)
            watch.wait_for(convergence.expected(plan, lab.edges), 30.0)
            yield lab
    machine.wait_for_nothing(topology.name)


def answers_of_all(said: Counter[str], times: int = 30) -> None:
    """Every request was answered by a backend, and more than one backend answered."""
    assert {*said} <= {"a-b1", "a-b2", "a-b3"}, said
    assert said.total() == times
    assert len(said) > 1


@pytest.mark.parametrize("name", ["bird", "gobgp"])
def test_other_routers_balance_over_the_edges_and_follow_a_drain(name: str) -> None:
    needs(*{"bird": ("bird",), "gobgp": ("gobgpd", "gobgp")}[name])
    with deployed(name) as lab:
        lab.await_backends()
        for vip in ("203.0.113.10", "2001:db8:1::10"):
            answers_of_all(lab.ask("http", vip, 80))
        answers_of_all(lab.ask("udp", "203.0.113.11", 7000))
        hops = lab.shell("a-r1", "ip route show 203.0.113.10; ip -6 route show 2001:db8:1::10")
        assert hops.count("nexthop via") == 4, hops
        lab.drain_with_fairhop()
        answers_of_all(lab.ask("http", "203.0.113.10", 80))
        if name == "bird":
            for vip in ("203.0.113.12", "2001:db8:1::12"):
                answers_of_all(lab.ask("quic", vip, 443, times=10), 10)
            said = lab.shell("a-s1", "etcdctl put fairhop here && etcdctl get fairhop")
            assert said.split() == ["OK", "fairhop", "here"]


@pytest.mark.parametrize("name", ["haproxy", "nft"])
def test_a_target_serves_drains_and_leaves_out_what_is_dead(name: str) -> None:
    needs("bird", name)
    with deployed(name) as lab:
        wait_until(lambda: {*lab.ask("http", "203.0.113.10", 80, 20)} == {"a-b1", "a-b2", "a-b3"}, 15.0)
        for vip, vip6 in (("203.0.113.10", "2001:db8:1::10"), ("203.0.113.11", "2001:db8:1::11")):
            what, port = ("http", 80) if vip.endswith(".10") else ("tcp", 7000)
            answers_of_all(lab.ask(what, vip, port))
            answers_of_all(lab.ask(what, vip6, port))
        if name == "nft":
            answers_of_all(lab.ask("udp", "203.0.113.11", 7000))
        process = "haproxy" if name == "haproxy" else "nft_balance"
        lab.shell("a-e1", "node-start drain")
        lab.announcing("a-e2")
        lab.shell("a-e1", f"pgrep -f {process}")
        answers_of_all(lab.ask("http", "203.0.113.10", 80))
        lab.shell("a-e1", "node-start undrain")
        lab.announcing("a-e1", "a-e2")
        lab.shell("a-b1", "touch /run/hold/nginx; pkill nginx")
        # Until the checks have found it dead nftables goes on sending to it, which is refused.
        wait_until(lambda: {*lab.ask("http", "203.0.113.10", 80, 12)} == {"a-b2", "a-b3"}, 10.0)
        answers_of_all(lab.ask("http", "203.0.113.10", 80))
        lab.shell("a-b2", "touch /run/hold/nginx; pkill nginx")
        lab.shell("a-b3", "touch /run/hold/nginx; pkill nginx")
        lab.announcing()  # with no backend alive an edge withdraws
        lab.shell("a-b2", "rm /run/hold/nginx")
        lab.announcing("a-e1", "a-e2")
        wait_until(lambda: lab.ask("http", "203.0.113.10", 80, 5) == {"a-b2": 5}, 10.0)


def test_two_tiers_answer_directly_and_tls_reaches_the_named_server() -> None:
    needs("haproxy", "openssl")
    with deployed("two-tier") as lab:
        lab.await_backends()
        answers_of_all(lab.ask("http", "203.0.113.10", 80))
        for backend, vip in (("a-b1", "203.0.113.10"), ("a-b2", "2001:db8:1::10"), ("a-b3", "203.0.113.10")):
            assert lab.ask("tls", vip, 443, 4, f"{backend}.example.net") == {backend: 4}
        answers_of_all(lab.ask("tls", "203.0.113.10", 443, 12, "www.example.net"), 12)
        refused = lab.ask("tls", "203.0.113.10", 443, 1, "other.example.net")
        assert "Error" in next(iter(refused)), "a name that no server has"
        ask = "echo | openssl s_client -connect 203.0.113.10:443 -servername a-b2.example.net"
        fetched = lab.shell("client-a", ask)
        assert "CN = a-b2.example.net" in fetched
        lab.drain_with_fairhop()
        answers_of_all(lab.ask("http", "203.0.113.10", 80))


def missing_devices() -> list[str]:
    """The types of tunnel device that a stock receiver needs and this kernel has not."""
    found = []
    for kind in ("sit", "gre"):
        argv = f"unshare --net ip link add dev fh type {kind} local 10.0.9.1 remote any"
        if subprocess.run(argv.split(), capture_output=True, check=False).returncode:
            found.append(kind)
    return found


def test_stock_receivers_take_tunnels_or_the_kernel_is_said_to_have_none() -> None:
    if missing_devices():
        said = r"cannot make device fh-gre of type gre, .* Unknown device type"
        with pytest.raises(LabError, match=said), deployed("stock"):
            pass
    else:
        with deployed("stock") as lab:
            lab.await_backends()
            answers_of_all(lab.ask("http", "203.0.113.10", 80))
            answers_of_all(lab.ask("http", "2001:db8:1::10", 80))
            answers_of_all(lab.ask("udp", "203.0.113.11", 7000))
            lab.drain_with_fairhop()
    machine.wait_for_nothing("fhot-stock")
