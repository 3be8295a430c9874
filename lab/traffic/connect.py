"""A client's TCP connection from a given source address, and what the ways it can fail mean."""

import asyncio
import errno
import socket

from lab.traffic.facts import Reason

_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h: bind(2) sets the address only, connect(2) chooses the port

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
    """Let a TCP socket speak from `source`; its port is chosen later, for the pair of addresses. Raises OSError."""
    sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((source, 0))  # the option works on IPv6 sockets too


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
