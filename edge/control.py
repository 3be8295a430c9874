"""The daemon's end of its unix socket: one JSON request a line, one JSON answer a line (`edge.ask` is the other end).

A request is {"verb": NAME, ...arguments}; an answer is {"ok": true, ...facts} or {"ok": false, "error": TEXT,
"code": N} with an exit code for the command line. The peer's uid comes from the kernel (SO_PEERCRED), never from
the request.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from edge.ask import Answer, RefusedError

_MAX_LINE = 1 << 16

Handler = Callable[[Mapping[str, Any], int], Awaitable[Answer]]


class ControlServer:
    """Serves `handlers` by verb on a unix socket of mode 0660."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None

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
            await self._server.wait_closed()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(30):
                line = await reader.readline()
                answer = await self._answer(line, _peer_uid(writer))
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ValueError, ConnectionError):
            pass  # A client that stalls, babbles or leaves costs only its own connection.
        finally:
            writer.close()

    async def _answer(self, line: bytes, uid: int) -> Answer:
        try:
            request = json.loads(line)
            handler = self._handlers[request["verb"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            verbs = ", ".join(sorted(self._handlers))
            return {"ok": False, "error": f"not a request: expected a JSON object with a verb of: {verbs}", "code": 2}
        try:
            return {"ok": True} | await handler(request, uid)
        except RefusedError as refused:
            return {"ok": False, "error": str(refused), "code": refused.code}
        except Exception as error:  # whoever asked is told, the log has the trace, and the daemon goes on
            asyncio.get_running_loop().call_exception_handler({"message": "a request failed", "exception": error})
            return {"ok": False, "error": f"the daemon failed at this: {error!r}; its log has more", "code": 1}


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[1])
