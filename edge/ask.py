"""Asking the daemon over its unix socket. Kept apart from the daemon's end so that a command starts at once."""

import json
import os
import socket
from typing import Any

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
