"""The echo service: every TCP line and every UDP datagram comes back behind the backend's name.

It shows which backend answered. A UDP answer leaves with the address that was asked, which a socket bound to every
address does not do by itself: the kernel would pick that of the interface and the client would not know the answer.
"""

import asyncio
import contextlib
import socket
import struct
from contextlib import AsyncExitStack
from typing import Self

_EVERYWHERE = ("0.0.0.0", "::")
_PKTINFO = struct.Struct("=i4s4s")  # struct in_pktinfo: ifindex, local address, header destination
_PKTINFO6 = struct.Struct("=16si")  # struct in6_pktinfo: address, ifindex
_IP_PKTINFO = 8  # linux/in.h; the socket module has no name for it in Python 3.11
_ANCILLARY = socket.CMSG_SPACE(max(_PKTINFO.size, _PKTINFO6.size))
_LONGEST_LINE = 1 << 16
_DATAGRAM_BYTES = 1 << 16
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module has no name for it
_WAITING_BYTES = 4 << 20  # the kernel doubles it: some 10,000 small datagrams, where its default holds 256
_BATCH = 64  # datagrams answered in one go, so that a flood leaves the loop to others


class Echo:
    """Serves TCP and UDP on one port of each of `hosts`, or of every address; a family the kernel lacks is left out.

    Use `async with`; raises OSError on entering.
    """

    def __init__(self, name: str, port: int, *hosts: str) -> None:
        self._prefix = name.encode() + b" "
        self._hosts, self._port = [host for host in hosts or _EVERYWHERE if ":" not in host or _has_ipv6()], port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            loop = asyncio.get_running_loop()
            for host in self._hosts:
                datagrams = stack.enter_context(udp_socket(host, self._port))
                loop.add_reader(datagrams, self._answer_datagrams, datagrams)
                stack.callback(loop.remove_reader, datagrams)
            stack.push_async_callback(self._end_connections)
            self._server = await asyncio.start_server(
                self._serve, self._hosts, self._port, limit=_LONGEST_LINE, reuse_address=True
            )
            self._opened = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._opened.aclose()
        await self._server.wait_closed()

    async def _end_connections(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._answer_lines(reader, writer)
        finally:
            writer.close()

    async def _answer_lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A reset, or a line without end, ends the connection: there is nobody left to answer, or nothing to say.
        with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
            while line := await reader.readline():
                writer.write(self._prefix + line.rstrip(b"\r\n") + b"\n")
                await writer.drain()

    def _answer_datagrams(self, datagrams: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                data, ancillary, _, client = datagrams.recvmsg(_DATAGRAM_BYTES, _ANCILLARY)
            except OSError:  # none waits, or an ICMP error of an earlier answer
                return
            with contextlib.suppress(OSError):  # the client is gone or the send buffer full: datagrams may be lost
                datagrams.sendmsg([self._prefix, data.rstrip(b"\r\n"), b"\n"], reply_from(ancillary), 0, client)


def reply_from(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Return the control message that makes an answer leave with the address its question was sent to."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= _PKTINFO.size:
            _, _, asked = _PKTINFO.unpack_from(data)
            return [(level, kind, _PKTINFO.pack(0, asked, bytes(4)))]
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO) and len(data) >= _PKTINFO6.size:
            asked, _ = _PKTINFO6.unpack_from(data)
            return [(level, kind, _PKTINFO6.pack(asked, 0))]
    return []


def udp_socket(host: str, port: int) -> socket.socket:
    """A socket whose `recvmsg` tells what address was asked, with room for what a busy loop answers late.

    Raises OSError.
    """
    six = ":" in host
    made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        _make_room(made)
        if six:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def _make_room(made: socket.socket) -> None:
    """Ask for a long receive queue: beyond net.core.rmem_max where CAP_NET_ADMIN allows it, else as long as that."""
    try:
        made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _WAITING_BYTES)
    except PermissionError:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WAITING_BYTES)


def _has_ipv6() -> bool:
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True
