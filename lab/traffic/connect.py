"""A client's TCP connection from a given source address, and what the ways it can fail mean."""

import asyncio
import errno
import random
import socket
from itertools import cycle, islice

from lab.traffic.facts import Reason

# The kernel would come back to a port after some 2,700 connections. A site that a flow has left may still hold that
# flow as established: it answers the port's next connection with an ACK of the old one, and neither side ever resets.
_PORTS = range(10_000, 60_000)
_turn = islice(cycle(_PORTS), random.randrange(len(_PORTS)), None)  # not where the process before this one began

_REASONS = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ECONNRESET: Reason.RESET,
    errno.EPIPE: Reason.RESET,
    errno.ETIMEDOUT: Reason.TIMEOUT,
    errno.EHOSTUNREACH: Reason.UNREACHABLE,
    errno.ENETUNREACH: Reason.UNREACHABLE,
    errno.ENOPROTOOPT: Reason.UNREACHABLE,  # ICMP protocol unreachable
}


def reason_of(error: Exception) -> Reason:
    """The reason that an exception of a connection stands for; what the network cannot have caused is LOCAL."""
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno, Reason.LOCAL)
    return Reason.TIMEOUT if isinstance(error, TimeoutError) else Reason.LOCAL


def tcp_socket(source: str) -> socket.socket:
    """A non-blocking TCP socket of the family of `source`. Raises OSError."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def bind_source(sock: socket.socket, source: str) -> None:
    """Let a TCP socket speak from `source`, from the port that this process has left alone longest. Raises OSError."""
    for port in islice(_turn, len(_PORTS)):
        try:
            return sock.bind((source, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"every port of {source} is in use")


async def connect(source: str, address: tuple[str, int]) -> socket.socket:
    """A connected, non-blocking TCP socket from `source`. Raises OSError; no descriptor stays open then."""
    sock = tcp_socket(source)
    try:
        bind_source(sock, source)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
