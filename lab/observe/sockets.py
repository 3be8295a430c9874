"""What the lab's observers have in common: sockets in nodes' namespaces, held until they are closed."""

import socket
from contextlib import ExitStack
from typing import Self


class Observer:
    """Observes nodes through sockets opened in their namespaces. They keep those alive: close it."""

    _resources: ExitStack

    def close(self) -> None:
        """Close everything that is held; idempotent."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def packet_socket(opened: ExitStack, interface: str, protocol: int, *options: tuple[int, int | bytes]) -> socket.socket:
    """A packet socket on one interface of the namespace it is called in, with its socket options. `opened` closes it.

    Until it is bound its protocol is 0, which hears nothing: no packet can arrive before a filter among the options.
    """
    sock = opened.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
    for option, value in options:
        sock.setsockopt(socket.SOL_SOCKET, option, value)
    sock.bind((interface, protocol))
    return sock
