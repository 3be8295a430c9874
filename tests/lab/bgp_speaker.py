"""A BGP speaker of one session that says whatever a test wants, honest or not (RFC 4271, four-octet ASNs only)."""

import socket
import struct
import threading
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Self

from lab.observe.inside import inside

GRACEFUL_SHUTDOWN = (65535, 0)
_OPEN, _UPDATE, _NOTIFICATION, _KEEPALIVE = 1, 2, 3, 4
_GRACEFUL_RESTART = bytes((64, 6)) + struct.pack("!HHBB", 120, 1, 1, 0x80)


class Speaker:
    """A session from inside `netns` to `router`. `received` collects the types and bodies of the router's messages."""

    def __init__(self, netns: Path, own: IPv4Address, router: IPv4Address, asn: int, *, restarts: bool = False) -> None:
        self._asn, self._own = asn, own
        self.announced: set[str] = set()
        self.received: list[tuple[int, bytes]] = []
        self.closed = threading.Event()
        self._established = threading.Event()
        self._sock = inside(netns, lambda: socket.create_connection((str(router), 179), timeout=5))
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
    ) -> None:
        """One UPDATE; by default with the honest path and next hop."""
        asns = [self._asn] if path is None else [*path]
        attributes = _attribute(0x40, 1, b"\0")
        attributes += _attribute(0x40, 2, struct.pack(f"!BB{len(asns)}I", 2, len(asns), *asns))
        attributes += _attribute(0x40, 3, IPv4Address(next_hop or self._own).packed)
        if communities:
            attributes += _attribute(0xC0, 8, b"".join(struct.pack("!HH", *pair) for pair in communities))
        body = struct.pack("!HH", 0, len(attributes)) + attributes + b"".join(map(_nlri, prefixes))
        self._send(_UPDATE, body)
        self.announced |= {*prefixes}

    def withdraw(self, *prefixes: str) -> None:
        """One UPDATE that takes them back."""
        gone = b"".join(map(_nlri, prefixes))
        self._send(_UPDATE, struct.pack("!H", len(gone)) + gone + b"\0\0")
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
        return sum(kind == _UPDATE and len(body) > 4 for kind, body in self.received)

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
    capabilities = bytes((1, 4, 0, 1, 0, 1, 65, 4)) + struct.pack("!I", asn) + (_GRACEFUL_RESTART if restarts else b"")
    optional = bytes((2, len(capabilities))) + capabilities
    return struct.pack("!BHH4sB", 4, asn, 9, identifier.packed, len(optional)) + optional


def _attribute(flags: int, kind: int, value: bytes) -> bytes:
    return bytes((flags, kind, len(value))) + value


def _nlri(prefix: str) -> bytes:
    network = IPv4Network(prefix)
    return bytes((network.prefixlen,)) + network.network_address.packed[: (network.prefixlen + 7) // 8]
