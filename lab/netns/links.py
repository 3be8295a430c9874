"""Lays the links: both ends of a pair are made in their nodes' namespaces at once, so none strays into the machine's.

One thread does it all. It keeps a socket in each namespace that it has been in: a socket stays in the namespace where
it was opened, so that an interface costs some system calls and neither a thread nor a process.
"""

import errno
import hashlib
import os
import socket
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from edge.datapath import netlink
from lab.netns import link_messages, linux
from lab.netns.places import Places, host_netns
from lab.runtime import LabError
from lab.topology.model import Endpoint, Link

_CLAB_OUI = "aa:c1:ab"
_RECEIVE = 1 << 16


class LinkLayer:
    """Lays links, for any thread. Use as a context manager."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._topology = places.topology
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="links")
        self._spaces: dict[str, _Space] = {}

    def __enter__(self) -> "LinkLayer":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def lay(self, node: str) -> None:
        """Lay the links of `node` that are missing; the other ends' namespaces are there already. Raises `LabError`."""
        self._thread.submit(self._lay, node).result()

    def _close(self) -> None:
        for space in self._spaces.values():
            space.close()
        self._spaces.clear()

    def _lay(self, node: str) -> None:
        try:
            self._make_bridges(node)
        except OSError as error:
            raise LabError(f"bridge of {node} cannot be made: {error}") from error
        for link in self._topology.links:
            if any(end.node == node for end in link.ends):
                self._lay_link(link)

    def _lay_link(self, link: Link) -> None:
        ends = link.interfaces
        present = [bool(self._space(end).index(end.interface)) for end in ends]
        if any(present) and not all(present):
            raise LabError(f"link {link.a} - {link.b} has lost one end: take the lab down and up again")
        if any(present):
            return
        try:
            self._create(link)
            for end in ends:
                self._finish(end)
        except OSError as error:
            hint = f": this kernel has no {link.kind} devices" if error.errno == errno.EOPNOTSUPP else ""
            raise LabError(f"link {link.a} - {link.b} cannot be made: {error}{hint}") from error

    def _create(self, link: Link) -> None:
        host = self._open(host_netns())
        first = self._written(link.a, link)
        match link.kind:
            case "veth" | "host":
                host.ask(link_messages.veth(first, self._written(link.b, link), host.next()))
            case "macvlan":
                host.ask(link_messages.macvlan(first, host.require(link.b.interface), link.options, host.next()))
            case "vxlan":
                parent = link.options.get("parent-interface")
                index = host.require(parent) if parent else 0
                host.ask(link_messages.vxlan(first, link.b.interface, index, link.options, host.next()))
            case "dummy":
                host.ask(link_messages.plain(first, "dummy", host.next()))

    def _written(self, end: Endpoint, link: Link) -> bytes:
        mtu = 0 if link.kind == "macvlan" else link.mtu  # that of the parent, as in containerlab
        return link_messages.interface(end.interface, self._space(end).descriptor, mtu, self._mac(end))

    def _finish(self, end: Endpoint) -> None:
        space = self._space(end)
        linux.transmit_checksum_off(end.interface, space.handle)
        linux.set_up(end.interface, space.handle)
        if master := self._places.master(end):
            self._make_bridges(end.node)
            space.ask(link_messages.enslave(space.require(end.interface), space.require(master), space.next()))

    def _make_bridges(self, node: str) -> None:
        for bridge in self._places.bridges(node):
            space = self._open(self._places.netns(node))
            if not space.index(bridge):
                space.ask(link_messages.plain(link_messages.interface(bridge), "bridge", space.next()))
                linux.set_up(bridge, space.handle)

    def _space(self, end: Endpoint) -> "_Space":
        return self._open(self._places.netns(end.node))

    def _open(self, path: str) -> "_Space":
        if path not in self._spaces:
            self._spaces[path] = _Space(path)
        return self._spaces[path]

    def _mac(self, end: Endpoint) -> str:
        """The file's, or one of containerlab's kind that is the same in every run."""
        digest = hashlib.sha256(f"{self._topology.name} {end}".encode()).hexdigest()
        return end.mac or f"{_CLAB_OUI}:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}"


class _Space:
    """Sockets in one network namespace. Opening one moves the calling thread there."""

    def __init__(self, path: str) -> None:
        linux.setns(path, linux.CLONE_NEWNET)
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._sequence = 0

    def close(self) -> None:
        """Let go of the namespace."""
        os.close(self.descriptor)
        self.handle.close()
        self._netlink.close()

    def index(self, interface: str) -> int:
        """The interface's number, 0 when there is none of that name."""
        return linux.interface_index(interface, self.handle)

    def require(self, interface: str) -> int:
        """Its number; OSError when there is none."""
        found = self.index(interface)
        if not found:
            raise OSError(errno.ENODEV, f"there is no interface {interface}")
        return found

    def next(self) -> int:
        """A number for the next request."""
        self._sequence += 1
        return self._sequence

    def ask(self, message: bytes) -> None:
        """Send a request and take the kernel's answer; raises OSError."""
        self._netlink.send(message)
        for answer in netlink.messages(self._netlink.recv(_RECEIVE)):
            code = netlink.error_code(answer.payload) if answer.type == netlink.NLMSG_ERROR else 0
            if code:
                raise OSError(code, os.strerror(code))


def delete_host_interfaces(names: Collection[str]) -> None:
    """Remove interfaces of the machine's own namespace that are there; raises OSError."""

    def run() -> None:
        space = _Space(host_netns())
        try:
            for name in names:
                if index := space.index(name):
                    space.ask(link_messages.delete(index, space.next()))
        except OSError as error:
            if error.errno != errno.ENODEV:  # it went with the other end's namespace meanwhile
                raise
        finally:
            space.close()

    if names:
        linux.in_thread(run)
