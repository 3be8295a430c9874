"""The daemon's end of its socket: one JSON request a line, one JSON answer a line (`control.ask` is the other end).

A request is {"verb": NAME, ...arguments}; an answer is {"ok": true, ...facts} or {"ok": false, "error": TEXT,
"code": N} with an exit code for the command line. The peer's uid comes from the kernel (SO_PEERCRED), never from
the request.

A verb may go on after its answer with one JSON object a line for as long as the client stays (`Stream`). A client that
does not read stops its own stream only: what it is to be told waits with its source, which bounds it.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from edge.control.ask import Answer, RefusedError

_MAX_LINE = 1 << 16
MAX_STREAMS = 32
"""Clients that may follow something at the same time."""
_BUSY = 5

Row = Mapping[str, Any]


class Stream(dict[str, Any]):
    """An answer that goes on: the facts, then `rows` until the client leaves. `rows` is closed in every case."""

    def __init__(self, facts: Answer, rows: AsyncGenerator[Row, None]) -> None:
        super().__init__(facts)
        self.rows = rows


Handler = Callable[[Mapping[str, Any], int], Awaitable[Answer]]


class ControlServer:
    """Serves `handlers` by verb on a unix socket of mode 0660."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._streams: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Take the socket over, also from a daemon that was killed."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=_MAX_LINE)
        self._path.chmod(0o660)

    async def stop(self) -> None:
        """Close the socket and remove it."""
        if self._server:
            self._server.close()
            for task in self._streams:
                task.cancel()
            await asyncio.gather(*self._streams, return_exceptions=True)
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(30):
                line = await reader.readline()
                answer, rows = await self._answer(line, _peer_uid(writer))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
            if rows is not None:
                await self._stream(rows, reader, writer)
        except (TimeoutError, ValueError, ConnectionError):
            pass  # A client that stalls, babbles or leaves costs only its own connection.
        finally:
            writer.close()

    async def _stream(
        self, rows: AsyncGenerator[Row, None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Until the client hangs up, the rows end or the server stops. What a client says meanwhile is not read."""
        told = asyncio.create_task(_tell(rows, writer))
        gone = asyncio.create_task(_hangup(reader))
        self._streams |= {told, gone}
        try:
            await asyncio.wait({told, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (told, gone):
                task.cancel()
            await asyncio.gather(told, gone, return_exceptions=True)
            self._streams -= {told, gone}
            writer.transport.abort()

    async def _answer(self, line: bytes, uid: int) -> tuple[Answer, AsyncGenerator[Row, None] | None]:
        try:
            request = json.loads(line)
            handler = self._handlers[request["verb"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            verbs = ", ".join(sorted(self._handlers))
            error = f"not a request: expected a JSON object with a verb of: {verbs}"
            return {"ok": False, "error": error, "code": 2}, None
        try:
            facts = await handler(request, uid)
            if isinstance(facts, Stream) and len(self._streams) >= 2 * MAX_STREAMS:
                await facts.rows.aclose()
                raise RefusedError(f"{MAX_STREAMS} clients follow already: end one of them", _BUSY)
            return {"ok": True, **facts}, facts.rows if isinstance(facts, Stream) else None
        except RefusedError as refused:
            return {"ok": False, "error": str(refused), "code": refused.code}, None
        except Exception as error:  # whoever asked is told, the log has the trace, and the daemon goes on
            asyncio.get_running_loop().call_exception_handler({"message": "a request failed", "exception": error})
            return {"ok": False, "error": f"the daemon failed at this: {error!r}; its log has more", "code": 1}, None


async def _tell(rows: AsyncGenerator[Row, None], writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        async with contextlib.aclosing(rows):
            async for row in rows:
                writer.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
                await writer.drain()


async def _hangup(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(_MAX_LINE):
            pass


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[1])
