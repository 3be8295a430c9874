"""Says yes to checks in a backend's place: `responder MARK TYPE:PORT:STATUS:ANSWER_IN_HEX...`.

Prints the port on which it answers for each, in their order, then goes on by itself until it is killed. It listens on
both loopback addresses, where a redirect in the node leads to.
"""

import os
import selectors
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from lab.faults.helpers.background import go_on

Handler = Callable[[], None]


def main() -> None:
    """Listen, say where, answer."""
    loop = selectors.DefaultSelector()
    ports = []
    for word in sys.argv[2:]:
        kind, _, status, answer = word.split(":")
        ports.append(_datagrams(loop, bytes.fromhex(answer)) if kind == "udp" else _streams(loop, kind, status, answer))
    os.write(1, (" ".join(map(str, ports)) + "\n").encode())
    go_on()
    while True:
        for key, _ in loop.select():
            key.data()


def _pair(kind: socket.SocketKind) -> list[socket.socket]:
    """Sockets on both loopback addresses with the same port."""
    while True:
        first = socket.socket(socket.AF_INET, kind)
        first.bind(("127.0.0.1", 0))
        second = socket.socket(socket.AF_INET6, kind)
        with suppress(OSError):  # taken there, or no IPv6
            second.bind(("::1", first.getsockname()[1]))
            return [first, second]
        first.close()
        second.close()


def _datagrams(loop: selectors.BaseSelector, answer: bytes) -> int:
    pair = _pair(socket.SOCK_DGRAM)
    for each in pair:
        each.setblocking(False)

        def reply(each: socket.socket = each) -> None:
            with suppress(OSError):
                _, sender = each.recvfrom(65536)
                each.sendto(answer, sender)

        loop.register(each, selectors.EVENT_READ, reply)
    return int(pair[0].getsockname()[1])


def _streams(loop: selectors.BaseSelector, kind: str, status: str, answer: str) -> int:
    body = bytes.fromhex(answer)
    head = f"HTTP/1.1 {status} yes\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    said = head.encode() + body if kind == "http" else b""
    pair = _pair(socket.SOCK_STREAM)
    for each in pair:
        each.setblocking(False)
        each.listen(1024)

        def accept(each: socket.socket = each) -> None:
            with suppress(OSError):
                connection, _ = each.accept()
                connection.setblocking(False)
                loop.register(connection, selectors.EVENT_READ, lambda: _answer(loop, connection, said))

        loop.register(each, selectors.EVENT_READ, accept)
    return int(pair[0].getsockname()[1])


def _answer(loop: selectors.BaseSelector, connection: socket.socket, said: bytes) -> None:
    """One answer to the first request, which comes in one segment from any checker; then the end."""
    done = True
    with suppress(OSError):
        asked = connection.recv(65536)
        if asked and said:
            connection.sendall(said)
        done = bool(said) or not asked
    if done:
        loop.unregister(connection)
        connection.close()


if __name__ == "__main__":
    main()
