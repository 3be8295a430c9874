"""The least that an edge could need: one socket that speaks BGP, its UPDATEs built beforehand (RFC 4271, section 4)."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network

from lab.announce.plan import Node, World
from lab.announce.space import NETNS
from lab.observe.inside import inside
from lab.runtime import LabError

_MARKER = b"\xff" * 16
_OPEN, _UPDATE, _KEEPALIVE = 1, 2, 4
_HOLD = 90
PACKED = 500  # routes in one UPDATE, which has 4,096 octets
_UP_WITHIN = 10.0


def message(kind: int, body: bytes = b"") -> bytes:
    """A whole BGP message."""
    return _MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def announcement(prefixes: Sequence[IPv4Network], asn: int, next_hop: IPv4Address) -> bytes:
    """The UPDATE that announces up to `PACKED` routes; two-octet AS path."""
    path = struct.pack("!BBH", 2, 1, asn)
    attributes = b"\x40\x01\x01\x00" + b"\x40\x02" + bytes([len(path)]) + path + b"\x40\x03\x04" + next_hop.packed
    return message(_UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes + _nlri(prefixes))


def withdrawal(prefixes: Sequence[IPv4Network]) -> bytes:
    """The UPDATE that withdraws them."""
    gone = _nlri(prefixes)
    return message(_UPDATE, struct.pack("!H", len(gone)) + gone + b"\0\0")


def _nlri(prefixes: Sequence[IPv4Network]) -> bytes:
    whole = [(prefix.prefixlen, prefix.network_address.packed) for prefix in prefixes]
    return b"".join(bytes([length]) + address[: (length + 7) // 8] for length, address in whole)


def _parts(prefixes: Sequence[IPv4Network]) -> list[Sequence[IPv4Network]]:
    return [prefixes[at : at + PACKED] for at in range(0, len(prefixes), PACKED)]


class FloorPeer:
    """One session from an edge's namespace, kept alive by a thread; a context manager."""

    def __init__(self, world: World, edge: Node) -> None:
        interface = edge.interfaces[0]
        self._asn, self._router_id = edge.asn, edge.router_id
        self._address = str(interface.peer_address)
        told = [announcement(part, edge.asn, interface.address) for part in _parts(world.prefixes)]
        self.announcement = b"".join(told)
        self.withdrawal = b"".join(map(withdrawal, _parts(world.prefixes)))
        self._sock: socket.socket = inside(NETNS / edge.name, self._connect)
        self._over = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="keepalives", daemon=True)
        self._beats.start()

    def __enter__(self) -> "FloorPeer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> float:
        """Send one message; the moment right before."""
        began = time.monotonic()
        self._sock.sendall(data)
        return began

    def close(self) -> float:
        """Close the session; the moment right before."""
        self._over.set()
        self._beats.join()
        began = time.monotonic()
        self._sock.close()
        return began

    def _connect(self) -> socket.socket:
        body = struct.pack("!BHH4sB", 4, self._asn, _HOLD, self._router_id.packed, 0)
        deadline = time.monotonic() + _UP_WITHIN
        while True:
            try:
                sock = socket.create_connection((self._address, 179), 1.0)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(message(_OPEN, body))
                answer = sock.recv(4096)
                if len(answer) > 18 and answer[18] == _OPEN:
                    sock.sendall(message(_KEEPALIVE))
                    return sock
                sock.close()
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise LabError(f"no BGP session with {self._address} within {_UP_WITHIN:g} s")
            time.sleep(0.1)

    def _beat(self) -> None:
        """What the router says is read and thrown away."""
        self._sock.settimeout(0.05)
        due = time.monotonic()
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError, OSError):
                self._sock.recv(65536)
            if time.monotonic() >= due:
                due += 1.0
                with contextlib.suppress(OSError):
                    self._sock.sendall(message(_KEEPALIVE))
