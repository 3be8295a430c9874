"""Probes made by the real engine against servers on loopback, one at a time."""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from edge.checks.engine import Engine
from edge.checks.plan import subjects
from edge.checks.target import Outcome, Target
from edge.config.file import load
from tests.edge.test_config import GOOD

HERE = "127.0.0.1"
Serve = Callable[[socket.socket], None]


def target(check: str, address: str = HERE) -> Target:
    """The target of a check as it is written in a file, at an address that a file may not have."""
    text = GOOD.replace("{type: http, port: 80}", check)
    (found,) = subjects(load(text, "f.yaml")).values()
    plain: dict[str, Any] = found.to_plain() | {"address": address}
    tls = plain["options"].get("tls")
    if tls and tls["server_name"] == "10.0.9.1":
        tls["server_name"] = address
    return Target.from_plain(plain)


def local_target(check: str) -> Target:
    """The target of a local check as it is written in a file."""
    text = GOOD.replace("pool: web}", f"pool: web, local_check: {check}}}")
    return next(found for subject, found in subjects(load(text, "f.yaml")).items() if subject.pool is None)


class Asking:
    """An engine with its results."""

    def __init__(self, **options: Any) -> None:
        self.outcomes: list[Outcome] = []
        self.engine = Engine(self.outcomes.append, time.monotonic, random.Random(7).random, **options)

    def until(self, true: Callable[[], bool], seconds: float = 5.0) -> None:
        """Turn until a condition holds."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"nothing for {seconds} s after {self.outcomes[-3:]}"
            self.engine.turn()

    def __enter__(self) -> "Asking":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()


def ask(wanted: Target, seconds: float = 5.0) -> Outcome:
    """The first result of a target."""
    with Asking() as asking:
        asking.engine.add(1, wanted)
        asking.until(lambda: bool(asking.outcomes), seconds)
        return asking.outcomes[0]


@contextlib.contextmanager
def serving(serve: Serve, address: str = HERE) -> Iterator[int]:
    """A TCP server that has one thread a connection; gives its port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family, backlog=64) as listener:
        threading.Thread(target=_accept, args=(listener, serve), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, serve: Serve) -> None:
    while True:
        try:
            made, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(made, serve), daemon=True).start()


def _serve(made: socket.socket, serve: Serve) -> None:
    with made, contextlib.suppress(OSError):
        made.settimeout(10)
        serve(made)


def saying(answer: bytes | None, received: bytearray | None = None) -> Serve:
    """Sends an answer after a request, and keeps the connection; None: says nothing."""

    def serve(made: socket.socket) -> None:
        request = made.recv(4096)
        if received is not None:
            received.extend(request)
        if answer is not None:
            made.sendall(answer)
        while made.recv(4096):
            pass

    return serve
