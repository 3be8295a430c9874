"""A server that behaves, until it is told how to misbehave, a number of times. One thread, in a given namespace."""

import asyncio
import socket
import struct
import threading
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.observe.inside import inside

NAME = "a-b1"


class Fickle:
    """A line echo on port 7000 and HTTP on port 80 of `address`. `spoil("reset", 3)` mistreats the next three lines
    (or requests, with `http=True`): "reset", "eof", "stall", "other", "wrong", "split"; HTTP also "status", "cut".
    """

    def __init__(self, netns: Path, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listeners = inside(
            netns, lambda: [socket.create_server((address, port), family=family) for port in (7000, 80)]
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fickle server")
        self._echo: deque[str] = deque()
        self._http: deque[str] = deque()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._up = threading.Event()

    def spoil(self, how: str, times: int, http: bool = False) -> None:
        (self._http if http else self._echo).extend([how] * times)

    def refuse(self) -> None:
        """Stop listening and reset every connection."""
        asyncio.run_coroutine_threadsafe(self._refuse(), self._loop).result(5)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        async def listen() -> None:
            for sock, serve in zip(self._listeners, (self._serve_echo, self._serve_http), strict=True):
                self._servers.append(await asyncio.start_server(serve, sock=sock))
            self._up.set()

        self._loop.run_until_complete(listen())
        self._loop.run_forever()

    async def _refuse(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve_echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._enlist()
        try:
            while line := await reader.readline():
                if not await self._answer(line.decode().strip(), writer):
                    return
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    async def _answer(self, line: str, writer: asyncio.StreamWriter) -> bool:
        answer = f"{NAME} {line}\n"
        match self._echo.popleft() if self._echo else "well":
            case "reset":
                reset(writer)
                return False
            case "eof":
                writer.close()
                await writer.wait_closed()
                return False
            case "stall":
                return True
            case "other":
                answer = f"a-b2 {line}\n"
            case "wrong":
                answer = f"{NAME} {line}0\n"
            case "split":
                writer.write(answer[:4].encode())
                await asyncio.sleep(0.02)
                answer = answer[4:]
            case "endless":
                answer = "x" * 5000
        writer.write(answer.encode())
        return True

    async def _serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._enlist()
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"GET / HTTP/1.1\r\nHost: ")
            how = self._http.popleft() if self._http else "well"
            if how == "stall":
                await asyncio.sleep(60)
            if how == "reset":
                reset(writer)
                return
            status = "503 Service Unavailable" if how == "status" else "200 OK"
            length = 10 if how == "cut" else 3
            reply = f"HTTP/1.1 {status}\r\nX-Backend: {NAME}\r\nContent-Length: {length}\r\n\r\nok\n"
            writer.write(b"" if how == "eof" else b"hello\r\n\r\n" if how == "wrong" else reply.encode())
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    def _enlist(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with an RST: no lingering."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
