"""Follows the labs of namespaces on this machine: nodes that start, end and become ready, links that go up and down.

Another process deploys and ends them; this one looks: at the labs' records (files), at each PID 1 (a pidfd tells of its
end), at each network namespace (rtnetlink tells of its links). Only new nodes are found by looking again, every 0.1 s.
"""

import os
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from edge.datapath import netlink, rtnetlink
from lab.netns import linux, state

_LOOK_EVERY = 0.1
_RECEIVE = 1 << 16
_GROUPS = 1  # RTMGRP_LINK


@dataclass(frozen=True, slots=True)
class Event:
    """`action`: of a lab deployed, destroyed; of a node started, ready, ended; of a link up, down, gone."""

    time: str
    lab: str
    type: str
    action: str
    node: str = ""
    interface: str = ""
    pid: int = 0


@dataclass
class _Watched:
    """What is known of one lab."""

    pids: dict[str, tuple[int, int]] = field(default_factory=dict)  # node -> pid, pidfd
    ready: set[str] = field(default_factory=set)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    links: dict[tuple[str, str], bool] = field(default_factory=dict)


class LabWatch:
    """`follow` yields events for ever; `close` lets go of all descriptors. `only`: one lab, or all when empty."""

    def __init__(self, only: str = "") -> None:
        self._only = only
        self._labs: dict[str, _Watched] = {}
        self._poll = select.poll()
        self._owners: dict[int, tuple[str, str]] = {}

    def close(self) -> None:
        """Let go of everything."""
        for name in list(self._labs):
            self._forget(name)

    def follow(self, seconds: float | None = None) -> Iterator[Event]:
        """Events as they happen, beginning with what there is; ends after `seconds`, if given."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while deadline is None or time.monotonic() < deadline:
            yield from self._look()
            for descriptor, _ in self._poll.poll(_LOOK_EVERY * 1000):
                lab, node = self._owners.get(descriptor, ("", ""))
                if lab:
                    yield from self._on_descriptor(descriptor, lab, node)

    def _on_descriptor(self, descriptor: int, lab: str, node: str) -> Iterator[Event]:
        watched = self._labs[lab]
        pid, pidfd = watched.pids.get(node, (0, -1))
        if descriptor == pidfd:
            self._drop(pidfd)
            del watched.pids[node]
            watched.ready.discard(node)
            yield _event(lab, "node", "ended", node, pid=pid)
            return
        try:
            data = watched.sockets[node].recv(_RECEIVE)
        except OSError:
            return  # overrun: the next look asks anew
        for message in netlink.messages(data):
            if message.type in (netlink.RTM_NEWLINK, netlink.RTM_DELLINK):
                fact = rtnetlink.read_link(message.payload)
                gone = message.type == netlink.RTM_DELLINK
                yield from self._on_link(lab, node, fact.name, up=fact.up and not gone, gone=gone)

    def _on_link(self, lab: str, node: str, interface: str, *, up: bool, gone: bool) -> Iterator[Event]:
        links = self._labs[lab].links
        if interface == "lo" or (links.get((node, interface)) == (up and not gone) and not gone):
            return
        if gone:
            if links.pop((node, interface), None) is not None:
                yield _event(lab, "link", "gone", node, interface)
            return
        links[node, interface] = up
        yield _event(lab, "link", "up" if up else "down", node, interface)

    def _look(self) -> Iterator[Event]:
        """Find labs and nodes that came or went since the last look."""
        present = [name for name in state.labs() if not self._only or name == self._only]
        for name in [known for known in self._labs if known not in present]:
            yield from (
                _event(name, "node", "ended", node, pid=pid) for node, (pid, _) in self._labs[name].pids.items()
            )
            self._forget(name)
            yield _event(name, "lab", "destroyed")
        for name in present:
            try:
                record = state.read(name)
            except ValueError:
                continue  # written by another version of this tool
            if record is None:
                continue
            if name not in self._labs:
                self._labs[name] = _Watched()
                yield _event(name, "lab", "deployed")
            for node, pin in record.netns.items():
                self._open_socket(name, node, pin)
            for node in record.labels:
                yield from self._find_process(name, node)

    def _find_process(self, lab: str, node: str) -> Iterator[Event]:
        watched = self._labs[lab]
        pid = state.node_pid(lab, node)
        if node in watched.pids:
            if node not in watched.ready and state.is_ready(lab, node, watched.pids[node][0]):
                watched.ready.add(node)
                yield _event(lab, "node", "ready", node, pid=pid)
            return
        if not pid:
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        watched.pids[node] = pid, pidfd
        self._take(pidfd, lab, node)
        yield _event(lab, "node", "started", node, pid=pid)

    def _open_socket(self, lab: str, node: str, pin: str) -> None:
        """A socket in the node's namespace that is told of its links, and asked for those that are there."""
        if node in self._labs[lab].sockets:
            return

        def make() -> socket.socket:
            handle = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            handle.bind((0, _GROUPS))
            handle.setblocking(False)
            handle.send(rtnetlink.dump_request(netlink.RTM_GETLINK, 1))
            return handle

        try:
            handle = linux.in_netns(pin, make)
        except OSError:
            return  # not made yet, or gone
        self._labs[lab].sockets[node] = handle
        self._take(handle.fileno(), lab, node)

    def _take(self, descriptor: int, lab: str, node: str) -> None:
        self._owners[descriptor] = lab, node
        self._poll.register(descriptor, select.POLLIN)

    def _drop(self, descriptor: int) -> None:
        self._poll.unregister(descriptor)
        del self._owners[descriptor]
        os.close(descriptor)

    def _forget(self, lab: str) -> None:
        watched = self._labs.pop(lab)
        for _, pidfd in watched.pids.values():
            self._drop(pidfd)
        for handle in watched.sockets.values():
            self._poll.unregister(handle)
            del self._owners[handle.fileno()]
            handle.close()


def _event(lab: str, kind: str, action: str, node: str = "", interface: str = "", pid: int = 0) -> Event:
    return Event(datetime.now(UTC).isoformat(timespec="milliseconds"), lab, kind, action, node, interface, pid)
