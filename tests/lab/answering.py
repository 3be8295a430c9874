"""Servers of datagrams and of transfers that behave, until they are told how to misbehave. Threads, in a namespace."""

import hashlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.observe.inside import inside

NAME = "a-b1"


class Datagrams:
    """Answers each datagram by `answer(data)`, unless told otherwise: `spoil("lose", 3)` mistreats the next three.

    "lose", "twice", "other" (another backend's name), "wrong". While `mute` is set nothing is answered.
    """

    def __init__(self, netns: Path, address: str, port: int, answer: Callable[[str, bytes], bytes | None]) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._sock = inside(netns, lambda: socket.socket(family, socket.SOCK_DGRAM))
        self._sock.bind((address, port))
        self._sock.settimeout(0.1)
        self._answer = answer
        self._how: deque[str] = deque()
        self._over = False
        self.mute = False
        self.clients: set[int] = set()  # the ports that were heard of
        self._thread = threading.Thread(target=self._run, name="datagrams")

    def spoil(self, how: str, times: int) -> None:
        self._how.extend([how] * times)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._thread.join()
        self._sock.close()

    def _run(self) -> None:
        while not self._over:
            with suppress(TimeoutError, ConnectionError):
                data, client = self._sock.recvfrom(4096)
                self.clients.add(client[1])
                how = self._how.popleft() if self._how else "well"
                said = self._answer("a-b2" if how == "other" else NAME, b"?" if how == "wrong" else data)
                if how != "lose" and not self.mute and said is not None:
                    for _ in range(2 if how == "twice" else 1):
                        self._sock.sendto(said, client)


def echo(name: str, data: bytes) -> bytes:
    """As the lab's echo service answers."""
    return name.encode() + b" " + data + b"\n"


def quic(name: str, data: bytes) -> bytes | None:
    """As the lab's servers of QUIC-like datagrams answer; written from the description, not with the client's code."""
    if data[:1] == b"\x40":
        connection, payload = data[1:9], data[9:]
    elif data[:6] == b"\xc0\xfa\x1c\x00\x01\x08" and data[14:15] == b"\0":
        connection, payload = b"\x07\x01" + hashlib.blake2b(data[6:14], digest_size=6).digest(), data[15:]
    else:
        return name.encode() + b" ? " + data
    return b" ".join((name.encode(), connection.hex().encode(), payload))


class Files:
    """HTTP/1.1 on port 80: GET answers the range asked for, POST the number of octets that came.

    `how`: "well", "status", "cut" (closes in the middle), "short" (a smaller range), "stall", "late" (pauses for 0.3 s
    in the middle), "lie" (another number of octets). It holds for every transfer that begins from now on.
    """

    def __init__(self, netns: Path, address: str) -> None:
        self._listener = inside(netns, lambda: socket.create_server((address, 80)))
        self._listener.settimeout(0.1)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run, name="files")
        self.how = "well"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _run(self) -> None:
        while not self._over.is_set():
            with suppress(TimeoutError):
                sock, _ = self._listener.accept()
                sock.settimeout(2.0)
                self._threads.append(threading.Thread(target=self._serve, args=(sock, self.how)))
                self._threads[-1].start()

    def _serve(self, sock: socket.socket, how: str) -> None:
        with sock, suppress(OSError):
            head, _, rest = self._head(sock)
            if b"POST" in head:
                self._take(sock, int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]), len(rest), how)
            else:
                self._give(sock, int(head.partition(b"bytes=0-")[2].split(b"\r\n")[0]) + 1, how)

    def _head(self, sock: socket.socket) -> tuple[bytes, bytes, bytes]:
        data = b""
        while b"\r\n\r\n" not in data:
            data += received(sock)
        return data.partition(b"\r\n\r\n")

    def _give(self, sock: socket.socket, count: int, how: str) -> None:
        length = count - 1 if how == "short" else count
        status = "404 Not Found" if how == "status" else "206 Partial Content"
        sock.sendall(f"HTTP/1.1 {status}\r\nX-Backend: {NAME}\r\nContent-Length: {length}\r\n\r\n".encode())
        sock.sendall(bytes(length // 2))
        if how == "cut":
            return
        if how in ("stall", "late"):
            self._over.wait(0.3 if how == "late" else 30)
        sock.sendall(bytes(length - length // 2))

    def _take(self, sock: socket.socket, count: int, came: int, how: str) -> None:
        if how in ("stall", "late"):
            self._over.wait(0.3 if how == "late" else 30)
        while came < count:
            came += len(received(sock))
        body = f"{came - (how == 'lie')}\n"
        status = "503 No" if how == "status" else "200 OK"
        sock.sendall(f"HTTP/1.1 {status}\r\nX-Backend: {NAME}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())


def received(sock: socket.socket) -> bytes:
    """What came, at least one octet; OSError at the end."""
    data = sock.recv(65536)
    if not data:
        raise ConnectionError("the client closed")
    return data
