"""Looks at a running lab each second, through `lab.runtime.Runtime`, and publishes what its state is.

One thread takes samples; a second one asks for BGP sessions, which takes programs and is done less often, the less the
longer it takes. Nothing here keeps the lab's namespaces alive once its nodes are gone.
"""

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_network
from types import TracebackType
from typing import Self

from edge.control.ask import DEFAULT_SOCKET, RefusedError, UnreachableError, ask
from edge.datapath.netlink import NetlinkError
from lab.addressing import LabPlan, Role
from lab.netns.state import STATE
from lab.observe.inside import inside
from lab.observe.routes import RouteWatch
from lab.observe.session_text import COMMANDS
from lab.runtime import LabError, NodeStatus, Runtime
from lab.topology.model import Topology
from lab.view import counters, faults, sessions
from lab.view.live import Ends, Live
from lab.view.model import ActiveFault, Change, Counters, NodeSample, Sample
from lab.view.server import Board

_EVERY = 1.0
_SESSIONS_EVERY, _SESSIONS_SHARE = 4.0, 10.0  # seconds between rounds, and at least so many times what a round took
_ASKED_WITHIN = 10.0
_DATAGRAM = 1 << 17


class Source:
    """Watches one lab until it is closed. As a context manager it starts and closes."""

    def __init__(self, runtime: Runtime, topology: Topology, plan: LabPlan | None, board: Board) -> None:
        """`plan`: None for a lab without our labels, of which no routes are watched."""
        self._runtime, self._topology, self._plan, self._board = runtime, topology, plan, board
        links = [Ends(each.a.node, each.a.interface, each.b.node, each.b.interface) for each in topology.links]
        self._live = Live(topology.name, runtime.name, links, addresses(plan))
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._watch: RouteWatch | None = None
        self._watched: Mapping[str, int] = {}  # router -> its network namespace when the watch was opened
        self._told_until = 0.0
        self._running: Mapping[str, NodeStatus] = {}
        names = {"samples": self._sample_on, "sessions": self._ask_on}
        self._threads = [threading.Thread(target=target, name=name, daemon=True) for name, target in names.items()]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(_ASKED_WITHIN)
        self._close_watch()

    def _sample_on(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            sample = self._sample()
            with self._lock:
                self._live.take(sample)
                self._live.take_changes(self._changes(sample))
                state = self._live.state(time.monotonic())
            self._board.publish(state)
            due = max(due + _EVERY, time.monotonic())
            self._ended.wait(due - time.monotonic())

    def _sample(self) -> Sample:
        problems: list[str] = []
        try:
            nodes = {node.name: node for node in self._runtime.nodes()}
        except (LabError, OSError) as error:
            problems.append(str(error))
            nodes = {}
        self._running = {name: node for name, node in nodes.items() if node.state == "running"}
        found = {}
        for name, node in nodes.items():
            try:
                interfaces = inside(self._runtime.netns(name), _read) if node.state != "absent" else {}
            except (LabError, OSError, NetlinkError) as error:
                problems.append(f"{name}: {error}")
                interfaces = {}
            found[name] = NodeSample(node.state, interfaces)
        return Sample(time.monotonic(), found, self._faults(problems), problems)

    def _faults(self, problems: list[str]) -> list[ActiveFault]:
        path = STATE / self._topology.name / "faults.json"
        try:
            return faults.read(path.read_text())
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            problems.append(f"{path}: {error}")
            return []

    def _changes(self, sample: Sample) -> list[Change]:
        """The changes of routes since the last round; the watch is there while the routers are."""
        routers = [
            name for name in _routers(self._plan) if name in sample.nodes and sample.nodes[name].state != "absent"
        ]
        if not routers or self._plan is None:
            self._close_watch()
            return []
        try:
            netns = {name: self._runtime.netns(name) for name in routers}
            places = {name: path.stat().st_ino for name, path in netns.items()}
            if places != self._watched:  # on containerlab a router that was started again has another namespace
                self._close_watch()
            if self._watch is None:
                prefixes = {ip_network(vip) for vip in self._plan.vips}
                self._watch, self._watched = RouteWatch(netns, prefixes), places
                self._told_until = time.monotonic()
            now = time.monotonic()
            events = [event for event in self._watch.events(self._told_until, now) if event.time > self._told_until]
            self._told_until = now
        except (LabError, OSError):
            self._close_watch()
            return []
        return [Change(e.time, e.router, str(e.prefix), tuple(str(hop) for hop in e.hops)) for e in events]

    def _close_watch(self) -> None:
        if self._watch is not None:
            with suppress(LabError, OSError):
                self._watch.close()
            self._watch = None

    def _ask_on(self) -> None:
        """Ask every router and edge for its sessions, one after the other."""
        while not self._ended.wait(0.2):
            began = time.monotonic()
            for name, node in list(self._running.items()):
                if self._ended.is_set():
                    return
                self._ask(name, node)
            took = time.monotonic() - began
            if self._running:
                self._ended.wait(max(_SESSIONS_EVERY, took * _SESSIONS_SHARE) - took)

    def _ask(self, name: str, node: NodeStatus) -> None:
        labels = self._topology.nodes[name].labels
        role, problem, found = labels.get("fairhop.role", ""), "", []
        try:
            if role == "router":
                kind = labels.get("fairhop.router", "frr")
                done = self._runtime.exec(name, COMMANDS[kind], _ASKED_WITHIN)
                if done.returncode:
                    raise LabError((done.stderr or done.stdout).strip()[:200] or f"exit code {done.returncode}")
                found = sessions.of_router(kind, done.stdout)
            elif role == "edge" and labels.get("fairhop.target", "fairhop") == "fairhop":
                # The node's root as the host sees it: no program has to start in the node.
                found = sessions.of_edge(ask(f"/proc/{node.pid}/root{DEFAULT_SOCKET}", "bgp", _ASKED_WITHIN))
            else:
                return
        except (LabError, OSError, KeyError, ValueError, UnreachableError, RefusedError) as error:
            problem = str(error)
        with self._lock:
            self._live.take_sessions(name, time.monotonic(), found, problem)


def addresses(plan: LabPlan | None) -> dict[str, str]:
    """The node of each address of a link or a loopback."""
    if plan is None:
        return {}
    return {
        str(address.ip): name
        for name, node in plan.nodes.items()
        for interface in node.interfaces
        for address in (interface.address, interface.address6)
        if address
    }


def _routers(plan: LabPlan | None) -> list[str]:
    return [name for name, node in plan.nodes.items() if node.role is Role.ROUTER] if plan else []


def _read() -> dict[str, Counters]:
    """All interfaces of the namespace this is called in."""
    found: dict[str, Counters] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as sock:
        sock.settimeout(1.0)
        sock.send(counters.counters_request(1))
        while not counters.read_counters(sock.recv(_DATAGRAM), found):
            pass
    return found
