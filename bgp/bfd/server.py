"""The process's loop: datagrams, heartbeats and the daemon's orders into the engine, its packets out, in time.

A plain select with microseconds: epoll counts in milliseconds, of which ten make a short interval.
"""

import contextlib
import gc
import os
import selectors
import signal
import socket
import struct
import sys
import time
from random import SystemRandom
from typing import Final

from bgp.bfd.beats import Beats
from bgp.bfd.config import BfdConfig, BfdConfigError, BfdPeer, from_plain
from bgp.bfd.engine import Engine
from bgp.bfd.sockets import SOURCE_PORTS, Sender, receive
from bgp.bfd.status import StatusError, decode_order, encode_state
from bgp.wire import LineBuffer, WireError

TELL_EVERY: Final = 0.5
"""Seconds between two states when nothing changes."""
_TIDY_EVERY: Final = 10.0
_SHORTEST: Final = 1e-4
"""Seconds that a wait lasts at least: a fault here must not keep a processor from everybody else."""
_FAREWELLS: Final = 3
_READ_MAX: Final = 1 << 16


class Server:
    """`listeners` are (UDP socket, multihop), `door` is the listening socket for the daemon."""

    def __init__(
        self, listeners: list[tuple[socket.socket, bool]], door: socket.socket, beats: Beats, remarks: tuple[str, ...]
    ) -> None:
        self._dice = SystemRandom()
        self._engine = Engine(self._dice.random, time.monotonic())
        self._beats = beats
        self._remarks = remarks
        self._config = BfdConfig(peers=(), gate=())
        self._senders: dict[object, Sender] = {}  # by the peer's path
        self._daemon: socket.socket | None = None
        self._lines = LineBuffer()
        self._unsent = b""
        self._seq = 0
        self._tell_at = self._tidy_at = time.monotonic()
        self._door = door
        self._leaving = False
        self._selector = selectors.SelectSelector()
        for listener, multihop in listeners:
            self._selector.register(listener, selectors.EVENT_READ, multihop)
        self._selector.register(door, selectors.EVENT_READ, None)
        self._catch_signals()

    def run(self) -> None:
        """Until SIGTERM without a daemon, and the peers then hear AdminDown.

        A signal that a service manager sends to all of a unit waits for the daemon, which withdraws its routes first.
        """
        while not self._leaving or self._daemon is not None:
            self._turn()
            deadline = min(self._engine.next_deadline(), self._tell_at)
            self._wait(max(_SHORTEST, deadline - time.monotonic()))
        for _ in range(_FAREWELLS):
            self._engine.want(self._config, admin_down=True, now=time.monotonic())
            self._engine.say_again()
            self._turn()
            time.sleep(0.005)

    def _turn(self) -> None:
        now = time.monotonic()
        self._engine.hold(self._beats.held_until(), now)
        self._engine.turn(self._beats.read(), now)
        for peer, data in self._engine.output(now):
            if not self._sender(peer).send(data):
                self._engine.not_sent(peer)
        self._tell(now)
        if now >= self._tidy_at:
            self._tidy_at = now + _TIDY_EVERY
            gc.collect()  # quick: all that is old is frozen

    def _wait(self, seconds: float) -> None:
        for key, events in self._selector.select(seconds):
            if key.fileobj is self._door:
                self._accept()
            elif key.fileobj is self._daemon:
                self._exchange(events)
            elif isinstance(key.data, bool):
                assert isinstance(key.fileobj, socket.socket)
                now = time.monotonic()
                for datagram in receive(key.fileobj, key.data):
                    self._engine.receive(datagram, now)
            elif key.data == "signals":
                os.read(key.fd, 64)
            # Else it is the former daemon's connection, closed in this very turn by one that came after it.

    def _sender(self, peer: BfdPeer) -> Sender:
        if peer.path not in self._senders:
            self._senders[peer.path] = Sender(peer, self._dice.randrange(len(SOURCE_PORTS)))
        return self._senders[peer.path]

    def _obey(self, line: bytes) -> None:
        seq, admin_down, plain = decode_order(line)
        self._config = from_plain(plain)
        now = time.monotonic()
        self._engine.want(self._config, admin_down, now)
        self._seq = seq
        self._turn()  # farewells leave by the old sockets
        for path in set(self._senders) - {peer.path for peer in self._engine.peers}:
            self._senders.pop(path).close()

    def _accept(self) -> None:
        """The newest daemon is the daemon; it must be root or who we are (unix(7), SO_PEERCRED)."""
        try:
            caller, _ = self._door.accept()
        except OSError:
            return
        _, uid, _ = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            caller.close()
            return
        self._hang_up()
        caller.setblocking(False)
        self._daemon, self._lines, self._unsent = caller, LineBuffer(), b""
        self._selector.register(caller, selectors.EVENT_READ, "daemon")
        self._engine.news = True

    def _hang_up(self) -> None:
        if self._daemon is not None:
            self._selector.unregister(self._daemon)
            self._daemon.close()
            self._daemon = None

    def _exchange(self, events: int) -> None:
        assert self._daemon is not None
        if events & selectors.EVENT_WRITE:
            self._flush()
        if not events & selectors.EVENT_READ or self._daemon is None:
            return
        try:
            data = self._daemon.recv(_READ_MAX)
            for line in self._lines.feed(data):
                self._obey(line)
        except BlockingIOError:
            return
        except (OSError, WireError, StatusError, BfdConfigError, KeyError, TypeError, ValueError) as error:
            sys.stderr.write(f"bfd: daemon dropped: {type(error).__name__}\n")
            data = b""
        if not data:
            self._hang_up()

    def _tell(self, now: float) -> None:
        """The newest state, when there is news and the daemon has taken the last one."""
        if not self._engine.news and now < self._tell_at:
            return
        self._tell_at = now + TELL_EVERY
        if self._daemon is None or self._unsent:
            return
        self._engine.news = False
        self._unsent = encode_state(self._engine.state(self._seq, self._beats.held_until(), self._remarks))
        self._flush()

    def _flush(self) -> None:
        assert self._daemon is not None
        try:
            self._unsent = self._unsent[self._daemon.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up()
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        self._selector.modify(self._daemon, wanted, "daemon")

    def _catch_signals(self) -> None:
        inside, outside = socket.socketpair()
        for end in (inside, outside):
            end.setblocking(False)
        self._wake_ends = (inside, outside)
        signal.set_wakeup_fd(outside.fileno(), warn_on_full_buffer=False)
        self._selector.register(inside, selectors.EVENT_READ, "signals")
        signal.signal(signal.SIGTERM, self._leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _leave(self, number: int, frame: object) -> None:
        self._leaving = True
