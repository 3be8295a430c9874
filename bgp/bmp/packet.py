"""BMP messages (RFC 7854 section 4): bytes in, frozen values out. Input is hostile: anything odd is a BmpError.

Route Mirroring and unknown kinds are stepped over; the Loc-RIB (RFC 9069) and adj-rib-out (RFC 8671) are marked.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from bgp.bmp.cursor import BmpError, Cursor
from bgp.bmp.update import Family, bgp_body
from bgp.route import Address

VERSION: Final = 3
MESSAGE_MAX: Final = 256 * 1024
"""Bytes; a Peer Up with two extended OPENs has 131 kB."""
ROUTE_MONITORING, STATISTICS, PEER_DOWN, PEER_UP, INITIATION, TERMINATION, MIRRORING = range(7)
_HEADER = 6
_OPEN = 1
_IPV6, _POST, _AS2, _OUT = 0x80, 0x40, 0x20, 0x10
_LOC_RIB = 3
_CAPABILITIES = 2
_AS4, _ADD_PATH, _SENDS, _RECEIVES = 65, 69, 2, 1
_EXTENDED = 255  # RFC 9072: more capabilities than anybody has; then nothing is known of path ids
_TEXT_MAX = 200


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a message is about (section 4.2). `post` is of the adj-rib-in after policy; `inbound` that it is one."""

    address: Address
    distinguisher: int
    asn: int
    bgp_id: IPv4Address
    post: bool = False
    as_size: int = 4
    inbound: bool = True

    @property
    def key(self) -> tuple[Address, int]:
        """What tells peers of one router apart."""
        return self.address, self.distinguisher


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A session of the router is up. `router_asn` is the router's AS there, as its own OPEN says.

    `add_path` are the families in which prefixes have path ids (RFC 7911).
    """

    peer: Peer
    local_address: Address
    router_asn: int = 0
    add_path: frozenset[Family] = frozenset()


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A session of the router ended; section 4.9 lists the reasons."""

    peer: Peer
    reason: int


@dataclass(frozen=True, slots=True)
class RouteMonitoring:
    """One UPDATE as the router holds it, not read yet: `bgp.bmp.update.parse_update`."""

    peer: Peer
    update: bytes


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters and gauges by their number (section 4.8); those of a family are left out."""

    peer: Peer
    counters: dict[int, int] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Initiation:
    """The router names itself."""

    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Termination:
    """The router ends the session, and why as far as it says."""

    reason: str


Message = PeerUp | PeerDown | RouteMonitoring | Statistics | Initiation | Termination


class Messages:
    """Splits a stream into messages; holds at most `MESSAGE_MAX` bytes of one that is not whole."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that `data` completes. Raises BmpError, after which the stream is of no more use."""
        self._rest += data
        at = 0
        while len(self._rest) - at >= _HEADER:
            version, length, kind = struct.unpack_from("!BIB", self._rest, at)
            if version != VERSION or not _HEADER <= length <= MESSAGE_MAX:
                expected = f"version {VERSION} and {_HEADER} to {MESSAGE_MAX} bytes"
                raise BmpError(f"a message of version {version} and {length} bytes, expected {expected}")
            if len(self._rest) - at < length:
                break
            message = parse(kind, bytes(self._rest[at + _HEADER : at + length]))
            at += length
            if message is not None:
                yield message
        del self._rest[:at]


def parse(kind: int, body: bytes) -> Message | None:
    """One message without its common header; None for kinds that say nothing to us. Raises BmpError."""
    read = _KINDS.get(kind)
    return read(Cursor(body)) if read else None


def _initiation(cursor: Cursor) -> Initiation:
    told = dict(_texts(cursor))
    return Initiation(told.get(2, ""), told.get(1, ""))


