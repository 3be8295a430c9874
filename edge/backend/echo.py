"""The echo service: every TCP line and every UDP datagram comes back behind the backend's name.

It shows which backend answered. A UDP answer leaves with the address that was asked, which a socket bound to 0.0.0.0
does not do by itself: the kernel would pick the address of the interface and the client would not know the answer.
"""

import asyncio
import contextlib
import socket
import struct
from typing import Self

_PKTINFO = struct.Struct("=i4s4s")  # struct in_pktinfo: ifindex, local address, header destination
_IP_PKTINFO = 8  # linux/in.h; the socket module has no name for it in Python 3.11
_LONGEST_LINE = 1 << 16
_DATAGRAM_BYTES = 1 << 16
_BATCH = 64  # datagrams answered in one go, so that a flood leaves the loop to others


class Echo:
    """Serves TCP and UDP on one port, on every address of the host. Use `async with`; raises OSError on entering."""

    def __init__(self, name: str, port: int, host: str = "0.0.0.0") -> None:
        self._prefix = name.encode() + b" "
        self._host, self._port = host, port
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._datagrams = _udp_socket(self._host, self._port)
        try:
            self._server = await asyncio.start_server(
                self._serve, self._host, self._port, limit=_LONGEST_LINE, reuse_address=True
            )
        except OSError:
            self._datagrams.close()
            raise
        asyncio.get_running_loop().add_reader(self._datagrams, self._answer_datagrams)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._datagrams)
        self._datagrams.close()
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

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

    def _answer_datagrams(self) -> None:
        for _ in range(_BATCH):
            try:
                data, ancillary, _, client = self._datagrams.recvmsg(_DATAGRAM_BYTES, socket.CMSG_SPACE(_PKTINFO.size))
            except OSError:  # none waits, or an ICMP error of an earlier answer
                return
            with contextlib.suppress(OSError):  # the client is gone or the send buffer full: datagrams may be lost
                self._datagrams.sendmsg([self._prefix, data.rstrip(b"\r\n"), b"\n"], _reply_from(ancillary), 0, client)


def _reply_from(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Return the control message that makes an answer leave with the address its question was sent to."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) >= _PKTINFO.size:
            _, _, asked = _PKTINFO.unpack_from(data)
            return [(level, kind, _PKTINFO.pack(0, asked, bytes(4)))]
    return []


def _udp_socket(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
