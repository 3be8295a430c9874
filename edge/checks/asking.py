"""The shape of a probe: a generator that says which descriptor it waits for, so that one epoll holds ten thousand.

A probe yields `(descriptor, epoll events)`, is resumed when one of them is there, and returns a `Verdict`. It raises
OSError for what the peer or the network does; the engine throws `GeneratorExit` into it when its time is over, and its
`finally` closes what it opened. No task, no future and no stream stand between it and the kernel.
"""

import contextlib
import errno
import os
import select
import socket
import ssl
import struct
from collections.abc import Generator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol, TypeVar

from edge.checks.target import Target

if TYPE_CHECKING:
    from edge.checks.raw import Raw

IN, OUT = select.EPOLLIN, select.EPOLLOUT
_READ = 1 << 14
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST, and no TIME_WAIT holds the port
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}

Wait = tuple[int, int]
T = TypeVar("T")
Steps = Generator[Wait, None, T]


class Watch(Protocol):
    """Something that stands between polls, and whose end is a failure at once."""

    def fileno(self) -> int:
        """A descriptor that becomes readable when there is something to look at."""

    def ended(self) -> str:
        """Why it ended; empty when it goes on."""

    def close(self) -> None:
        """Give it up."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe found. `watch` stands from now on, in place of an earlier one."""

    ok: bool
    detail: str
    watch: Watch | None = None


@dataclass(slots=True)
class Ask:
    """One probe to be made: the target, what is watched for it already, and the raw sockets, where there are any.

    `only`: the interface that it leaves by; empty for whichever the kernel takes.
    """

    target: Target
    watch: Watch | None = None
    raw: "Raw | None" = None
    only: str = ""


Probe = Steps[Verdict]


def family_of(address: str) -> socket.AddressFamily:
    """The socket family of an address."""
    return _FAMILIES[ip_address(address).version]


def keep_to(made: socket.socket, interface: str) -> None:
    """Have a socket's packets leave by one interface. Where the kernel does not let us (before 5.7), by any."""
    if interface:
        with contextlib.suppress(OSError):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())


def connected(address: str, port: int, only: str = "") -> Steps[socket.socket]:
    """A TCP connection, by interface `only` if one is named. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        keep_to(made, only)
        code = made.connect_ex((address, port))
        if code == errno.EINPROGRESS:
            yield made.fileno(), OUT
            code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        made.close()
        raise
    return made


def drop(made: socket.socket) -> None:
    """Close a connection at once, whatever the peer still has to say."""
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    finally:
        made.close()


class Channel:
    """A connection, plain or TLS, as steps."""

    def __init__(self, made: socket.socket) -> None:
        self.socket = made

    def secure(self, context: ssl.SSLContext, name: str) -> Steps[ssl.SSLSocket]:
        """Make it TLS. Raises ssl.SSLError and OSError."""
        wrapped = context.wrap_socket(self.socket, server_hostname=name, do_handshake_on_connect=False)
        self.socket = wrapped
        while True:
            try:
                wrapped.do_handshake()
                return wrapped
            except ssl.SSLWantReadError:
                yield wrapped.fileno(), IN
            except ssl.SSLWantWriteError:
                yield wrapped.fileno(), OUT

    def send(self, data: bytes) -> Steps[None]:
        """Send all of it."""
        while data:
            try:
                data = data[self.socket.send(data) :]
            except ssl.SSLWantReadError:
                yield self.socket.fileno(), IN
            except (BlockingIOError, ssl.SSLWantWriteError):
                yield self.socket.fileno(), OUT

    def receive(self) -> Steps[bytes]:
        """What comes next; empty at the end."""
        while True:
            try:
                return self.socket.recv(_READ)
            except (BlockingIOError, ssl.SSLWantReadError):
                yield self.socket.fileno(), IN
            except ssl.SSLWantWriteError:
                yield self.socket.fileno(), OUT
            except ssl.SSLEOFError:
                return b""

    def close(self) -> None:
        """Close it at once."""
        drop(self.socket)
