"""Lays the links: veth pairs made with both ends in their nodes' namespaces at once, so none strays into the host's."""

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from lab.netns import linux
from lab.runtime import LabError
from lab.topology.model import Endpoint, Link, Topology

_CLAB_OUI = "aa:c1:ab"


class LinkLayer:
    """Lays links, for any thread. Use as a context manager."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        # One thread owns the netlink socket: pyroute2 ties it to an event loop, and a caller's thread may have its own.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="links")
        self._netlink: Any = None

    def __enter__(self) -> "LinkLayer":
        self._opening = self._thread.submit(self._open)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.submit(lambda: self._netlink and self._netlink.close()).result()
        self._thread.shutdown()

    def lay(self, node: str) -> None:
        """Lay the links of `node` that are missing; the other ends' namespaces are there already. Raises `LabError`."""
        links = [link for link in self._topology.links if node in (link.a.node, link.b.node)]
        self._thread.submit(self._lay, links).result()

    def _open(self) -> None:
        from pyroute2 import IPRoute  # noqa: PLC0415 - costs 0.2 s, spent while the first nodes start

        self._netlink = IPRoute()

    def _lay(self, links: Iterable[Link]) -> None:
        self._opening.result()
        for link in links:
            present = [self._exists(end) for end in link.ends]
            if any(present) and not all(present):
                raise LabError(f"link {link.a} - {link.b} has lost one end: take the lab down and up again")
            if not any(present):
                self._create(link)

    def _create(self, link: Link) -> None:
        with contextlib.ExitStack() as stack:
            first, second = (stack.enter_context(_opened(self._pin(end.node))) for end in link.ends)
            try:
                self._netlink.link(
                    "add",
                    kind="veth",
                    ifname=link.a.interface,
                    net_ns_fd=first,
                    mtu=link.mtu,
                    address=self._mac(link.a),
                    peer={
                        "ifname": link.b.interface,
                        "net_ns_fd": second,
                        "mtu": link.mtu,
                        "address": self._mac(link.b),
                    },
                )
            except Exception as error:
                raise LabError(f"link {link.a} - {link.b} cannot be made: {error}") from error
        for end in link.ends:
            linux.in_netns(self._pin(end.node), partial(_activate, end.interface))

    def _exists(self, end: Endpoint) -> bool:
        return linux.in_netns(self._pin(end.node), lambda: _is_interface(end.interface))

    def _pin(self, node: str) -> str:
        return f"/run/netns/{self._topology.long_name(node)}"

    def _mac(self, end: Endpoint) -> str:
        """The file's, or one of containerlab's kind that is the same in every run."""
        digest = hashlib.sha256(f"{self._topology.name} {end}".encode()).hexdigest()
        return end.mac or f"{_CLAB_OUI}:{digest[0:2]}:{digest[2:4]}:{digest[4:6]}"


@contextlib.contextmanager
def _opened(path: str) -> Any:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_interface(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


def _activate(interface: str) -> None:
    linux.transmit_checksum_off(interface)
    linux.set_up(interface)
