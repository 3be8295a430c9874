"""The daemon's unix socket: one JSON request a line, one JSON answer a line. Both ends are here.

A request is {"verb": NAME, ...arguments}; an answer is {"ok": true, ...facts} or {"ok": false, "error": TEXT,
"code": N} with an exit code for the command line. The peer's uid comes from the kernel (SO_PEERCRED), never from
the request.
"""

import asyncio
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

DEFAULT_SOCKET = "/run/fairhop/control.sock"
_MAX_LINE = 1 << 16

Answer = dict[str, Any]
Handler = Callable[[Mapping[str, Any], int], Awaitable[Answer]]


class RefusedError(Exception):
    """A request that cannot be done. `code` is the exit code for the command line."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class UnreachableError(Exception):
    """No daemon answers on the socket; the text says which and what to do."""


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
        except (ValueError, KeyError, TypeError):
            verbs = ", ".join(sorted(self._handlers))
            return {"ok": False, "error": f"not a request: expected a JSON object with a verb of: {verbs}", "code": 2}
        try:
            return {"ok": True} | await handler(request, uid)
        except RefusedError as refused:
            return {"ok": False, "error": str(refused), "code": refused.code}


def _peer_uid(writer: asyncio.StreamWriter) -> int:
    credentials = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(struct.unpack("3i", credentials)[1])


def ask(path: str, verb: str, timeout: float = 10.0, **arguments: Any) -> Answer:
    """Send one request and return the facts. Raises `UnreachableError`, or `RefusedError` with the daemon's words."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            connection.sendall(json.dumps({"verb": verb} | arguments).encode() + b"\n")
            with connection.makefile("rb") as lines:
                line = lines.readline()
    except PermissionError:
        raise UnreachableError(f"{path}: permission denied: run as root or join the socket's group") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UnreachableError(f"{path}: {reason.lower()}: is `fairhop run` up on this node?") from None
    if not line:
        raise UnreachableError(f"{path}: the daemon closed the connection without an answer")
    answer: Answer = json.loads(line)
    if not answer.pop("ok"):
        raise RefusedError(answer["error"], answer["code"])
    return answer
