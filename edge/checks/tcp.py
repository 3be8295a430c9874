"""tcp: the port accepts a connection; with a tether, one of them stays open and its end is a failure at once."""

import os
import socket

from edge.checks.asking import Ask, Probe, Verdict, connected, drop

_GREETING = 4096


class Tether:
    """A standing connection. What the server says on it is not looked at."""

    def __init__(self, made: socket.socket) -> None:
        self._socket = made

    def fileno(self) -> int:
        """The connection."""
        return self._socket.fileno()

    def ended(self) -> str:
        """Why the connection ended; empty when it goes on."""
        try:
            return "" if self._socket.recv(_GREETING) else "the standing connection was closed by the server"
        except BlockingIOError:
            return ""
        except OSError as error:
            return f"the standing connection ended: {os.strerror(error.errno or 0).lower()}"

    def close(self) -> None:
        """Close it with a RST: a server that hangs must not keep it."""
        drop(self._socket)


def probe(ask: Ask) -> Probe:
    """Connect; a tether is tied where there is none."""
    made = yield from connected(ask.target.address, ask.target.options["port"], ask.only)
    if ask.target.options.get("tether") and ask.watch is None:
        return Verdict(True, "connected", Tether(made))
    drop(made)
    return Verdict(True, "connected")
