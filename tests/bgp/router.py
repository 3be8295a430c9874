"""A BGP router small enough to read: accepts one speaker, keeps a table, and remembers every change with its time.

It executes what it is told, so a test asks where the prefix is instead of which bytes were sent (RFC 4271).
"""

import asyncio
import contextlib
import struct
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
MED, COMMUNITIES = 4, 8


@dataclass(frozen=True, slots=True)
class Learned:
    """One route of the table; communities as `asn:value` text."""

    med: int | None
    communities: tuple[str, ...]


@dataclass
class Router:
    """Listens on one address; `table` is what it believes, `changes` every (time, prefix, route or None)."""

    address: str
    asn: int
    port: int = 0
    hold_time: int = 9
    table: dict[IPv4Network, Learned] = field(default_factory=dict)
    changes: list[tuple[float, IPv4Network, Learned | None]] = field(default_factory=list)
    established: bool = False
    sessions: int = 0
    _server: asyncio.Server | None = None
    _writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        """Listen; a port of 0 takes a free one and keeps it over stop and start."""
        self._server = await asyncio.start_server(self._session, self.address, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the session and the listener, as a dying router does."""
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
        if self._server is not None:
            await self._server.wait_closed()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            await self._speak(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.established = False
            for prefix in list(self.table):
                self._set(prefix, None)
            writer.close()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            header = await reader.readexactly(19)
            length, kind = struct.unpack("!HB", header[16:])
            body = await reader.readexactly(length - 19)
            if kind == OPEN:
                writer.write(self._open() + _message(KEEPALIVE, b""))
            elif kind == KEEPALIVE:
                if not self.established:
                    self.established = True
                    self.sessions += 1
                writer.write(_message(KEEPALIVE, b""))
            elif kind == UPDATE:
                self._update(body)
            elif kind == NOTIFICATION:
                return

    def _open(self) -> bytes:
        asn4 = struct.pack("!BBI", 65, 4, self.asn)
        unicast = struct.pack("!BBHBB", 1, 4, 1, 0, 1)
        options = struct.pack("!BB", 2, len(unicast)) + unicast + struct.pack("!BB", 2, len(asn4)) + asn4
        router_id = IPv4Address(self.address).packed
        return _message(
            OPEN, struct.pack("!BHH", 4, self.asn, self.hold_time) + router_id + bytes([len(options)]) + options
        )

    def _update(self, body: bytes) -> None:
        withdrawn_length = struct.unpack_from("!H", body)[0]
        rest = body[2 + withdrawn_length :]
        attributes_length = struct.unpack_from("!H", rest)[0]
        learned = _attributes(rest[2 : 2 + attributes_length])
        for prefix in _prefixes(body[2 : 2 + withdrawn_length]):
            self._set(prefix, None)
        for prefix in _prefixes(rest[2 + attributes_length :]):
            self._set(prefix, learned)

    def _set(self, prefix: IPv4Network, learned: Learned | None) -> None:
        if learned is None:
            self.table.pop(prefix, None)
        else:
            self.table[prefix] = learned
        self.changes.append((time.monotonic(), prefix, learned))


def _message(kind: int, body: bytes) -> bytes:
    return MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def _prefixes(data: bytes) -> list[IPv4Network]:
    found = []
    while data:
        size = (data[0] + 7) // 8
        found.append(IPv4Network((data[1 : 1 + size].ljust(4, b"\0"), data[0])))
        data = data[1 + size :]
    return found


def _attributes(data: bytes) -> Learned:
    med: int | None = None
    communities: tuple[str, ...] = ()
    while data:
        flags, code = data[0], data[1]
        head = 4 if flags & 0x10 else 3
        length = int.from_bytes(data[2:head], "big")
        value, data = data[head : head + length], data[head + length :]
        if code == MED:
            med = int.from_bytes(value, "big")
        elif code == COMMUNITIES:
            communities = tuple(f"{a}:{b}" for a, b in struct.iter_unpack("!HH", value))
    return Learned(med, communities)
