"""The UDP sockets of RFC 5881 and 5883: TTL 255 out, TTL and interface of what comes in, source ports from 49152 on."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from bgp.bfd.config import BfdPeer
from bgp.bfd.engine import TTL, Datagram

SINGLE_HOP: Final = 3784
MULTIHOP: Final = 4784
SOURCE_PORTS: Final = range(49152, 65536)
_BATCH: Final = 64
"""Datagrams of one socket that are read in one go: a flood must not keep us from sending."""
_REOPEN: Final = 0.25
"""Seconds between two attempts to open a socket."""
_IP_RECVTTL: Final = 12
_IP_PKTINFO: Final = 8
_SMALL: Final = struct.Struct("i")
_CS6: Final = 0xC0


def listen(version: int, port: int) -> socket.socket:
    """A socket that hears every address of one family. Raises OSError, whose text names the port."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if version == 4:
            opened.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
            opened.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        opened.bind(("0.0.0.0" if version == 4 else "::", port))
    except OSError as error:
        opened.close()
        raise OSError(error.errno, f"UDP port {port} of IPv{version} cannot be had: {error.strerror}") from None
    return opened


def receive(listener: socket.socket, multihop: bool) -> Iterator[Datagram]:
    """What is there now, at most a batch."""
    for _ in range(_BATCH):
        try:
            data, ancillary, _, address = listener.recvmsg(512, 256)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMP error of an earlier packet
        ttl, index = _ancillary(ancillary)
        version6 = listener.family == socket.AF_INET6
        text = address[0].partition("%")[0]
        yield Datagram(data, IPv6Address(text) if version6 else IPv4Address(text), _name(index), ttl, multihop)


def _ancillary(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """TTL or hop limit, and the number of the interface; 0 where not told (ip(7), ipv6(7))."""
    ttl = index = 0
    for level, kind, value in ancillary:
        if (level, kind) in ((socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)):
            (ttl,) = _SMALL.unpack_from(value)
        elif (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            (index,) = _SMALL.unpack_from(value)
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            (index,) = _SMALL.unpack_from(value, 16)
    return ttl, index


def _name(index: int) -> str:
    with contextlib.suppress(OSError):
        return socket.if_indextoname(index)
    return ""


class Sender:
    """The sending socket of one peer. An address or interface that is not there (yet) is tried again."""

    def __init__(self, peer: BfdPeer, first_port: int) -> None:
        self._peer = peer
        self._first_port = first_port
        self._socket: socket.socket | None = None
        self._target: tuple[str, int] | tuple[str, int, int, int]
        self._retry_at = 0.0

    def send(self, data: bytes) -> bool:
        """Whether the kernel took the packet; never blocks, never raises."""
        try:
            if self._socket is None:
                if time.monotonic() < self._retry_at:
                    return False
                self._socket = self._open()
            self._socket.sendto(data, self._target)
        except BlockingIOError:
            return False
        except OSError as error:
            if not isinstance(error, ConnectionRefusedError):
                self.close()
                self._retry_at = time.monotonic() + _REOPEN
            return False
        return True

    def close(self) -> None:
        """Close the socket; the next `send` opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open(self) -> socket.socket:
        peer = self._peer
        port = MULTIHOP if peer.multihop else SINGLE_HOP
        family = socket.AF_INET if peer.address.version == 4 else socket.AF_INET6
        opened = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 6)
            if peer.interface is not None:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, peer.interface.encode())
            scope = 0
            if family == socket.AF_INET6:
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, TTL)
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _CS6)
                scope = socket.if_nametoindex(peer.interface) if peer.interface else 0
                self._target = (str(peer.address), port, 0, scope)
            else:
                opened.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
                opened.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _CS6)
                self._target = (str(peer.address), port)
            self._bind(opened, scope)
        except OSError:
            opened.close()
            raise
        return opened

    def _bind(self, opened: socket.socket, scope: int) -> None:
        """RFC 5881 4: a source port from 49152 on, the same for as long as the session lasts."""
        local = self._peer.local_address
        tail = () if local.version == 4 else (0, scope if local.is_link_local else 0)
        for step in range(len(SOURCE_PORTS)):
            port = SOURCE_PORTS[(self._first_port + step) % len(SOURCE_PORTS)]
            try:
                opened.bind((str(local), port, *tail))
                return
            except OSError as error:
                if error.errno != 98:  # EADDRINUSE
                    raise
        raise OSError("no source port is free")
