"""The checker process: `python -I -m edge.checks DESCRIPTOR [NAME=DESCRIPTOR]...`, without any privilege.

Configuration comes and results go over the inherited socket DESCRIPTOR; the others are raw sockets for tunnel probes,
which only the daemon may open. It ends with the daemon: when the socket is closed.
"""

import gc
import random
import resource
import socket
import sys
import time
from typing import TYPE_CHECKING

from edge.checks.asking import IN, OUT
from edge.checks.engine import Engine
from edge.checks.target import Lines, Outcome, ProtocolError, heartbeat, read_orders, results

if TYPE_CHECKING:
    from edge.checks.raw import Raw

_BEAT = 0.1  # seconds between heartbeats
_READ = 1 << 18
_BACKLOG = 1 << 22  # bytes that the daemon may leave unread; the checker of one that reads nothing ends


class Checker:
    """The engine and the line to the daemon."""

    def __init__(self, line: socket.socket, sockets: dict[str, socket.socket]) -> None:
        line.setblocking(False)
        self._line = line
        self._engine = Engine(self._tell, time.monotonic, random.random, _raw(sockets) if sockets else None)
        self._lines = Lines()
        self._fresh: list[Outcome] = []
        self._output = bytearray()
        self._blocked = False
        self._config = self._beats = 0
        self._leaving = ""

    def run(self) -> str:
        """Check until the daemon goes; says why it ended."""
        self._engine.listen(self._line.fileno(), self._happened)
        beat_at = time.monotonic()
        while not self._leaving:
            self._engine.turn()
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + _BEAT
                self._beats += 1
                self._output += heartbeat(self._beats, self._config, self._engine.late.worst)
                self._engine.late.worst = 0.0
            self._write()
        self._engine.close()
        return self._leaving

    def _tell(self, outcome: Outcome) -> None:
        self._fresh.append(outcome)

    def _happened(self, events: int) -> None:
        if events & ~OUT:
            self._read()

    def _read(self) -> None:
        try:
            data = self._line.recv(_READ)
            if not data:
                self._leaving = "the daemon has gone"
            for line in self._lines.feed(data):
                self._follow(line)
        except BlockingIOError:
            pass
        except (OSError, ProtocolError) as error:
            self._leaving = str(error)

    def _follow(self, line: bytes) -> None:
        order = read_orders(line)
        for number in order["drop"]:
            self._engine.remove(number)
        for number, target in order["set"].items():
            self._engine.add(number, target)
        self._engine.keep(order["only"])
        if order["end"]:
            self._config = order["n"]

    def _write(self) -> None:
        """Everything there is, without ever waiting: probes go on while the daemon is busy."""
        for line in results(self._fresh):
            self._output += line
        self._fresh.clear()
        try:
            if self._output:
                del self._output[: self._line.send(self._output)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._leaving = str(error)
        if len(self._output) > _BACKLOG:
            self._leaving = "the daemon reads nothing"
        if bool(self._output) is not self._blocked:
            self._blocked = bool(self._output)
            self._engine.listen(self._line.fileno(), self._happened, IN | (OUT if self._blocked else 0))


def _raw(sockets: dict[str, socket.socket]) -> "Raw":
    from edge.checks.raw import Raw  # noqa: PLC0415 - the data path's oracle, which only tunnel checks need

    return Raw(sockets)


def main(arguments: list[str]) -> int:
    """Run until the daemon goes."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    named = dict(word.split("=", 1) for word in arguments[1:])
    sockets = {name: socket.socket(fileno=int(descriptor)) for name, descriptor in named.items()}
    checker = Checker(socket.socket(fileno=int(arguments[0])), sockets)
    # What was imported stays: a collection need not look at it in the middle of a round.
    gc.freeze()
    sys.stderr.write(f"checker: {checker.run()}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
