"""Asks a deployed lab as clients would: who answers each VIP, before and after an edge is drained. Of any runtime."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge.datapath.model import Protocol
from lab import planning
from lab.addressing import Role
from lab.job import convergence
from lab.observe.routes import RouteWatch
from lab.runtime import Runtime
from lab.topology.model import Topology
from tests.lab.machine import wait_until

# How a client asks at each port of our labs.
_HOW = {
    (Protocol.TCP, 80): "http",
    (Protocol.TCP, 443): "tls",
    (Protocol.TCP, 7000): "tcp",
    (Protocol.UDP, 7000): "udp",
}

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

    def __init__(self, runtime: Runtime, topology: Topology, watch: RouteWatch) -> None:
        self.runtime, self.plan, self.watch = runtime, planning.plan(topology), watch

    @property
    def edges(self) -> frozenset[str]:
        return self._names(Role.EDGE)

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(client.name for client in self.plan.having(Role.CLIENT))

    def shell(self, node: str, script: str) -> str:
        done = self.runtime.exec(node, ["sh", "-c", script])
        assert done.returncode == 0, f"{node}: {script}: {done.stdout}{done.stderr}"
        return done.stdout

    def ask(
        self, what: str, vip: str, port: int, times: int = 30, name: str = "vip", client: str = "client-a"
    ) -> Counter[str]:
        done = self.runtime.exec(client, ["python3", "-c", ASK, what, vip, str(port), str(times), name], 60)
        assert done.returncode == 0, done.stderr
        return Counter(json.loads(done.stdout))

    def answers_of_all(self, said: Counter[str], times: int = 30) -> None:
        """Every request was answered by a backend, and more than one backend answered."""
        assert {*said} <= self._names(Role.BACKEND), said
        assert said.total() == times
        assert len(said) > 1

    def every_vip_answers(self, client: str, times: int = 12) -> None:
        """Every service of both families and on all its ports, asked by one client."""
        for service in self.plan.services:
            for vip in service.vips:
                for protocol, port in service.ports:
                    what = "quic" if service.quic else _HOW[protocol, port]
                    self.answers_of_all(self.ask(what, str(vip), port, times, "www.example.net", client), times)

    def announcing(self, *edges: str) -> None:
        self.watch.wait_for(convergence.expected(self.plan, edges), 10.0)

    def await_backends(self) -> None:
        """Until every backend is in the tables of every edge that is fairhop."""
        for edge in self.plan.having(Role.EDGE):
            if edge.target == "fairhop":
                wait_until(lambda edge=edge: all_healthy(self.facts(edge.name)), 15.0)  # type: ignore[misc]

    def facts(self, edge: str) -> Any:
        return json.loads(self.shell(edge, "fairhop status --wait --json"))

    def drain(self, edge: str) -> None:
        """As the operators of what serves there would; returns when the routers' kernels have followed."""
        fairhop = self.plan.nodes[edge].target == "fairhop"
        self.shell(edge, f"fairhop drain node {edge} --wait" if fairhop else "node-start drain")
        self.announcing(*self.edges - {edge})

    def _names(self, role: Role) -> frozenset[str]:
        return frozenset(node.name for node in self.plan.having(role))


def all_healthy(facts: Any) -> bool:
    return all(pool["healthy"] == len(pool["backends"]) for pool in facts["pools"])


@contextmanager
def converged(runtime: Runtime, topology: Topology, within: float = 30.0) -> Iterator[Lab]:
    """The lab that the runtime has deployed, once every router's kernel sends every VIP to all edges."""
    plan = planning.plan(topology)
    netns = {router: runtime.netns(router) for router in convergence.routers(plan)}
    with RouteWatch(netns, convergence.vip_prefixes(plan)) as watch:
        lab = Lab(runtime, topology, watch)
        watch.wait_for(convergence.expected(plan, lab.edges), within)
        yield lab


def missing_devices() -> list[str]:
    """The types of tunnel device that a stock receiver needs and this kernel has not."""
    found = []
    for kind in ("sit", "gre"):
        argv = f"unshare --net ip link add dev fh type {kind} local 10.0.9.1 remote any"
        if subprocess.run(argv.split(), capture_output=True, check=False).returncode:
            found.append(kind)
    return found