def _peer(cursor: Cursor) -> Peer:
    kind, flags = cursor.number(1, "peer type"), cursor.number(1, "peer flags")
    distinguisher, packed = cursor.number(8, "distinguisher"), cursor.take(16, "peer address")
    asn, bgp_id = cursor.number(4, "peer AS"), IPv4Address(cursor.take(4, "peer BGP id"))
    cursor.take(8, "timestamp")
    if kind == _LOC_RIB:  # its flags mean something else
        return Peer(IPv4Address(0), distinguisher, asn, bgp_id, inbound=False)
    address = _address(packed, flags & _IPV6)
    return Peer(address, distinguisher, asn, bgp_id, bool(flags & _POST), 2 if flags & _AS2 else 4, not flags & _OUT)


def _address(packed: bytes, version6: int) -> Address:
    return IPv6Address(packed) if version6 else IPv4Address(packed[12:])


def _peer_up(cursor: Cursor) -> PeerUp:
    peer = _peer(cursor)
    packed = cursor.take(16, "local address")
    cursor.take(4, "ports")
    if not peer.inbound:
        return PeerUp(peer, IPv4Address(0))
    ours, theirs = _opened(bgp_body(cursor, _OPEN)), _opened(bgp_body(cursor, _OPEN))
    both = {f for f, mode in ours.add_path.items() if mode & _RECEIVES and theirs.add_path.get(f, 0) & _SENDS}
    return PeerUp(peer, _address(packed, peer.address.version == 6), ours.asn, frozenset(both))


@dataclass(slots=True)
class _Open:
    """Of an OPEN: the sender's AS, and by family what it does with path ids."""

    asn: int
    add_path: dict[Family, int]


def _opened(body: Cursor) -> _Open:
    """RFC 4271 section 4.2, RFC 5492, RFC 6793 section 3, RFC 7911 section 4."""
    body.take(1, "version")
    found = _Open(body.number(2, "my AS"), {})
    body.take(6, "hold time and BGP id")
    parameters = body.part(body.number(1, "parameters"), "parameters")
    while parameters.left:
        kind = parameters.number(1, "parameter")
        if kind == _EXTENDED:
            break
        value = parameters.part(parameters.number(1, "parameter"), "parameter")
        while kind == _CAPABILITIES and value.left:
            code = value.number(1, "capability")
            _capability(code, value.part(value.number(1, "capability"), "capability"), found)
    return found


def _capability(code: int, value: Cursor, found: _Open) -> None:
    if code == _AS4:
        found.asn = value.number(4, "AS number")
    while code == _ADD_PATH and value.left:
        family = (value.number(2, "AFI"), value.number(1, "SAFI"))
        found.add_path[family] = value.number(1, "mode")


def _texts(cursor: Cursor) -> Iterator[tuple[int, str]]:
    while cursor.left:
        kind = cursor.number(2, "TLV")
        data = cursor.take(cursor.number(2, "TLV"), "TLV")
        yield kind, data[:_TEXT_MAX].decode(errors="replace")


def _termination(cursor: Cursor) -> Termination:
    words = []
    while cursor.left:
        kind = cursor.number(2, "TLV")
        data = cursor.take(cursor.number(2, "TLV"), "TLV")
        words.append(
            f"reason {int.from_bytes(data[:2], 'big')}" if kind == 1 else data[:_TEXT_MAX].decode(errors="replace")
        )
    return Termination(", ".join(words[:4]))


def _counters(cursor: Cursor) -> Iterator[tuple[int, int]]:
    for _ in range(cursor.number(4, "statistics")):
        kind = cursor.number(2, "statistic")
        value = cursor.take(cursor.number(2, "statistic"), "statistic")
        if len(value) in (4, 8):
            yield kind, int.from_bytes(value, "big")


_KINDS: Final[dict[int, Callable[[Cursor], Message]]] = {
    ROUTE_MONITORING: lambda cursor: RouteMonitoring(_peer(cursor), cursor.rest()),
    STATISTICS: lambda cursor: Statistics(_peer(cursor), dict(_counters(cursor))),
    PEER_DOWN: lambda cursor: PeerDown(_peer(cursor), cursor.number(1, "reason")),
    PEER_UP: _peer_up,
    INITIATION: _initiation,
    TERMINATION: _termination,
}
