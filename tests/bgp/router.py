"""A BGP router small enough to read: accepts one speaker, keeps a table, and remembers every change with its time.

It executes what it is told, so a test asks where the prefix is instead of which bytes were sent (RFC 4271).
"""

import asyncio
import contextlib
import struct
import time
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
MED, COMMUNITIES, MP_REACH, MP_UNREACH = 4, 8, 14, 15  # the last two: RFC 4760
IPV6_UNICAST = struct.pack("!HB", 2, 1)
Prefix = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Learned:
    """One route of the table; communities as `asn:value` text. `next_hop` of an IPv4 route is not read."""

    med: int | None
    communities: tuple[str, ...]
    next_hop: IPv6Address | None = None


@dataclass
class Router:
    """Listens on one address; `table` is what it believes, `changes` every (time, prefix, route or None)."""

    address: str
    asn: int
    port: int = 0
    hold_time: int = 9
    table: dict[Prefix, Learned] = field(default_factory=dict)
    changes: list[tuple[float, Prefix, Learned | None]] = field(default_factory=list)
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

    def deaf(self, yes: bool) -> None:
        """Stop reading, or go on: our window closes once the buffers are full."""
        assert self._writer is not None
        transport = self._writer.transport
        assert isinstance(transport, asyncio.Transport)
        (transport.pause_reading if yes else transport.resume_reading)()

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
        families = [struct.pack("!BBHBB", 1, 4, family, 0, 1) for family in (1, 2)]
        options = b"".join(struct.pack("!BB", 2, len(capability)) + capability for capability in (*families, asn4))
        router_id = IPv4Address(self.address).packed
        return _message(
            OPEN, struct.pack("!BHH", 4, self.asn, self.hold_time) + router_id + bytes([len(options)]) + options
        )

    def _update(self, body: bytes) -> None:
        withdrawn_length = struct.unpack_from("!H", body)[0]
        rest = body[2 + withdrawn_length :]
        attributes_length = struct.unpack_from("!H", rest)[0]
        attributes = _attributes(rest[2 : 2 + attributes_length])
        learned = _learned(attributes)
        gone = attributes.get(MP_UNREACH, IPV6_UNICAST)
        assert gone[:3] == IPV6_UNICAST
        for prefix in (*_prefixes(body[2 : 2 + withdrawn_length]), *_prefixes(gone[3:], IPv6Network)):
            self._set(prefix, None)
        for prefix in _prefixes(rest[2 + attributes_length :]):
            self._set(prefix, learned)
        if MP_REACH in attributes:
            hop, prefixes = _mp_reach(attributes[MP_REACH])
            for prefix in prefixes:
                self._set(prefix, replace(learned, next_hop=hop))

    def _set(self, prefix: Prefix, learned: Learned | None) -> None:
        if learned is None:
            self.table.pop(prefix, None)
        else:
            self.table[prefix] = learned
        self.changes.append((time.monotonic(), prefix, learned))


def _message(kind: int, body: bytes) -> bytes:
    return MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def _prefixes(data: bytes, kind: type[IPv4Network] | type[IPv6Network] = IPv4Network) -> list[Prefix]:
    found: list[Prefix] = []
    while data:
        size = (data[0] + 7) // 8
        found.append(kind((data[1 : 1 + size].ljust(4 if kind is IPv4Network else 16, b"\0"), data[0])))
        data = data[1 + size :]
    return found


def _mp_reach(value: bytes) -> tuple[IPv6Address, list[Prefix]]:
    """The next hop and the prefixes of an IPv6 unicast MP_REACH_NLRI (RFC 4760, 2545)."""
    assert (value[:3], value[3]) == (IPV6_UNICAST, 16)
    return IPv6Address(value[4:20]), _prefixes(value[21:], IPv6Network)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        flags, code = data[0], data[1]
        head = 4 if flags & 0x10 else 3
        length = int.from_bytes(data[2:head], "big")
        found[code], data = data[head : head + length], data[head + length :]
    return found


def _learned(attributes: dict[int, bytes]) -> Learned:
    med = int.from_bytes(attributes[MED], "big") if MED in attributes else None
    pairs = struct.iter_unpack("!HH", attributes.get(COMMUNITIES, b""))
    return Learned(med, tuple(f"{a}:{b}" for a, b in pairs))
