"""Asking the daemon over its unix socket. Kept apart from the daemon's end so that a command starts at once."""

import contextlib
import json
import os
import socket
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

DEFAULT_SOCKET = "/run/fairhop/control.sock"

Answer = dict[str, Any]


class RefusedError(Exception):
    """A request that cannot be done. `code` is the exit code for the command line."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class UnreachableError(Exception):
    """No daemon answers on the socket; the text says which and what to do."""


def ask(path: str, verb: str, timeout: float = 10.0, **arguments: Any) -> Answer:
    """Send one request and return the facts. Raises `UnreachableError`, or `RefusedError` with the daemon's words."""
    with _connected(path, verb, timeout, arguments) as connection, connection.makefile("rb") as lines:
        return _first(path, lines)


def follow(path: str, verb: str, timeout: float = 10.0, **arguments: Any) -> Generator[Answer, None, None]:
    """Send one request and yield the facts, then each row that the daemon goes on with. Errors are those of `ask`.

    `timeout` bounds the answer only. Ends with `UnreachableError` when the daemon ends.
    """
    with _connected(path, verb, timeout, arguments) as connection, connection.makefile("rb") as lines:
        yield _first(path, lines)
        connection.settimeout(None)
        try:
            for line in lines:
                row: Answer = json.loads(line)
                yield row
        except ConnectionError:
            pass
    raise UnreachableError(f"{path}: the daemon ended the stream")


@contextlib.contextmanager
def _connected(path: str, verb: str, timeout: float, arguments: dict[str, Any]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.settimeout(timeout)
            connection.connect(path)
            connection.sendall(json.dumps({"verb": verb} | arguments).encode() + b"\n")
        except OSError as error:
            raise _unreachable(path, error) from None
        yield connection


def _first(path: str, lines: BinaryIO) -> Answer:
    try:
        line = lines.readline()
    except OSError as error:
        raise _unreachable(path, error) from None
    if not line:
        raise UnreachableError(f"{path}: the daemon closed the connection without an answer")
    answer: Answer = json.loads(line)
    if not answer.pop("ok"):
        raise RefusedError(answer["error"], answer["code"])
    return answer


def _unreachable(path: str, error: OSError) -> UnreachableError:
    if isinstance(error, PermissionError):
        return UnreachableError(f"{path}: permission denied: run as root or join the socket's group")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return UnreachableError(f"{path}: {reason.lower()}: is `fairhop run` up on this node?")
