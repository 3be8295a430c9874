"""A client's sockets from a given source address, and what the ways they can fail mean."""

import errno
import random
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import cycle, islice

from lab.traffic.evidence import Reason
from lab.traffic.flow import TCP, UDP, Flow, IpAddress
from lab.traffic.streams import Address

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


def reason_of(error: OSError) -> Reason:
    """The reason that an error of a socket stands for; what the network cannot have caused is LOCAL."""
    return _REASONS.get(error.errno or 0, Reason.LOCAL)


def bind_source(sock: socket.socket, source: str) -> int:
    """Let a socket speak from `source`, from the port that this process has left alone longest; returns the port.

    Raises OSError.
    """
    for port in islice(_turn, len(_PORTS)):
        try:
            sock.bind((source, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return port
    raise OSError(errno.EADDRINUSE, f"every port of {source} is in use")


@dataclass(frozen=True, slots=True)
class Way:
    """Where the flows of a stream come from and go to. Use `way` to make one."""

    source: str
    address: Address
    client: IpAddress
    vip: IpAddress

    def tcp(self) -> tuple[socket.socket, Flow]:
        """A non-blocking TCP socket whose SYN is sent, and its flow. Raises OSError; no descriptor stays open then."""
        return self._open(socket.SOCK_STREAM, TCP)

    def udp(self) -> tuple[socket.socket, Flow]:
        """A non-blocking, connected UDP socket, and its flow. Raises OSError; no descriptor stays open then."""
        return self._open(socket.SOCK_DGRAM, UDP)

    def _open(self, kind: int, protocol: int) -> tuple[socket.socket, Flow]:
        family = socket.AF_INET if self.client.version == 4 else socket.AF_INET6
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        try:
            port = bind_source(sock, self.source)
            code = sock.connect_ex(self.address)
            if code not in (0, errno.EINPROGRESS):
                raise OSError(code, "connect")
        except BaseException:
            sock.close()
            raise
        return sock, Flow(self.client, port, self.vip, self.address[1], protocol)


def way(source: str, address: Address) -> Way:
    """The way from an address to an address and port. Raises ValueError where either is none."""
    return Way(source, address, ip_address(source), ip_address(address[0]))


def check_connected(sock: socket.socket) -> None:
    """Raise the OSError that a handshake ended with, if any."""
    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, "connect")
