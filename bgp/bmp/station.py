"""The station: takes BMP sessions of the configured routers, nobody else's, and tells the daemon what they hold.

A process of its own without any privilege, since it reads what peers send. Nothing that a router does reaches further
than its own connection: each is read in turn, and what is kept of it is bounded by `bgp.bmp.view`.
"""

import asyncio
import contextlib
import os
import socket
from typing import Final

from bgp.bmp.config import ReadBackConfig, RouterConfig
from bgp.bmp.cursor import BmpError
from bgp.bmp.packet import Messages
from bgp.bmp.view import RouterView
from bgp.bmp.wire import ALIVE, ALIVE_EVERY, RouterNews, encode
from bgp.route import Address

TELL_EVERY: Final = 0.1
"""Seconds between two lines about one router."""
_READ = 64 * 1024


class Session(asyncio.Protocol):
    """One connection. A router that we do not know is hung up on before a byte of it is read."""

    def __init__(self, station: "Station") -> None:
        self._station = station
        self._messages = Messages()
        self._transport: asyncio.Transport | None = None
        self.view: RouterView | None = None
        self.router: RouterConfig | None = None
        self.heard = 0.0
        self._reason = "its BMP session ended"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out whose it is."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.router = self._station.router_at(transport.get_extra_info("peername")[0])
        if self.router is None:
            transport.abort()
            return
        _notice_a_dead_peer(transport.get_extra_info("socket"))
        self.view = self._station.opened(self, self.router)
        self.heard = asyncio.get_running_loop().time()

    def data_received(self, data: bytes) -> None:
        """What cannot be read ends the session; the router opens another."""
        if self.view is None or self.router is None:
            return
        self.heard = asyncio.get_running_loop().time()
        try:
            for message in self._messages.feed(data):
                if self.view.take(message):
                    self._station.changed(self)
        except BmpError as error:
            self.close(f"it sent what is no BMP: {error}")
        if self.view.ended:
            self._reason = f"it ended its BMP session: {self.view.ended}"

    def connection_lost(self, exc: Exception | None) -> None:
        """The end of this session."""
        self._station.closed(self, self._reason)

    def close(self, reason: str) -> None:
        """Hang up."""
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()


class Station:
    """All sessions; lines go to the file descriptor `out`, which may block: there is nothing else to do then."""

    def __init__(self, config: ReadBackConfig, out: int) -> None:
        self.config = config
        self._out = out
        self._sessions: dict[str, Session] = {}
        self._changed: set[str] = set()

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError when the address cannot be listened at."""
        assert self.config.listen is not None
        loop = asyncio.get_running_loop()
        await loop.create_server(lambda: Session(self), str(self.config.listen), self.config.port)
        for router in self.config.routers:
            self.say(RouterNews(router.name, None, "it has opened no BMP session yet"))
        while True:
            await asyncio.sleep(TELL_EVERY)
            self._tell()
            self._hang_up_on_the_silent(loop.time())

    def router_at(self, address: str) -> RouterConfig | None:
        """The router that connects from there."""
        plain = address.removeprefix("::ffff:").partition("%")[0]
        return next((router for router in self.config.routers if str(router.address) == plain), None)

    def opened(self, session: Session, router: RouterConfig) -> RouterView:
        """A router's new session takes the place of its old one, which may be half dead."""
        old = self._sessions.get(router.name)
        self._sessions[router.name] = session
        if old is not None:
            old.close("it opened another one")
        self._changed.add(router.name)
        local: tuple[Address, ...] = router.local
        return RouterView(self.config.prefixes, local, self.config.asn, self.config.origins, pre_only=router.pre_only)

    def changed(self, session: Session) -> None:
        """Tell of it at the next opportunity."""
        if session.router is not None:
            self._changed.add(session.router.name)

    def closed(self, session: Session, reason: str) -> None:
        """Forget a session; the daemon decides how long its facts are good for."""
        router = session.router
        if router is not None and self._sessions.get(router.name) is session:
            del self._sessions[router.name]
            self._changed.discard(router.name)
            self.say(RouterNews(router.name, None, reason))

    def ask_again(self, name: str) -> None:
        """Make a router tell everything again: it does so on a new session. The daemon keeps its facts meanwhile."""
        session = self._sessions.get(name)
        if session is not None:
            session.close("it was made to tell everything again")

    def say(self, news: RouterNews) -> None:
        """Write one line."""
        write(self._out, encode(news))

    def _tell(self) -> None:
        changed, self._changed = self._changed, set()
        for name in changed:
            session = self._sessions.get(name)
            if session is not None and session.view is not None:
                self.say(RouterNews(name, session.view.facts(), ""))

    def _hang_up_on_the_silent(self, now: float) -> None:
        for session in list(self._sessions.values()):
            if now - session.heard > self.config.silence:
                session.close(f"it has been silent for {self.config.silence:g} s")


async def live(out: int) -> None:
    """Say now and then that the loop turns."""
    while True:
        write(out, ALIVE)
        await asyncio.sleep(ALIVE_EVERY)


def write(out: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(out, data) :]


def _notice_a_dead_peer(connection: socket.socket) -> None:
    """BMP has no keepalives, TCP has: a router that lost its power is gone within about 11 s."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _READ)
