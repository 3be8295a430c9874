"""A BGP speaker of one session that says whatever a test wants, honest or not (RFC 4271, four-octet ASNs only).

IPv6 prefixes travel on the same IPv4 session (RFC 4760).
"""

import socket
import struct
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Self

from lab.observe.inside import inside

GRACEFUL_SHUTDOWN = (65535, 0)
_OPEN, _UPDATE, _NOTIFICATION, _KEEPALIVE = 1, 2, 3, 4
_IPV6_UNICAST = struct.pack("!HB", 2, 1)
_END_OF_RIB6 = struct.pack("!HHBBB", 0, 6, 0x80, 15, 3) + _IPV6_UNICAST
_GRACEFUL_RESTART = bytes((64, 6)) + struct.pack("!HHBB", 120, 1, 1, 0x80)


class Speaker:
    """A session from inside `netns` to `router`. `received` collects the types and bodies of the router's messages.

    `dial` makes the connection, called inside `netns`; by default a plain one.
    """

    def __init__(
        self,
        netns: Path,
        own: IPv4Address,
        own6: IPv6Address,
        router: IPv4Address,
        asn: int,
        *,
        restarts: bool = False,
        dial: Callable[[], socket.socket] | None = None,
    ) -> None:
        self._asn, self._own, self._own6 = asn, own, own6
        self.announced: set[str] = set()
        self.received: list[tuple[int, bytes]] = []
        self.closed = threading.Event()
        self._established = threading.Event()
        self._sock = inside(netns, dial or (lambda: socket.create_connection((str(router), 179), timeout=5)))
        self._sock.settimeout(0.5)
        self._send(_OPEN, _open_body(asn, own, restarts))
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def established(self, within: float) -> bool:
        """Whether both sides have sent their first KEEPALIVE."""
        return self._established.wait(within)

    def announce(
        self,
        *prefixes: str,
        path: Sequence[int] | None = None,
        next_hop: str | None = None,
        communities: Sequence[tuple[int, int]] = (),
        large: Sequence[tuple[int, int, int]] = (),
    ) -> None:
        """One UPDATE for each family; by default with the honest path and next hop."""
        four, six = ([p for p in prefixes if (":" in p) == wanted] for wanted in (False, True))
        asns = [self._asn] if path is None else [*path]
        attributes = _attribute(0x40, 1, b"\0")
        attributes += _attribute(0x40, 2, struct.pack(f"!BB{len(asns)}I", 2, len(asns), *asns))
        if communities:
            attributes += _attribute(0xC0, 8, b"".join(struct.pack("!HH", *pair) for pair in communities))
        if large:
            attributes += _attribute(0xC0, 32, b"".join(struct.pack("!III", *each) for each in large))
        if four:
            with_hop = attributes + _attribute(0x40, 3, IPv4Address(next_hop or self._own).packed)
            self._send(_UPDATE, struct.pack("!HH", 0, len(with_hop)) + with_hop + b"".join(map(_nlri, four)))
        if six:
            hop = IPv6Address(next_hop or self._own6).packed
            reach = _IPV6_UNICAST + bytes((len(hop),)) + hop + b"\0" + b"".join(map(_nlri, six))
            with_reach = attributes + _long_attribute(0x80, 14, reach)
            self._send(_UPDATE, struct.pack("!HH", 0, len(with_reach)) + with_reach)
        self.announced |= {*prefixes}

    def withdraw(self, *prefixes: str) -> None:
        """One UPDATE for each family that takes them back."""
        four, six = (b"".join(_nlri(p) for p in prefixes if (":" in p) == wanted) for wanted in (False, True))
        if four:
            self._send(_UPDATE, struct.pack("!H", len(four)) + four + b"\0\0")
        if six:
            unreach = _long_attribute(0x80, 15, _IPV6_UNICAST + six)
            self._send(_UPDATE, struct.pack("!HH", 0, len(unreach)) + unreach)
        self.announced -= {*prefixes}

    def close(self) -> None:
        """Close the TCP connection without a NOTIFICATION, as a killed process does."""
        if not self.closed.is_set():
            self._sock.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._sock.close()

    def notifications(self) -> list[tuple[int, int]]:
        """(code, subcode) of each NOTIFICATION received."""
        return [(body[0], body[1]) for kind, body in self.received if kind == _NOTIFICATION]

    def prefixes_learned(self) -> int:
        """How many UPDATEs carried more than End-of-RIB."""
        return sum(kind == _UPDATE and body not in (bytes(4), _END_OF_RIB6) for kind, body in self.received)

    def _send(self, kind: int, body: bytes = b"") -> None:
        self._sock.sendall(b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body)

    def _read(self) -> None:
        """Take messages until the end; a KEEPALIVE answers each silence of half a second, so the session lives."""
        try:
            while True:
                length, kind = struct.unpack("!16xHB", self._take(19))
                self.received.append((kind, self._take(length - 19)))
                if kind == _OPEN:
                    self._send(_KEEPALIVE)
                elif kind == _KEEPALIVE:
                    self._established.set()
                    self._send(_KEEPALIVE)
        except OSError:
            self.closed.set()

    def _take(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            try:
                more = self._sock.recv(size - len(data))
            except TimeoutError:
                self._send(_KEEPALIVE)
                continue
            if not more:
                raise ConnectionResetError
            data += more
        return data


def _open_body(asn: int, identifier: IPv4Address, restarts: bool) -> bytes:
    capabilities = (
        bytes((1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4))
        + struct.pack("!I", asn)
        + (_GRACEFUL_RESTART if restarts else b"")
    )
    optional = bytes((2, len(capabilities))) + capabilities
    return struct.pack("!BHH4sB", 4, asn, 9, identifier.packed, len(optional)) + optional


def _attribute(flags: int, kind: int, value: bytes) -> bytes:
    return bytes((flags, kind, len(value))) + value


def _long_attribute(flags: int, kind: int, value: bytes) -> bytes:
    return struct.pack("!BBH", flags | 0x10, kind, len(value)) + value


def _nlri(prefix: str) -> bytes:
    network = ip_network(prefix)
    return bytes((network.prefixlen,)) + network.network_address.packed[: (network.prefixlen + 7) // 8]
