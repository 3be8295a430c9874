"""The daemon's end of one relay connection: who is calling, and whole lines instead of bytes."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
from typing import Protocol

from bgp.wire import LineBuffer, State, WireError, decode_state


class LinkOwner(Protocol):
    """What a link tells its owner."""

    def relay_connected(self, link: "RelayLink") -> bool:
        """A process connected; False hangs up."""

    def relay_said(self, link: "RelayLink", state: State) -> None:
        """It sent its state."""

    def relay_lost(self, link: "RelayLink") -> None:
        """The connection ended, whoever ended it."""


class RelayLink(asyncio.Protocol):
    """Lines are handled as they arrive, in the loop's turn that reads them: before any timer that is due as well."""

    def __init__(self, owner: LinkOwner) -> None:
        self._owner = owner
        self._lines = LineBuffer()
        self._said: State | None = None
        self._transport: asyncio.Transport | None = None
        self._pidfd = -1
        self.pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the kernel who it is (unix(7), SO_PEERCRED)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer: socket.socket = transport.get_extra_info("socket")
        self.pid, _, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        with contextlib.suppress(OSError):
            self._pidfd = os.pidfd_open(self.pid)
        if self._pidfd < 0 or not self._owner.relay_connected(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """A relay that does not speak the protocol is hung up on; it may connect again."""
        try:
            for line in self._lines.feed(data):
                self._said = decode_state(line, self._said)
                self._owner.relay_said(self, self._said)
        except WireError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of this link."""
        self._owner.relay_lost(self)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def send(self, line: bytes) -> None:
        """Queue one line."""
        if self._transport is not None:
            self._transport.write(line)

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def kill(self) -> None:
        """SIGKILL the relay: a stopped one would outlive its ExaBGP."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
